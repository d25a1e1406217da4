import {
  AbstractLevel,
  type AbstractBatchOperation,
  type AbstractBatchOptions,
  type AbstractChainedBatch,
  type AbstractDatabaseOptions,
  type AbstractDelOptions,
  type AbstractPutOptions
} from 'abstract-level'
import { Client, type ClientOptions } from './client.js'
import { CloudpalError, closed } from './error.js'
import { CloudpalIterator, CloudpalKeyIterator, CloudpalValueIterator } from './iterator.js'
import { Pager, type RangeOptions } from './pager.js'
import { Receipt, type WritePromise } from './receipt.js'
import { CloudpalSnapshot } from './view.js'
import type { Bounds, Kind, Origin, RawChange, Start, Step, Sub } from './wire/messages.js'

/** Which sub-database, and how keys and values are encoded. */
export interface LevelOptions<K, V> extends AbstractDatabaseOptions<K, V> {
  /** The sub-database. Default: the one without a name. */
  name?: string
  /** How concurrent edits come together. Default: `register`. */
  kind?: Kind
  /** When writes count as stored, unless they say themselves: `relaxed` may lose the last ones in a power cut. */
  durability?: Durability
}

export type Durability = 'durable' | 'relaxed'

/** Of one write. `sync` is LevelDB's word for the same: true is durable. */
export interface WriteOptions {
  durability?: Durability
  sync?: boolean
}

/** Something that changed in the sub-database. `put` tells what the key shows now. */
export type Change<K, V> = Origin & (
  | { readonly type: 'put'; readonly key: K; readonly value: V }
  | { readonly type: 'del'; readonly key: K; readonly value: undefined }
  | { readonly type: 'clear'; readonly gte: K; readonly lt: K | undefined; readonly key: undefined; readonly value: undefined }
)

/** What one of several concurrent writers left. */
export interface Version<V> extends Origin {
  readonly value: V
  /** Where it lies in its writer's log. */
  readonly position: number
}

/** A scalar of a document, by which an index finds it. */
export type Term = string | number | boolean | null

/** Which part of an index, in its order: null, false, true, numbers, texts. */
export interface FindRange {
  gt?: Term
  gte?: Term
  lt?: Term
  lte?: Term
  reverse?: boolean
  /** Entries at most. Default: all. */
  limit?: number
}

/** What concurrent writes left in one place. */
export interface Conflict<K, V> {
  readonly key: K
  /** The field of a document, as the database names it; empty for registers. */
  readonly path: Uint8Array
  /** The version that is shown, then those that lost. */
  readonly versions: readonly Version<V>[]
}

/** Where the receipt of a write travels through abstract-level to the private methods. */
const kReceipt = Symbol('receipt')

interface Private {
  [kReceipt]?: Receipt
  durability?: Durability
  sync?: boolean
  snapshot?: unknown
}

type PrivateOperation = { key: Uint8Array } & ({ type: 'put'; value: Uint8Array } | { type: 'del' })

/** A sub-database as an abstract-level database. */
export class CloudpalLevel<K = string, V = string> extends AbstractLevel<Uint8Array, K, V> {
  /** Name and kind. */
  readonly sub: Sub
  readonly #options: ClientOptions | undefined
  readonly #durability: Durability
  #client: Client | undefined
  #watch: AbortController | undefined

  /**
   * `client`: one that several databases share and that its maker closes, or the options of one of its own.
   */
  constructor(client: Client | ClientOptions, options: LevelOptions<K, V> = {}) {
    const { name = '', kind = 'register', durability = 'relaxed', ...forward } = options
    super(
      {
        encodings: { view: true },
        seek: true,
        has: true,
        implicitSnapshots: true,
        explicitSnapshots: true,
        permanence: true,
        createIfMissing: true,
        errorIfExists: true,
        events: { change: true }
      },
      forward
    )
    this.sub = { name, kind }
    this.#durability = durability
    if (client instanceof Client) this.#client = client
    else this.#options = client
    this.on('newListener', (event) => { if (event === 'change') this.#startWatching() })
    this.on('removeListener', () => { if (this.listenerCount('change') === 0) this.#stopWatching() })
    this.on('open', () => { if (this.listenerCount('change') > 0) this.#startWatching() })
  }

  /** The connection. There while the database is open, and always if it is shared. */
  get client(): Client {
    if (this.#client === undefined) throw closed()
    return this.#client
  }

  /** Writes that the server has not stored yet, of all databases that share the connection. */
  get pending(): number {
    return this.#client?.pending ?? 0
  }

  /** abstract-level's events are untyped; this one is not. */
  override on(event: 'change', listener: (change: Change<K, V>) => void): this
  override on(event: string | symbol, listener: (...told: never[]) => void): this
  override on(event: string | symbol, listener: (...told: never[]) => void): this {
    return super.on(event, listener as (...told: unknown[]) => void)
  }

  override put(key: K, value: V): WritePromise
  override put<A = K, B = V>(key: A, value: B, options: AbstractPutOptions<A, B> & WriteOptions): WritePromise
  override put<A, B>(key: A, value: B, options?: AbstractPutOptions<A, B> & WriteOptions): WritePromise {
    const { receipt, forward } = withReceipt(options)
    return receipt.show(super.put(key, value, forward))
  }

  override del(key: K): WritePromise
  override del<A = K>(key: A, options: AbstractDelOptions<A> & WriteOptions): WritePromise
  override del<A>(key: A, options?: AbstractDelOptions<A> & WriteOptions): WritePromise {
    const { receipt, forward } = withReceipt(options)
    return receipt.show(super.del(key, forward))
  }

  override batch(operations: AbstractBatchOperation<this, K, V>[]): WritePromise
  override batch<A = K, B = V>(
    operations: AbstractBatchOperation<this, A, B>[],
    options: AbstractBatchOptions<A, B> & WriteOptions
  ): WritePromise
  override batch(): AbstractChainedBatch<this, K, V>
  override batch<A, B>(
    ...given: [AbstractBatchOperation<this, A, B>[]?, (AbstractBatchOptions<A, B> & WriteOptions)?]
  ): WritePromise | AbstractChainedBatch<this, K, V> {
    if (given.length === 0) return super.batch()
    const { receipt, forward } = withReceipt(given[1])
    return receipt.show(super.batch(given[0] as never, forward))
  }

  /** Changes of this sub-database, by whomever, as they happen; from `start` on, which is `now` by default. */
  async *changes(options: { start?: Start; signal?: AbortSignal } = {}): AsyncGenerator<Change<K, V>, void, undefined> {
    for await (const changes of this.client.changes({ ...options, sub: this.sub })) {
      for (const change of changes) yield this.#decoded(change)
    }
  }

  /** What concurrent writes left in this sub-database. */
  async conflicts(): Promise<Conflict<K, V>[]> {
    const [key, value] = [this.keyEncoding(), this.valueEncoding()]
    return (await this.client.conflicts(this.sub)).map((raw) => ({
      ...raw,
      key: key.decode(raw.key),
      versions: raw.versions.map((version) => ({ ...version, value: value.decode(version.value) }))
    }))
  }

  /**
   * Settles a conflict: one of its versions stays, or a value takes the place of all, of a document the whole of it. What was written
   * meanwhile is not settled with it: then this fails with `CLOUDPAL_CONDITION`.
   */
  async resolve(conflict: Conflict<K, V>, choice: { keep: Version<V> } | { value: V }): Promise<void> {
    const key = this.keyEncoding().encode(conflict.key)
    const chosen = 'keep' in choice ? choice : { value: this.valueEncoding().encode(choice.value) }
    await this.client.resolve(this.sub, { ...conflict, key: bytes(key) }, 'keep' in chosen ? chosen : { value: bytes(chosen.value) })
  }

  /**
   * In the text at a key, takes `remove` characters out at `at` and puts `insert` there, counted as JavaScript counts. `seen`: the text that
   * the places are those of; if it is another by now, nothing is done and this fails with `CLOUDPAL_CONDITION`.
   */
  splice(
    key: K,
    { at, remove = 0, insert = '', seen }: { at: number; remove?: number; insert?: string; seen?: string },
    options: WriteOptions = {}
  ): WritePromise {
    const place = { sub: this.sub, key: bytes(this.keyEncoding().encode(key)) }
    const steps: Step[] = [{ type: 'splice', ...place, at, remove, insert }]
    if (seen !== undefined) steps.unshift({ type: 'expect', ...place, value: new TextEncoder().encode(seen) })
    return this.client.batch(steps, { durability: this.#durabilityOf(options) })
  }

  /** Declares an index on a field of documents (names joined by dots), for ever. To declare it again changes nothing. */
  index(path: string, options: WriteOptions = {}): WritePromise {
    return this.client.batch([{ type: 'index', sub: this.sub, path }], { durability: this.#durabilityOf(options) })
  }

  /**
   * Documents by an indexed field, in the field's order. One that has a list there is found by each of its elements. What changes
   * meanwhile may be found in its old place, its new one, both or none.
   */
  async *find(path: string, { reverse = false, limit = Infinity, ...range }: FindRange = {}): AsyncGenerator<[K, V], void, undefined> {
    const [key, value] = [this.keyEncoding(), this.valueEncoding()]
    const bounds: Bounds = { gt: json(range.gt), gte: json(range.gte), lt: json(range.lt), lte: json(range.lte) }
    let after: Uint8Array | undefined
    for (let left = limit; left > 0;) {
      const page = await this.client.find(this.sub, path, { bounds, after, reverse, limit: Math.min(left, 1000) })
      for (const [at, found] of page.keys.entries()) yield [key.decode(found), value.decode(page.values[at] ?? new Uint8Array())]
      if (page.last) return
      after = page.place
      left -= page.keys.length
    }
  }

  /** Where iterators get their entries. */
  pager(options: RangeOptions, values: boolean): Pager {
    return new Pager(this.client, this.sub, options, values)
  }

  async _open({ createIfMissing, errorIfExists }: { createIfMissing: boolean; errorIfExists: boolean }): Promise<void> {
    if (this.#options !== undefined) this.#client = new Client(this.#options)
    try {
      await this.#reach(createIfMissing, errorIfExists)
    } catch (error) {
      await this._close()
      throw error
    }
  }

  async _close(): Promise<void> {
    this.#stopWatching()
    if (this.#options === undefined) return
    const client = this.#client
    this.#client = undefined
    await client?.close()
  }

  async _get(key: Uint8Array, { snapshot }: Private): Promise<Uint8Array | undefined> {
    const [value] = await this.client.get(this.sub, [key], await number(snapshot))
    return value
  }

  async _getMany(keys: Uint8Array[], { snapshot }: Private): Promise<(Uint8Array | undefined)[]> {
    return this.client.get(this.sub, keys, await number(snapshot))
  }

  async _has(key: Uint8Array, { snapshot }: Private): Promise<boolean> {
    const [present] = await this.client.has(this.sub, [key], await number(snapshot))
    return present === true
  }

  async _hasMany(keys: Uint8Array[], { snapshot }: Private): Promise<boolean[]> {
    return this.client.has(this.sub, keys, await number(snapshot))
  }

  _put(key: Uint8Array, value: Uint8Array, options: Private): Promise<void> {
    return this.#write([{ type: 'put', sub: this.sub, key, value }], options)
  }

  _del(key: Uint8Array, options: Private): Promise<void> {
    return this.#write([{ type: 'del', sub: this.sub, key }], options)
  }

  _batch(operations: PrivateOperation[], options: Private): Promise<void> {
    return this.#write(operations.map((operation): Step => {
      const { key } = operation
      if (operation.type === 'del') return { type: 'del', sub: this.sub, key }
      return { type: 'put', sub: this.sub, key, value: operation.value }
    }), options)
  }

  async _clear(options: RangeOptions & Private): Promise<void> {
    const { gt, gte, lt, lte, limit = -1, snapshot } = options
    const bounds: Bounds = { gt, gte, lt, lte }
    if (limit < 0 && snapshot == null) return this.#write([{ type: 'clear', sub: this.sub, bounds }], options)
    // A part of the range, or as it once was: key by key.
    const pager = this.pager(options, false)
    try {
      let left = limit < 0 ? Infinity : limit
      for (;;) {
        const keys = await pager.take(Math.min(left, 1000), (key) => key)
        if (keys.length === 0) return
        await this.#write(keys.map((key) => ({ type: 'del', sub: this.sub, key })), options)
        left -= keys.length
        if (left === 0) return
      }
    } finally {
      pager.close()
    }
  }

  _iterator(options: RangeOptions): CloudpalIterator<K, V> {
    return new CloudpalIterator(this, options)
  }

  _keys(options: RangeOptions): CloudpalKeyIterator<K, V> {
    return new CloudpalKeyIterator(this, options)
  }

  _values(options: RangeOptions): CloudpalValueIterator<K, V> {
    return new CloudpalValueIterator(this, options)
  }

  _snapshot(options: object): CloudpalSnapshot {
    return new CloudpalSnapshot(this.client, options)
  }

  async #reach(create: boolean, fresh: boolean): Promise<void> {
    const state = await this.client.ready()
    try {
      if (state === 'closed') throw closed()
      await this.client.open(this.sub, { create, fresh })
    } catch (error) {
      const unreached = error instanceof CloudpalError && ['CLOUDPAL_OFFLINE', 'CLOUDPAL_DISCONNECTED'].includes(error.code)
      // Whoever keeps a queue can write before the server is reached, unless it depends on what is there.
      if (!unreached || !this.client.hasQueue || !create || fresh) throw error
    }
  }

  #write(steps: Step[], options: Private): Promise<void> {
    return this.client.write(steps, this.#durabilityOf(options), options[kReceipt]).outcome()
  }

  #durabilityOf({ durability, sync }: WriteOptions): Durability {
    return durability ?? (sync === undefined ? this.#durability : sync ? 'durable' : 'relaxed')
  }

  #decoded(raw: RawChange): Change<K, V> {
    const { writer, time, type } = raw
    const key = this.keyEncoding()
    switch (type) {
      case 'put':
        return { type, key: key.decode(raw.key), value: this.valueEncoding().decode(raw.value), writer, time }
      case 'del':
        return { type, key: key.decode(raw.key), value: undefined, writer, time }
      case 'clear': {
        const { gte = new Uint8Array(), lt } = raw.bounds
        const end = lt === undefined ? undefined : key.decode(lt)
        return { type, gte: key.decode(gte), lt: end, key: undefined, value: undefined, writer, time }
      }
    }
  }

  #startWatching(): void {
    if (this.#watch !== undefined || this.#client === undefined) return
    const watch = new AbortController()
    this.#watch = watch
    const run = async () => {
      for await (const change of this.changes({ signal: watch.signal })) this.emit('change', change)
    }
    run().catch((error: unknown) => {
      if (!watch.signal.aborted && this.listenerCount('error') > 0) this.emit('error', error)
    })
  }

  #stopWatching(): void {
    this.#watch?.abort()
    this.#watch = undefined
  }
}

function withReceipt<T extends object>(options: T | undefined): { receipt: Receipt; forward: T } {
  const receipt = (options as Private | undefined)?.[kReceipt] ?? new Receipt()
  return { receipt, forward: { ...options, [kReceipt]: receipt } as unknown as T }
}

async function number(snapshot: unknown): Promise<number> {
  return snapshot instanceof CloudpalSnapshot ? snapshot.view.number() : 0
}

function bytes(encoded: unknown): Uint8Array {
  return typeof encoded === 'string' ? new TextEncoder().encode(encoded) : (encoded as Uint8Array)
}

function json(term: Term | undefined): Uint8Array | undefined {
  return term === undefined ? undefined : bytes(JSON.stringify(term))
}
