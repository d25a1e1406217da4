// LevelDB folders between unmodified npm classic-level and `cloudpal db`. CLOUDPAL names the program.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ClassicLevel } from 'classic-level'

const options = { keyEncoding: 'buffer', valueEncoding: 'buffer' }
const bytes = (...all) => Buffer.from(all)

async function scene(t) {
  const folder = await mkdtemp(join(tmpdir(), 'cloudpal-leveldb-'))
  t.after(() => rm(folder, { recursive: true }))
  const cloudpal = (...words) => new Promise((resolve) => {
    const all = ['--json', '--config', join(folder, 'person'), 'db', ...words, '--store', join(folder, 'store')]
    execFile(process.env.CLOUDPAL, all, { maxBuffer: 1 << 28 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : error.code, said: out + err, json: out === '' ? undefined : JSON.parse(out) })
    })
  })
  await done(cloudpal('create', 'home'))
  return { at: (name) => join(folder, name), cloudpal }
}

async function done(running) {
  const { code, said, json } = await running
  assert.equal(code, 0, said)
  return json
}

async function open(path) {
  const db = new ClassicLevel(path, options)
  await db.open()
  return db
}

async function entries(path) {
  const db = await open(path)
  const all = await db.iterator().all()
  await db.close()
  return all
}

async function files(path) {
  const names = (await readdir(path)).sort()
  return Promise.all(names.map(async (name) => [name, (await stat(join(path, name))).mtimeMs, await readFile(join(path, name))]))
}

const noise = (seed) => {
  let state = seed
  return (length) => Buffer.from(Array.from({ length }, () => (state = (state * 48271) % 2147483647) % 256))
}

/** Everything odd at once. */
async function fillOddly(db) {
  const random = noise(1)
  await db.batch([
    { type: 'put', key: bytes(), value: bytes(1) },
    { type: 'put', key: bytes(0), value: bytes() },
    { type: 'put', key: bytes(0, 0), value: bytes(0) },
    { type: 'put', key: bytes(97, 0, 98), value: Buffer.from('zero within') },
    { type: 'put', key: bytes(255, 255), value: random(1000) },
    { type: 'put', key: Buffer.from('gone'), value: Buffer.from('soon') },
    { type: 'put', key: Buffer.from('packs'), value: Buffer.alloc(100_000, 'well ') },
    { type: 'put', key: Buffer.from('does not'), value: random(100_000) }
  ])
  await db.del(Buffer.from('gone'))
  await db.put(Buffer.from('again'), Buffer.from('1'))
  await db.put(Buffer.from('again'), Buffer.from('2'))
}

test('what classic-level wrote is imported, and comes out as classic-level reads it', async (t) => {
  const { at, cloudpal } = await scene(t)
  const db = await open(at('theirs'))
  await fillOddly(db)
  await db.close()
  const before = await files(at('theirs'))
  const came = await done(cloudpal('import', 'home', '--leveldb', at('theirs'), '--sub', 'things'))
  assert.deepEqual(await files(at('theirs')), before, 'nothing in it is changed')
  assert.deepEqual([came.sub, came.keys, came.written, came.unfinished], ['things', 8, 8, []])
  const again = await done(cloudpal('import', 'home', '--leveldb', at('theirs'), '--sub', 'things'))
  assert.deepEqual([again.written, again.same], [0, 8])
  const went = await done(cloudpal('export', 'home', '--leveldb', at('ours'), '--sub', 'things'))
  assert.equal(went.keys, 8)
  assert.deepEqual(await entries(at('ours')), await entries(at('theirs')))
  const { code, said } = await cloudpal('export', 'home', '--leveldb', at('ours'), '--sub', 'things')
  assert.equal(code, 6, said)
})

test('100,000 keys on several levels, some overwritten, some deleted', async (t) => {
  const { at, cloudpal } = await scene(t)
  const db = await open(at('theirs'))
  const random = noise(7)
  const key = (i) => Buffer.from(`key ${String((i * 7919) % 100_000).padStart(6, '0')}`)
  for (let from = 0; from < 100_000; from += 1000) {
    await db.batch(Array.from({ length: 1000 }, (_, i) => ({ type: 'put', key: key(from + i), value: random(100) })))
  }
  for (let i = 0; i < 20_000; i++) {
    await (i % 2 === 0 ? db.del(key(i * 3)) : db.put(key(i * 3), random(100)))
  }
  const stats = db.getProperty('leveldb.stats')
  const levels = stats.split('\n').filter((line) => /^ +\d+ +\d+ /.test(line)).length
  assert.ok(levels >= 2, stats)
  await db.close()
  const came = await done(cloudpal('import', 'home', '--leveldb', at('theirs'), '--sub', 'many'))
  assert.equal(came.keys, 90_000)
  assert.ok(came.batches > 10, 'not one giant batch')
  const went = await done(cloudpal('export', 'home', '--leveldb', at('ours'), '--sub', 'many'))
  assert.ok(went.tables > 2)
  const theirs = await entries(at('theirs'))
  assert.deepEqual(await entries(at('ours')), theirs)
  // It is a LevelDB like any other: it is written on, and compacted.
  const ours = await open(at('ours'))
  assert.deepEqual(await ours.get(theirs[77][0]), theirs[77][1])
  await ours.put(Buffer.from('key 5'), Buffer.from('new'))
  await ours.del(theirs[0][0])
  await ours.compactRange(Buffer.from(''), Buffer.from('z'))
  assert.equal((await ours.iterator().all()).length, 90_000)
  await ours.close()
  const back = await done(cloudpal('import', 'home', '--leveldb', at('ours'), '--sub', 'back'))
  assert.equal(back.keys, 90_000)
})

test('a folder in use is refused; one whose program was killed is read', async (t) => {
  const { at, cloudpal } = await scene(t)
  const program = `
    import { ClassicLevel } from 'classic-level'
    const db = new ClassicLevel(process.argv[1], { valueEncoding: 'buffer' })
    for (let i = 0; i < 3000; i++) await db.put('key ' + i, Buffer.alloc(2000, i))
    await db.del('key 1')
    console.log('ready')
    setInterval(() => undefined, 1000)`
  const cwd = fileURLToPath(new URL('.', import.meta.url))
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, at('theirs')], { cwd, stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const refused = await cloudpal('import', 'home', '--leveldb', at('theirs'))
  assert.equal(refused.code, 1)
  assert.match(refused.said, /in use by another program/)
  child.kill('SIGKILL')
  await once(child, 'exit')
  await cp(at('theirs'), at('copy'), { recursive: true })
  const came = await done(cloudpal('import', 'home', '--leveldb', at('theirs')))
  assert.equal(came.keys, 2999)
  await done(cloudpal('export', 'home', '--leveldb', at('ours')))
  assert.deepEqual(await entries(at('ours')), await entries(at('copy')))
})

test('a damaged folder is refused by file and place, and nothing of it is imported', async (t) => {
  const { at, cloudpal } = await scene(t)
  const db = await open(at('theirs'))
  await fillOddly(db)
  await db.compactRange(bytes(), bytes(255, 255, 255))
  await db.put(Buffer.from('last'), Buffer.alloc(50_000))
  await db.close()
  for (const ending of ['.ldb', '.log']) {
    const name = (await readdir(at('theirs'))).find((name) => name.endsWith(ending))
    const whole = await readFile(at(join('theirs', name)))
    const damaged = Buffer.from(whole)
    damaged[2000] ^= 1
    await writeFile(at(join('theirs', name)), damaged)
    const { code, said } = await cloudpal('import', 'home', '--leveldb', at('theirs'), '--sub', 'none')
    assert.equal(code, 1)
    assert.match(said, new RegExp(`${name} is damaged.*checksum.*at byte \\d+`, 's'))
    await writeFile(at(join('theirs', name)), whole)
  }
  assert.deepEqual((await done(cloudpal('scan', 'home', '--sub', 'none'))).entries, [])
  const { code, said } = await cloudpal('import', 'home', '--leveldb', at('nowhere'))
  assert.equal(code, 3, said)
})
