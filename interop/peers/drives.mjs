// Commands on drives in a corestore.
import Hyperdrive from 'hyperdrive'
import { bytes, content, digest, hex } from './content.mjs'
import { pause, until } from './logs.mjs'

export class Drives {
  constructor() {
    this.store = null
    this.open = new Map()
  }

  commands() {
    return {
      openDrive: (args) => this.openDrive(args),
      change: (args) => this.change(args),
      waitDrive: (args) => this.waitDrive(args),
      files: (args) => this.files(args),
      readPart: (args) => this.readPart(args),
      driveDiff: (args) => this.driveDiff(args),
      heads: (args) => this.heads(args),
      coreKey: (args) => this.coreKey(args)
    }
  }

  get(name) {
    const drive = this.open.get(name)
    if (!drive) throw new Error(`no drive ${name} is open`)
    return drive
  }

  /** Opens a drive by its key, or this store's own of that name. */
  async openDrive({ drive: name, key, encryption }) {
    const drive = new Hyperdrive(this.store.namespace(name), bytes(key), { encryptionKey: bytes(encryption) })
    await drive.ready()
    this.open.set(name, drive)
    return { key: hex(drive.key), contentKey: hex(drive.contentKey), version: drive.version, writable: drive.writable }
  }

  async change({ drive: name, ops, single }) {
    const drive = this.get(name)
    const to = single ? drive : drive.batch()
    for (const { op, path, value, executable, metadata, target } of ops) {
      if (op === 'put') await to.put(path, content(value), { executable, metadata })
      else if (op === 'symlink') await to.symlink(path, target, { metadata })
      else if (op === 'del') await to.del(path)
      else throw new Error(`no drive operation ${op}`)
    }
    if (!single) await to.flush()
    return { version: drive.version, blobs: drive.blobs.core.length }
  }

  /** Waits until the drive has this version, and its files' bytes when `whole`. */
  async waitDrive({ drive: name, version, whole, timeoutMs }) {
    const drive = this.get(name)
    await until(timeoutMs, () => drive.version >= version, () => Promise.race([drive.update({ wait: true }), pause(100)]))
    if (whole) {
      const download = drive.download('/')
      await until(timeoutMs, () => drive.has('/').catch(() => false), () => Promise.race([download.done(), pause(100)]))
    }
    return { version: drive.version }
  }

  /** Every file with what it holds. A listing of a version reads its blobs too. */
  async files({ drive: name, version, folder = '/' }) {
    const drive = version ? this.get(name).checkout(version) : this.get(name)
    const files = []
    for await (const { seq, key, value } of drive.list(folder)) {
      const bytes = value.blob ? await drive.get(key, { timeout: 30_000 }) : null
      files.push({
        seq,
        path: key,
        content: bytes ? digest(bytes) : null,
        executable: value.executable,
        linkname: value.linkname,
        metadata: value.metadata,
        blob: value.blob
      })
    }
    // A reader opens the blob log when it first needs it.
    if (drive.version > 1) await drive.getBlobs()
    const seen = { version: drive.version, contentKey: hex(drive.contentKey), files }
    if (version) await drive.close()
    return seen
  }

  /** Part of a file. */
  async readPart({ drive: name, path, start, length }) {
    const parts = []
    for await (const part of this.get(name).createReadStream(path, { start, length })) parts.push(part)
    return { content: digest(Buffer.concat(parts)) }
  }

  /** The two logs of a drive. */
  async heads({ drive: name }) {
    const drive = this.get(name)
    const head = async (core) => ({ length: core.length, fork: core.fork, treeHash: hex(await core.treeHash()) })
    return { db: await head(drive.core), blobs: await head((await drive.getBlobs()).core) }
  }

  /** What changed since a version: paths on the one and the other side. */
  async driveDiff({ drive: name, since }) {
    const changes = []
    for await (const { left, right } of this.get(name).diff(since, '/')) {
      changes.push([left ? left.key : null, right ? right.key : null])
    }
    return { changes }
  }

  /** The key of a named log in a namespace, which the store's primary key alone decides. */
  async coreKey({ namespaces, name }) {
    let store = this.store
    for (const namespace of namespaces) store = store.namespace(namespace)
    const core = store.get({ name })
    await core.ready()
    const key = hex(core.key)
    await core.close()
    return { key }
  }
}
