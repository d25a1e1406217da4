// Writes feeds of npm hypertrie 5 with the answers it gives about them, as trie.json beside this file.
//   npm install hypertrie@5 random-access-memory@5 && node make-trie.mjs trie.json [SEED COUNT OPERATIONS]
import hypertrie from 'hypertrie'
import ram from 'random-access-memory'
import { writeFileSync } from 'node:fs'

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

const call = (f) => new Promise((resolve, reject) => f((err, value) => (err ? reject(err) : resolve(value))))
const show = (n) => (n === null ? null : [n.seq, n.key, n.value === null ? null : n.value.toString('hex'), n.flags])

// hypercore 9 asks noise-protocol for a key pair in a way that today's noise-protocol does not answer.
const noiseKeyPair = { publicKey: Buffer.alloc(32), secretKey: Buffer.alloc(32) }

async function program(seed, steps) {
  const rnd = random(seed)
  const metadata = seed % 2 ? Buffer.from('meta') : null
  const files = {}
  const trie = hypertrie((name) => (files[name] = ram()), null, { metadata, subtype: seed % 3 ? 'test' : undefined, noiseKeyPair })
  await call((cb) => trie.ready(cb))
  const key = () => {
    const parts = []
    for (let i = rnd(4); i >= 0; i--) parts.push(['a', 'b', 'é', 'x' + rnd(8)][rnd(4)])
    return (rnd(5) ? '' : '/') + parts.join('/')
  }
  const keys = new Set()
  const put = () => {
    const k = key()
    keys.add(k)
    return k
  }
  while (trie.feed.length <= steps) {
    const n = rnd(10)
    const value = () => Buffer.from('v' + rnd(1000))
    if (n < 5) await call((cb) => trie.put(put(), rnd(20) ? value() : null, { hidden: rnd(8) === 0, flags: rnd(4) }, cb))
    else if (n < 7) await call((cb) => trie.del([...keys][rnd(keys.size)] ?? 'a', cb))
    else {
      const ops = []
      for (let i = rnd(6); i >= 0; i--) {
        ops.push(rnd(3) ? { type: 'put', key: put(), value: value() } : { type: 'del', key: key() })
      }
      await call((cb) => trie.batch(ops, cb))
    }
  }
  const answers = []
  for (const version of [trie.version, 1 + rnd(trie.version), 1 + rnd(trie.version), 1]) {
    const then = trie.checkout(version)
    await call((cb) => then.ready(cb))
    const gets = []
    for (const k of [...keys, 'none', 'a/none']) {
      for (const hidden of [false, true]) gets.push([k, hidden, show(await call((cb) => then.get(k, { hidden }, cb)))])
    }
    const lists = []
    for (const prefix of ['', 'a', 'b/a', 'x1', '/é/', 'none']) {
      for (const hidden of [false, true]) {
        lists.push([prefix, hidden, (await call((cb) => then.list(prefix, { hidden }, cb))).map(show)])
      }
    }
    answers.push({ version, gets, lists })
  }
  const history = []
  const past = trie.history()
  for (let n; (n = await call((cb) => past.next(cb))) !== null; ) history.push(show(n))
  const blocks = []
  const raw = (i) => call((cb) => trie.feed.get(i, cb))
  for (let i = 0; i < trie.feed.length; i++) blocks.push((await raw(i)).toString('base64'))
  const file = (name) => call((cb) => files[name].read(0, files[name].length, cb)).then((b) => b.toString('base64'))
  const folder = { tree: await file('tree'), data: await file('data') }
  return { seed, subtype: trie.subtype ?? '', metadata: trie.metadata ? trie.metadata.toString('hex') : null, answers, history, folder, blocks }
}

const programs = []
for (let i = 0; i < Number(count ?? 4); i++) programs.push(await program(Number(seed ?? 1) + i, Number(operations ?? 12 * (i + 1))))
writeFileSync(file, JSON.stringify(programs) + '\n')
