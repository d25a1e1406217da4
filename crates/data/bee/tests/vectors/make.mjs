// Writes programs of operations with the blocks and answers that npm hyperbee gives for them.
//   npm install && node make.mjs bee.json            the file kept here
//   node make.mjs FILE SEED COUNT OPERATIONS         more of the kind, to be run with BEE_VECTORS=FILE cargo test
import Hyperbee from 'hyperbee'
import Hypercore from 'hypercore'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [file, seed, count, operations] = process.argv.slice(2)

// mulberry32
function random(seed) {
  let a = seed >>> 0
  return (below) => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const hex = (buffer) => (buffer === null ? null : Buffer.from(buffer).toString('hex'))
const entry = (e) => (e === null ? null : [e.seq, hex(e.key), hex(e.value)])

function condition(kind) {
  if (kind === 'yes') return () => true
  if (kind === 'no') return () => false
  if (kind === 'differs') return (prev, next) => prev.value === null || !prev.value.equals(next.value)
  if (kind === 'even') return (prev) => prev.seq % 2 === 0
}

// One step of a program. Steps are kept as lists so that the other side can follow them; answers are appended.
function step(rnd, shape) {
  const key = () => Buffer.from(shape.key(rnd)).toString('hex')
  const value = () => Buffer.from(shape.value(rnd)).toString('hex')
  const kinds = ['yes', 'no', 'differs', 'even']
  const n = rnd(100)
  if (n < shape.put) return ['put', key(), value()]
  if (n < shape.put + shape.del) return ['del', key()]
  const m = rnd(20)
  if (m < 2) return ['putif', key(), value(), kinds[rnd(4)]]
  if (m < 4) return ['delif', key(), ['yes', 'no', 'even'][rnd(3)]]
  if (m < 5) return ['null', key()]
  if (m < 9) return ['get', key()]
  if (m < 11) return ['range', range(rnd, key)]
  return ['get', key()]
}

function range(rnd, key) {
  const opts = {}
  if (rnd(3)) opts[rnd(2) ? 'gt' : 'gte'] = key()
  if (rnd(3)) opts[rnd(2) ? 'lt' : 'lte'] = key()
  if (rnd(2)) opts.reverse = true
  if (rnd(2)) opts.limit = rnd(20)
  return opts
}

const fromHex = (opts) => {
  const out = { ...opts }
  for (const edge of ['gt', 'gte', 'lt', 'lte']) if (edge in out) out[edge] = Buffer.from(out[edge], 'hex')
  return out
}

async function collect(stream) {
  const all = []
  for await (const data of stream) all.push(data)
  return all
}

// What get would say if it did not end early at a node whose block put the key: hyperbee 2.27.3 still finds some
// keys that were deleted. put a b c d f g h i e aa, del e, put a: get e gives the old value, and listing does not.
async function get(target, key) {
  const found = await target.get(key)
  const listed = await target.peek({ gte: key, lte: key })
  if (found?.seq !== listed?.seq) stale++
  return listed
}

let stale = 0

async function run(target, s) {
  const buf = (h) => Buffer.from(h, 'hex')
  switch (s[0]) {
    case 'put': return target.put(buf(s[1]), buf(s[2]))
    case 'null': return target.put(buf(s[1]), null)
    case 'del': return target.del(buf(s[1]))
    case 'putif': return target.put(buf(s[1]), buf(s[2]), { cas: condition(s[3]) })
    case 'delif': return target.del(buf(s[1]), { cas: condition(s[2]) })
    case 'get': s.push(entry(await get(target, buf(s[1])))); return
    case 'range': s.push((await collect(target.createReadStream(fromHex(s[1])))).map(entry)); return
  }
}

async function program(name, seed, steps, shape) {
  const rnd = random(seed)
  const dir = mkdtempSync(join(tmpdir(), 'bee-'))
  const core = new Hypercore(dir)
  const options = { alwaysDuplicate: !shape.skip }
  if (shape.metadata) options.metadata = shape.metadata
  const bee = new Hyperbee(core, options)
  await bee.ready()
  const subs = (shape.subs || []).map((name) => bee.sub(name))
  const program = []
  const versions = [1]
  while (program.length < steps) {
    const whole = [bee, ...subs]
    const at = rnd(whole.length)
    if (rnd(100) < shape.batch) {
      const batch = whole[at].batch()
      const inner = []
      const length = rnd(shape.longest) + 1
      for (let i = 0; i < length; i++) {
        const s = step(rnd, shape)
        await run(batch, s)
        inner.push(s)
      }
      await batch.flush()
      program.push(['batch', at, inner])
    } else {
      const s = step(rnd, shape)
      await run(whole[at], s)
      program.push([at, s])
    }
    if (versions[versions.length - 1] !== bee.version) versions.push(bee.version)
    if (rnd(100) < shape.look) {
      const other = versions[rnd(versions.length)]
      const opts = range(rnd, () => Buffer.from(shape.key(rnd)).toString('hex'))
      const diff = await collect(bee.createDiffStream(bee.checkout(other), fromHex({ ...opts, reverse: false })))
      program.push(['diff', other, opts, diff.map((d) => [entry(d.left), entry(d.right)])])
      const then = await collect(bee.checkout(other).createReadStream(fromHex(opts)))
      program.push(['at', other, opts, then.map(entry)])
      const bounds = { gte: 1 + rnd(bee.version), reverse: rnd(2) === 0, limit: 1 + rnd(12) }
      bounds.lt = bounds.gte + rnd(bee.version)
      if (bounds.lt > bee.version) bounds.lt = bee.version
      const history = await collect(bee.createHistoryStream(bounds))
      program.push(['history', bounds, history.map((h) => [h.type, ...entry(h)])])
    }
  }
  const blocks = []
  for (let i = 0; i < core.length; i++) {
    const block = await core.get(i)
    blocks.push(steps <= 200 ? block.toString('base64') : createHash('sha256').update(block).digest('hex').slice(0, 12))
  }
  await bee.close()
  rmSync(dir, { recursive: true })
  const metadata = shape.metadata
    ? { contentFeed: hex(shape.metadata.contentFeed ?? null), userData: hex(shape.metadata.userData ?? null) }
    : null
  return { name, seed, skip: !!shape.skip, metadata, subs: shape.subs || [], whole: steps <= 200, program, blocks }
}

const letters = (rnd, most, alphabet) => {
  let out = ''
  for (let i = rnd(most + 1); i > 0; i--) out += alphabet[rnd(alphabet.length)]
  return out
}

const shapes = {
  small: { key: (r) => letters(r, 2, 'abc'), value: (r) => letters(r, 3, 'xy'), put: 50, del: 30, batch: 0, longest: 1, look: 4 },
  batches: { key: (r) => 'k' + r(200), value: (r) => 'v' + r(1000), put: 55, del: 35, batch: 60, longest: 30, look: 5 },
  shrink: { key: (r) => 'k' + r(120), value: (r) => '' + r(9), put: 35, del: 55, batch: 50, longest: 60, look: 3 },
  tries: { key: (r) => 'k' + r(80), value: (r) => '' + r(3), put: 20, del: 10, batch: 70, longest: 25, look: 3 },
  skip: { key: (r) => 'k' + r(60), value: (r) => '' + r(3), put: 50, del: 10, batch: 50, longest: 25, look: 3, skip: true },
  subs: { key: (r) => 'k' + r(40), value: (r) => '' + r(99), put: 55, del: 25, batch: 40, longest: 20, look: 3, subs: ['a', 'b'] },
  grow: { key: (r) => String(r(1e6)).padStart(7, '0'), value: (r) => letters(r, 40, 'value'), put: 85, del: 12, batch: 20, longest: 120, look: 1 },
  binary: { key: (r) => Uint8Array.from({ length: r(4) }, () => [0, 1, 127, 128, 255][r(5)]), value: (r) => new Uint8Array(r(300)), put: 60, del: 25, batch: 30, longest: 12, look: 3, metadata: { contentFeed: null } }
}

const programs = []
if (seed) {
  const names = Object.keys(shapes)
  for (let i = 0; i < Number(count); i++) {
    const name = names[i % names.length]
    programs.push(await program(name, Number(seed) + i, Number(operations), shapes[name]))
  }
} else {
  for (const name of Object.keys(shapes)) programs.push(await program(name, 1, 60, shapes[name]))
  const header = { contentFeed: Buffer.alloc(32, 7), userData: Buffer.from('hello') }
  programs.push(await program('header', 2, 3, { ...shapes.small, metadata: header }))
}
if (stale) console.log(`get found ${stale} deleted keys`)
writeFileSync(file, JSON.stringify(programs) + '\n')
