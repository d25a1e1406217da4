// Commands on single logs, for hypercore 10 and 11 alike; `inside` is how a version's own tree is reached,
// which takes a step into its `core` object where the public interface has none.
import path from 'node:path'
import crypto from 'hypercore-crypto'
import { bytes, content, digest, hex } from './content.mjs'

export class Logs {
  constructor(Hypercore, inside) {
    this.Hypercore = Hypercore
    this.inside = inside
    this.dir = null
    this.open = new Map()
  }

  commands() {
    const names = ['openLog', 'append', 'truncate', 'wait', 'download', 'fetch', 'live', 'clear', 'seek', 'dump', 'close']
    return Object.fromEntries(names.map((name) => [name, (args) => this[name](args)]))
  }

  get(name) {
    const log = this.open.get(name)
    if (!log) throw new Error(`no log ${name} is open`)
    return log
  }

  /** A replication stream with every open log on it, and those opened later when the peer asks. */
  streamOf(isInitiator) {
    const stream = this.Hypercore.createProtocolStream(isInitiator)
    for (const { core } of this.open.values()) core.replicate(stream)
    return stream
  }

  /** Opens a log: as its writer when `make` is given, else by its key. */
  async openLog({ log, key, make, encryption }) {
    const options = { encryptionKey: bytes(encryption) }
    let signers = []
    if (make) {
      signers = make.signers.map((seed) => crypto.keyPair(bytes(seed)))
      Object.assign(options, shape(make, signers))
    }
    const core = new this.Hypercore(path.join(this.dir, log), bytes(key), options)
    await core.ready()
    this.open.set(log, { core, signers, multi: make ? make.kind === 'multi' : false, sync: null })
    return { key: hex(core.key), discoveryKey: hex(core.discoveryKey), writable: core.writable, ...size(core) }
  }

  async append({ log, blocks }) {
    const { core, signers, multi } = this.get(log)
    const values = blocks.map(content)
    if (multi) {
      const batch = this.inside.batch(core)
      for (const value of values) batch.append(value)
      await core.append(values, { signature: this.sign(core, signers, batch) })
    } else {
      await core.append(values)
    }
    return size(core)
  }

  async truncate({ log, length }) {
    const { core, signers, multi } = this.get(log)
    const fork = core.fork + 1
    if (multi) {
      const hash = await core.treeHash(length)
      const batch = { signable: (context) => this.inside.signable(context, hash, length, fork) }
      await core.truncate(length, { fork, signature: this.sign(core, signers, batch) })
    } else {
      await core.truncate(length)
    }
    return size(core)
  }

  /** The quorum's signatures over a tree, assembled as its manifest's version wants. */
  sign(core, keyPairs, batch) {
    const { verifier } = core.core
    const proofs = keyPairs.slice(0, verifier.quorum).map((keyPair) => {
      const signer = verifier.signers.findIndex((one) => one.publicKey.equals(keyPair.publicKey))
      return { signer, signature: verifier.signers[signer].sign(batch, keyPair), patch: 0, nodes: null }
    })
    // Of version 0, a manifest with one signer and without patches takes the bare signature.
    if (verifier.version === 0 && verifier.signers.length === 1 && !verifier.allowPatch) return proofs[0].signature
    return verifier.assemble(proofs)
  }

  /** Waits until the log has this length and fork. */
  async wait({ log, length, fork, timeoutMs }) {
    const { core } = this.get(log)
    await until(timeoutMs, () => core.length === length && core.fork === fork, async () => {
      // `update` alone answers at once when no peer is known to have more.
      await Promise.race([core.update({ wait: true }), pause(100)])
    })
    return size(core)
  }

  /** Waits until blocks `start` to `end` are here. */
  async download({ log, start, end, timeoutMs }) {
    const { core } = this.get(log)
    const range = core.download({ start, end })
    try {
      await until(timeoutMs, () => core.has(start, end), () => Promise.race([range.done(), pause(100)]))
    } finally {
      range.destroy()
    }
    return size(core)
  }

  /** Asks for chosen blocks only, in the given order. */
  async fetch({ log, blocks, timeoutMs }) {
    const { core } = this.get(log)
    for (const index of blocks) await core.get(index, { timeout: timeoutMs })
    return size(core)
  }

  /** Takes everything there is and will be. */
  async live({ log }) {
    this.get(log).sync ??= this.get(log).core.download({ start: 0, end: -1 })
    return {}
  }

  async clear({ log, start, end }) {
    const { core } = this.get(log)
    await core.clear(start, end)
    return size(core)
  }

  /** Which block holds a byte, and where in it. */
  async seek({ log, byte, timeoutMs }) {
    const found = await this.get(log).core.seek(byte, { timeout: timeoutMs })
    return { index: found[0], offset: found[1] }
  }

  /** All that peers must agree on; a block that is not here is null. */
  async dump({ log }) {
    const { core } = this.get(log)
    const blocks = []
    for (let index = 0; index < core.length; index++) {
      const block = await core.get(index, { wait: false })
      blocks.push(block ? digest(block) : null)
    }
    return {
      key: hex(core.key),
      treeHash: hex(await core.treeHash(core.length)),
      signature: hex(this.inside.signature(core)),
      ...size(core),
      blocks
    }
  }

  /** Closes every log, so that another process may open them. */
  async close() {
    await Promise.all([...this.open.values()].map(({ core }) => core.close()))
    this.open.clear()
    return {}
  }
}

const size = (core) => ({ length: core.length, fork: core.fork })

/** Options of a new log for what the driver calls its make. */
function shape(make, signers) {
  if (make.kind === 'compat') return { keyPair: signers[0], compat: true }
  if (make.kind === 'default') return { keyPair: signers[0], compat: false }
  return {
    compat: false,
    keyPair: signers[0],
    manifest: {
      version: make.version,
      quorum: make.quorum,
      allowPatch: make.allowPatch,
      signers: signers.map(({ publicKey }) => ({ publicKey })),
      userData: bytes(make.userData)
    }
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Calls `step` until `done` says so. */
export async function until(timeoutMs, done, step) {
  const end = Date.now() + timeoutMs
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`not there after ${timeoutMs} ms`)
    // An update that was overtaken by a cut connection is tried again.
    await Promise.resolve(step()).catch(() => {})
    await pause(5)
  }
}
