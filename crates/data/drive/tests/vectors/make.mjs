// Makes drives.json: what npm hyperdrive 13.3.4 writes and answers for fixed programs of operations.
// Run: npm install && node make.mjs > drives.json
import Corestore from 'corestore'
import Hyperdrive from 'hyperdrive'
import Hyperbee from 'hyperbee'
import Hypercore from 'hypercore'
import crypto from 'hypercore-crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const hex = (b) => (b ? Buffer.from(b).toString('hex') : null)

// xorshift32, so that the Rust side can make the same content from (seed, length).
function content (seed, length) {
  const out = Buffer.alloc(length)
  let x = (seed * 2654435761 + 1) >>> 0
  for (let i = 0; i < length; i++) {
    x ^= x << 13; x >>>= 0
    x ^= x >>> 17
    x ^= x << 5; x >>>= 0
    out[i] = x & 255
  }
  return out
}

const PROGRAM = [
  ['put', '/a.txt', 1, 5, {}],
  ['put', 'docs/readme.md', 2, 1000, { metadata: { author: 'é', n: 1.5, deep: { b: [1, null, true] } } }],
  ['put', '/docs/big.bin', 3, 65536 * 2 + 17, {}],
  ['put', '/docs/exact.bin', 4, 65536, {}],
  ['put', '/empty', 5, 0, {}],
  ['put', '/bin/run', 6, 65537, { executable: true }],
  ['symlink', '/link', '/docs/readme.md', {}],
  ['symlink', '/docs/up', '../a.txt', { metadata: 'text' }],
  ['put', '/docs/sub/x', 7, 65535, {}],
  ['put', '/a', 8, 3, {}],
  ['put', '/a/b', 9, 3, {}],
  ['put', '/a0', 10, 3, {}],
  ['put', '/a.txt', 11, 70000, {}],
  ['del', '/docs/sub/x'],
  ['put', '/über/日本 "q"\t\u0001.txt', 12, 9, {}],
  ['del', '/not-there'],
  ['putEntry', '/copy.txt', '/docs/readme.md', { executable: true }],
  ['symlink', '/loop', '/loop', {}],
  ['symlink', '/one/../two', './three\\four\u2028', {}]
]

async function run (drive, program) {
  for (const [op, name, a, b, c] of program) {
    if (op === 'put') await drive.put(name, content(a, b), c)
    if (op === 'del') await drive.del(name)
    if (op === 'symlink') await drive.symlink(name, a, b)
    if (op === 'putEntry') {
      const e = await drive.entry(a)
      await drive.putEntry(name, { ...b, blob: e.value.blob })
    }
  }
}

async function blocks (core, raw) {
  const out = []
  for (let i = 0; i < core.length; i++) {
    const b = await core.get(i, { raw })
    out.push(b.byteLength > 600 ? { length: b.byteLength, hash: hex(crypto.hash(b)) } : { hex: hex(b) })
  }
  return out
}

async function all (stream) {
  const out = []
  for await (const x of stream) out.push(x)
  return out
}

async function describe (drive) {
  const blobs = await drive.getBlobs()
  const out = {
    key: hex(drive.key),
    compat: drive.core.core.compat,
    manifest: drive.core.manifest ? hex(encodeManifest(drive.core.manifest)) : null,
    blobsKey: hex(drive.contentKey),
    blobsManifest: blobs.core.manifest ? hex(encodeManifest(blobs.core.manifest)) : null,
    version: drive.version,
    byteLength: blobs.core.byteLength,
    // Over the blocks as they are stored, encrypted ones too.
    treeHashes: [hex(await drive.core.treeHash()), hex(await blobs.core.treeHash())],
    bee: await blocks(drive.core, false),
    blobs: await blocks(blobs.core, false),
    entries: await all(drive.list('/')),
    docs: (await all(drive.list('/docs'))).map((e) => e.key),
    shallow: (await all(drive.list('/', { recursive: false }))).map((e) => e.key),
    readdir: await all(drive.readdir('/')),
    readdirDocs: await all(drive.readdir('/docs')),
    follow: (await drive.entry('/link', { follow: true })).key
  }
  const ranges = []
  for (const opts of [{ start: 0, end: 9 }, { start: 65530, length: 20 }, { start: 131072 }, { start: 70000, end: 131071 }, { start: 65536, length: 65536 }]) {
    const got = Buffer.concat(await all(drive.createReadStream('/docs/big.bin', opts)))
    ranges.push({ ...opts, length_got: got.byteLength, hash: hex(crypto.hash(got)) })
  }
  out.ranges = ranges
  out.diffs = []
  for (const [from, folder] of [[1, '/'], [8, '/'], [3, '/docs'], [13, '/']]) {
    const diff = await all(drive.diff(from, folder))
    out.diffs.push({ from, folder, changes: diff.map((d) => ({ left: d.left && d.left.key, right: d.right && d.right.key, leftSeq: d.left && d.left.seq, rightSeq: d.right && d.right.seq })) })
  }
  const old = drive.checkout(6)
  out.checkout6 = (await all(old.list('/'))).map((e) => e.key)
  return out
}

// The codec is not exported; hypercore's own key of a manifest checks what we send along.
import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
const m = require('hypercore/lib/messages.js')
const c = require('compact-encoding')
const encodeManifest = (x) => c.encode(m.manifest, x)

function tmp () { return fs.mkdtempSync(path.join(os.tmpdir(), 'drive-vectors-')) }

async function make (name, opts, program, after) {
  const dir = tmp()
  const primaryKey = crypto.hash(Buffer.from(name))
  const store = new Corestore(dir, { primaryKey, unsafe: true })
  const drive = new Hyperdrive(store, opts.compat ? { _db: await compatBee(primaryKey) } : opts)
  await drive.ready()
  const seed = { publicKey: hex(drive.core.keyPair.publicKey), secretKey: hex(drive.core.keyPair.secretKey) }
  const blobsPair = (await drive.getBlobs()).core.keyPair
  await run(drive, program)
  const out = { name, primaryKey: hex(primaryKey), encryptionKey: hex(opts.encryptionKey), keyPair: seed, blobsKeyPair: { publicKey: hex(blobsPair.publicKey), secretKey: hex(blobsPair.secretKey) }, program, ...(await describe(drive)) }
  if (after) Object.assign(out, await after(drive))
  await drive.close()
  fs.rmSync(dir, { recursive: true })
  return out
}

// Corestore 7 makes no compat logs; drives that JS 10 made have them, and a blob log with a key of its own.
async function compatBee (seed) {
  const core = new Hypercore(tmp(), { compat: true, keyPair: crypto.keyPair(seed) })
  await core.ready()
  return new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'json', metadata: { contentFeed: null } })
}

async function withBlockMaps (drive) {
  const write = (name, parts, opts) => new Promise((resolve, reject) => {
    const ws = drive.createWriteStream(name, opts)
    for (const p of parts) ws.write(p)
    ws.end()
    ws.on('error', reject).on('close', resolve)
  })
  const p = (seed, n) => content(seed, n)
  await write('/mapped', [p(20, 1000), p(21, 2000), p(20, 1000), p(22, 10)], { dedup: true })
  await write('/mapped', [p(20, 1000), p(23, 5), p(22, 10), p(21, 2000)], { dedup: true })
  await write('/odd-chunks', [p(24, 10), p(25, 70000), p(26, 1)], {})
  const out = { mapped: [] }
  for (const name of ['/mapped', '/odd-chunks']) {
    const whole = Buffer.concat(await all(drive.createReadStream(name)))
    const range = Buffer.concat(await all(drive.createReadStream(name, { start: 990, length: 30 })))
    out.mapped.push({ name, entry: await drive.entry(name), length: whole.byteLength, hash: hex(crypto.hash(whole)), range: hex(range) })
  }
  const blobs = await drive.getBlobs()
  out.mappedBee = await blocks(drive.core, false)
  out.mappedBlobs = await blocks(blobs.core, false)
  return out
}

async function manifests () {
  const out = []
  const pk = (n) => crypto.keyPair(Buffer.alloc(32, n)).publicKey
  const signer = (n, ns) => ({ signature: 'ed25519', namespace: Buffer.alloc(32, ns), publicKey: pk(n) })
  for (const version of [0, 1, 2, 3]) {
    for (const [quorum, signers, allowPatch] of [[1, [signer(1, 1)], false], [2, [signer(1, 1), signer(2, 2), signer(3, 3)], true]]) {
      if (version === 0 && signers.length > 1) continue
      const manifest = { version, hash: 'blake2b', allowPatch, quorum, signers, prologue: null, linked: null, userData: null }
      const key = Hypercore.key(manifest)
      const content = Hyperdrive.getContentManifest(manifest, key)
      out.push({ version, manifest: hex(encodeManifest(manifest)), key: hex(key), content: content && hex(encodeManifest(content)), contentKey: content && hex(Hypercore.key(content)) })
    }
  }
  return out
}

const drives = [
  await make('plain', {}, PROGRAM, withBlockMaps),
  await make('compat', { compat: true }, PROGRAM),
  await make('encrypted', { encryptionKey: Buffer.alloc(32, 7) }, PROGRAM)
]
process.stdout.write(JSON.stringify({ made: 'npm hyperdrive 13.3.4, hypercore 11.37.1, hyperblobs 2.12.1, hyperbee 2.27.3', drives, manifests: await manifests() }, null, 1))
process.exit(0)
