// Commands on sorted maps over open logs. Keys and values are bytes.
import Hyperbee from 'hyperbee'
import { bytes, content, digest, hex } from './content.mjs'

export class Bees {
  constructor(logs) {
    this.logs = logs
    this.open = new Map()
  }

  commands() {
    return {
      openBee: (args) => this.openBee(args),
      batch: (args) => this.batch(args),
      scan: (args) => this.scan(args),
      history: (args) => this.history(args),
      diff: (args) => this.diff(args),
      getKeys: (args) => this.getKeys(args)
    }
  }

  get(log) {
    const bee = this.open.get(log)
    if (!bee) throw new Error(`no bee on log ${log} is open`)
    return bee
  }

  /** Makes the open log `log` a bee; what the writer's first batch says is its header. */
  async openBee({ log }) {
    const bee = new Hyperbee(this.logs.get(log).core, { keyEncoding: 'binary', valueEncoding: 'binary' })
    await bee.ready()
    this.open.set(log, bee)
    return { version: bee.version }
  }

  /** The whole map, a sub-database of it, or either at a version. */
  view(log, { sub, version }) {
    const at = version ? this.get(log).checkout(version) : this.get(log)
    return sub ? at.sub(bytes(sub)) : at
  }

  /** `ops` in one batch, or each on its own when `single`. */
  async batch({ log, sub, ops, single }) {
    const bee = this.view(log, { sub })
    const to = single ? bee : bee.batch()
    for (const { op, key, value, cas } of ops) {
      const options = cas ? { cas: condition(cas) } : {}
      if (op === 'put') await to.put(bytes(key), content(value), options)
      else await to.del(bytes(key), options)
    }
    if (!single) await to.flush()
    return { version: this.get(log).version }
  }

  /** Entries of a range. */
  async scan({ log, sub, version, range = {}, reverse = false, limit = -1 }) {
    const entries = []
    const options = { ...bounds(range), reverse, limit }
    for await (const { seq, key, value } of this.view(log, { sub, version }).createReadStream(options)) {
      entries.push([seq, hex(key), digest(value)])
    }
    return { version: this.get(log).version, entries }
  }

  /** Every change in order. */
  async history({ log, since = 1, reverse = false, limit = -1 }) {
    const entries = []
    const options = { gte: since, reverse, limit }
    for await (const { type, seq, key, value } of this.get(log).createHistoryStream(options)) {
      entries.push([seq, type, hex(key), value ? digest(value) : null])
    }
    return { entries }
  }

  /** What differs between version `from` and version `to`. */
  async diff({ log, from, to }) {
    const side = (entry) => (entry ? [entry.seq, hex(entry.key), digest(entry.value)] : null)
    const entries = []
    for await (const { left, right } of this.view(log, { version: to }).createDiffStream(from)) {
      entries.push([side(left), side(right)])
    }
    return { entries }
  }

  /** Single look-ups. */
  async getKeys({ log, sub, keys }) {
    const values = []
    for (const key of keys) {
      const found = await this.view(log, { sub }).peek({ gte: bytes(key), lte: bytes(key) })
      values.push(found ? [found.seq, digest(found.value)] : null)
    }
    return { values }
  }
}

function bounds(range) {
  return Object.fromEntries(Object.entries(range).map(([name, key]) => [name, bytes(key)]))
}

/** Compare-and-swap conditions that both sides know by name. */
function condition(name) {
  if (name === 'never') return () => false
  if (name === 'changed') return (previous, next) => !same(previous.value, next.value)
  throw new Error(`no condition ${name}`)
}

const same = (a, b) => (a && b ? Buffer.compare(a, b) === 0 : a === b)
