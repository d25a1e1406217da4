// The work of each row of `bench db`, done by npm's classic-level (LevelDB itself) and by autobase with hyperbee.
// `node db.mjs TASK FOLDER [ARG...]` prints one line of JSON: how much was done in how long, and the most memory this process had.
import Autobase from 'autobase'
import { ClassicLevel } from 'classic-level'
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import { promises as fs } from 'node:fs'
import path from 'node:path'

const [task, folder, ...args] = process.argv.slice(2)

// The same keys and values on both sides: splitmix64 of the number, in hex, and bytes that no compression makes smaller.
const MASK = (1n << 64n) - 1n
function mix (i) {
  let z = (BigInt(i) + 0x9e3779b97f4a7c15n) & MASK
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK
  return z ^ (z >> 31n)
}
const key = (i) => mix(i).toString(16).padStart(16, '0')
const noise = Buffer.alloc(1 << 16)
for (let i = 0; i < noise.length; i += 8) noise.writeBigUInt64LE(mix(i), i)
const value = (i) => noise.subarray((i * 13) % 60000, (i * 13) % 60000 + 100)
const place = (i, length) => Number((BigInt(i) * 7919n + 12345n) % BigInt(length))

function say (what) {
  console.log(JSON.stringify({ ...what, peak_bytes: process.resourceUsage().maxRSS * 1024 }))
}

async function timed (count, work) {
  const start = process.hrtime.bigint()
  await work()
  return { count, seconds: Number(process.hrtime.bigint() - start) / 1e9 }
}

async function size (folder) {
  let bytes = 0
  for (const entry of await fs.readdir(folder, { withFileTypes: true })) {
    const at = path.join(folder, entry.name)
    bytes += entry.isDirectory() ? await size(at) : (await fs.stat(at)).size
  }
  return bytes
}

async function level () {
  const db = new ClassicLevel(path.join(folder, 'level'), { keyEncoding: 'utf8', valueEncoding: 'buffer' })
  await db.open()
  return db
}

async function put (count, atOnce, sync) {
  // What is written is made before, on both sides.
  const batches = []
  for (let i = 0; i < count; i += atOnce) {
    const batch = []
    for (let j = i; j < Math.min(count, i + atOnce); j++) batch.push({ type: 'put', key: key(j), value: value(j) })
    batches.push(batch)
  }
  const db = await level()
  const result = await timed(count, async () => {
    for (const batch of batches) {
      if (atOnce === 1) await db.put(batch[0].key, batch[0].value, { sync })
      else await db.batch(batch, { sync })
    }
  })
  await db.close()
  say({ ...result, disk_bytes: await size(folder), live_bytes: count * 116 })
}

function open (store) {
  return new Hyperbee(store.get('view'), { extension: false, keyEncoding: 'utf-8', valueEncoding: 'binary' })
}

async function apply (nodes, view, host) {
  const batch = view.batch({ update: false })
  for (const { value } of nodes) {
    if (value.add) await host.addWriter(Buffer.from(value.add, 'hex'), { indexer: true })
    else for (const [key, bytes] of value.puts) await batch.put(key, Buffer.from(bytes, 'base64'))
  }
  await batch.flush()
}

async function bases (count) {
  const all = []
  for (let i = 0; i < count; i++) {
    const store = new Corestore(path.join(folder, 'base-' + i))
    const base = new Autobase(store, i === 0 ? null : all[0].base.key, { open, apply, valueEncoding: 'json', ackInterval: 0 })
    await base.ready()
    all.push({ store, base })
  }
  for (let i = 1; i < count; i++) {
    const a = all[0].store.replicate(true)
    const b = all[i].store.replicate(false)
    a.on('error', () => {})
    b.on('error', () => {})
    a.pipe(b).pipe(a)
  }
  for (let i = 1; i < count; i++) await all[0].base.append({ add: all[i].base.local.key.toString('hex') })
  for (const { base } of all) await until(async () => { await base.update(); return base.writable })
  return all
}

async function until (done) {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 2))
}

async function has (view, keys) {
  for (const key of keys) if ((await view.get(key)) === null) return false
  return true
}

const tasks = {
  async db_put ([count, atOnce, sync]) {
    await put(count, atOnce, sync === 1)
  },

  async db_get ([count, length]) {
    const db = await level()
    say(await timed(count, async () => {
      for (let i = 0; i < count; i++) {
        const at = place(i, length)
        const got = await db.get(key(at))
        if (!got || got.length !== 100) throw new Error('no value ' + at)
      }
    }))
    await db.close()
  },

  async db_scan ([rounds, length]) {
    const db = await level()
    say(await timed(rounds * length, async () => {
      for (let i = 0; i < rounds; i++) {
        let seen = 0
        const iterator = db.iterator({ highWaterMarkBytes: 1 << 20 })
        for (;;) {
          const entries = await iterator.nextv(1000)
          if (entries.length === 0) break
          seen += entries.length
        }
        await iterator.close()
        if (seen !== length) throw new Error('saw ' + seen)
      }
    }))
    await db.close()
  },

  // `writers` write `count` keys in all, so many in a batch, and it is over when each shows what all have written.
  async db_merge ([writers, count, atOnce]) {
    const all = await bases(writers)
    const each = Math.floor(count / writers)
    const last = all.map((_, w) => key(w * each + each - 1))
    say(await timed(each * writers, async () => {
      await Promise.all(all.map(async ({ base }, w) => {
        for (let i = 0; i < each; i += atOnce) {
          const puts = []
          for (let j = i; j < Math.min(each, i + atOnce); j++) puts.push([key(w * each + j), value(j).toString('base64')])
          await base.append({ puts })
        }
      }))
      for (const { base } of all) await until(async () => { await base.update(); return has(base.view, last) })
    }))
    process.exit(0)
  }
}

await tasks[task](args.map(Number))
