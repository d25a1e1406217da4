// The work of each row, done by the npm packages. `node bench.mjs TASK FOLDER [ARG...]` prints one line of JSON:
// how much was done in how long, and the most memory this process had.
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import Hypercore from 'hypercore'
import Hyperdrive from 'hyperdrive'
import net from 'node:net'

const [task, folder, ...args] = process.argv.slice(2)
const block = (size) => Buffer.alloc(size, 7)

// The same order of "random" places on both sides: multiplication by an odd number modulo a prime.
const place = (i, length) => Number((BigInt(i) * 7919n + 12345n) % BigInt(length))
const bytes = (i, size) => {
  const out = Buffer.alloc(size, i & 255)
  out.writeUInt32LE(i, 0)
  return out
}

function say (what) {
  console.log(JSON.stringify(what))
}

function peak () {
  return process.resourceUsage().maxRSS * 1024
}

async function timed (count, work) {
  const start = process.hrtime.bigint()
  await work()
  return { count, seconds: Number(process.hrtime.bigint() - start) / 1e9, peak_bytes: peak() }
}

async function openCore () {
  const core = new Hypercore(folder)
  await core.ready()
  return core
}

async function openBee () {
  const bee = new Hyperbee(await openCore(), { keyEncoding: 'utf-8', valueEncoding: 'binary' })
  await bee.ready()
  return bee
}

async function openDrive () {
  const store = new Corestore(folder)
  const drive = new Hyperdrive(store)
  await drive.ready()
  return { drive, store }
}

const key = (i) => 'key-' + String(i).padStart(8, '0')
const file = (i) => '/folder-' + (i % 10) + '/file-' + i

async function fill (count, size) {
  const core = await openCore()
  for (let i = 0; i < count; i += 1000) {
    const batch = []
    for (let j = i; j < Math.min(count, i + 1000); j++) batch.push(bytes(j, size))
    await core.append(batch)
  }
  await core.close()
  say({ count, seconds: 0, peak_bytes: peak() })
}

async function drivePut (count, size) {
  const { drive, store } = await openDrive()
  const content = block(size)
  const result = await timed(count, async () => {
    for (let i = 0; i < count; i++) {
      content.writeUInt32LE(i, 0)
      await drive.put(file(i), content)
    }
  })
  say(result)
  await store.close()
}

async function driveGet (count, size) {
  const { drive, store } = await openDrive()
  const result = await timed(count, async () => {
    for (let i = 0; i < count; i++) {
      const content = await drive.get(file(i))
      if (content.length !== size || content.readUInt32LE(0) !== i) throw new Error('wrong file ' + i)
    }
  })
  say(result)
  await store.close()
}

const tasks = {
  async append_single ([count]) {
    const core = await openCore()
    const content = block(100)
    say(await timed(count, async () => {
      for (let i = 0; i < count; i++) await core.append(content)
    }))
    await core.close()
  },

  async append_1000 ([count]) {
    const core = await openCore()
    const batch = new Array(1000).fill(block(100))
    say(await timed(count, async () => {
      for (let i = 0; i < count; i += 1000) await core.append(batch)
    }))
    await core.close()
  },

  async fill ([count, size]) {
    await fill(count, size)
  },

  async random_get ([count, length]) {
    const core = await openCore()
    say(await timed(count, async () => {
      for (let i = 0; i < count; i++) {
        const at = place(i, length)
        const got = await core.get(at)
        if (got.readUInt32LE(0) !== at) throw new Error('wrong block ' + at)
      }
    }))
    await core.close()
  },

  // Serves until its standard input ends.
  async serve () {
    const core = await openCore()
    const server = net.createServer((socket) => {
      socket.setNoDelay(true)
      const stream = core.replicate(false)
      stream.on('error', () => {})
      socket.on('error', () => {})
      socket.pipe(stream).pipe(socket)
    })
    server.listen(0, '127.0.0.1', () => say({ port: server.address().port, key: core.key.toString('hex') }))
    process.stdin.resume()
    await new Promise((resolve) => process.stdin.once('end', resolve))
    say({ peak_bytes: peak() })
    process.exit(0)
  },

  async fetch ([count, size], [, , port, publicKey]) {
    const core = new Hypercore(folder, Buffer.from(publicKey, 'hex'))
    await core.ready()
    const result = await timed(count, async () => {
      const socket = net.connect(port, '127.0.0.1')
      socket.setNoDelay(true)
      const stream = core.replicate(true)
      stream.on('error', () => {})
      socket.pipe(stream).pipe(socket)
      await core.download({ start: 0, end: count }).done()
    })
    if (core.contiguousLength !== count) throw new Error('has ' + core.contiguousLength)
    const last = await core.get(count - 1)
    if (last.length !== size || last.readUInt32LE(0) !== count - 1) throw new Error('wrong block')
    say(result)
    process.exit(0)
  },

  async bee_put ([count]) {
    const bee = await openBee()
    const value = block(32)
    say(await timed(count, async () => {
      const batch = bee.batch()
      for (let i = 0; i < count; i++) await batch.put(key(place(i, count)), value)
      await batch.flush()
    }))
    await bee.close()
  },

  async bee_get ([count, length]) {
    const bee = await openBee()
    say(await timed(count, async () => {
      for (let i = 0; i < count; i++) {
        if ((await bee.get(key(place(i, length)))) === null) throw new Error('missing')
      }
    }))
    await bee.close()
  },

  async drive_put ([count, size]) {
    await drivePut(count, size)
  },

  async drive_get ([count, size]) {
    await driveGet(count, size)
  },

  async fill_store ([count]) {
    const store = new Corestore(folder)
    for (let i = 0; i < count; i++) {
      const core = store.get({ name: 'log-' + i })
      await core.ready()
      await core.append(block(100))
    }
    say({ count, seconds: 0, peak_bytes: peak() })
    await store.close()
  },

  async open_store ([count]) {
    let store
    const result = await timed(count, async () => {
      store = new Corestore(folder)
      await store.ready()
      for (let i = 0; i < count; i++) {
        const core = store.get({ name: 'log-' + i })
        await core.ready()
        if (core.length !== 1) throw new Error('wrong length')
      }
    })
    say(result)
    await store.close()
  }
}

await tasks[task](args.map(Number), args)
