import { EventEmitter } from 'events'
import { defaultQueue, fileQueue } from '#platform'
import { Connection, type State } from './connection.js'
import { CloudpalError, closed } from './error.js'
import { Feed, type FeedOptions } from './feed.js'
import { Outbox } from './outbox.js'
import { MemoryQueue, type Queue } from './queue/queue.js'
import { Receipt, type WritePromise } from './receipt.js'
import { readConflict, readMember, type Member, type RawConflict } from './told.js'
import { request, writeBounds, writeSub, writeWriter, type Bounds, type RawChange, type Step, type Sub } from './wire/messages.js'
import type { Reader } from './wire/reader.js'

/** Where to keep writes while the server is not reached. */
export type QueueChoice = 'none' | 'memory' | 'indexeddb' | { file: string }

/** Which database, and as whom. */
export interface ClientOptions {
  /** Its address, such as `ws://127.0.0.1:7700/v1/databases/home`. `http:` and `https:` are understood, too. */
  url: string
  /** A token of the database's owner: `cloudpal db token add`. */
  token: string
  /** Where writes wait while the server is not reached. Default: IndexedDB in browsers, none in Node.js. */
  queue?: QueueChoice
}

/** What a client tells: listen with `on`. */
export interface ClientEvents {
  online: []
  /** With the reason. */
  offline: [CloudpalError]
  /** A write was kept in the queue, as the server is not reached; with the number of writes that wait. */
  queued: [number]
  /** Everything that waited was sent, and stored or refused. */
  flushed: []
  /** A write that had been queued was refused by the server and dropped. */
  refused: [CloudpalError, readonly Step[]]
}

/** A page of a scan. */
export interface Page {
  readonly last: boolean
  readonly keys: Uint8Array[]
  readonly values: Uint8Array[]
}

export interface ScanOptions {
  readonly snapshot: number
  readonly bounds: Bounds
  readonly reverse: boolean
  readonly values: boolean
  readonly limit: number
}

/** What to find by an index. Bounds are JSON. */
export interface FindOptions {
  readonly bounds: Bounds
  readonly after: Uint8Array | undefined
  readonly reverse: boolean
  readonly limit: number
}

/** A version of a conflict, by where it lies. */
export interface Place {
  readonly writer: string
  readonly position: number
}

/** Bytes after which a page of a scan ends. */
const PAGE = 1 << 20

/** A database on its server: one connection, shared by all that use its sub-databases here. */
export class Client extends EventEmitter<ClientEvents> {
  readonly #connection: Connection
  readonly #outbox: Outbox
  readonly #feeds = new Set<Feed>()
  #snapshots = 0
  #first: Promise<void>
  #known!: () => void

  constructor({ url, token, queue }: ClientOptions) {
    super()
    const address = socketAddress(url)
    this.#first = new Promise((resolve) => { this.#known = resolve })
    this.#connection = new Connection(address, token, {
      online: () => {
        this.#outbox.online()
        for (const feed of this.#feeds) feed.online()
        this.#known()
        this.emit('online')
      },
      lost: () => { this.#outbox.lost() },
      offline: (error) => {
        this.#outbox.offline(error)
        if (error.isFinal) for (const feed of this.#feeds) feed.failed(error)
        this.#known()
        this.emit('offline', error)
      }
    })
    this.#outbox = new Outbox(this.#connection, chosen(queue, address), {
      queued: (pending) => this.emit('queued', pending),
      flushed: () => this.emit('flushed'),
      refused: (error, steps) => this.emit('refused', error, steps)
    })
    // What earlier clients left goes before anything of this one.
    this.#outbox.open().then(
      () => { if (this.state !== 'closed') this.#connection.connect() },
      (error: unknown) => {
        this.#known()
        this.#outbox.broken(error)
        if (this.state !== 'closed') this.#connection.connect()
      }
    )
  }

  /** Whether the server is reached. */
  get state(): State {
    return this.#connection.state
  }

  /** Writes that the server has not stored yet. */
  get pending(): number {
    return this.#outbox.pending
  }

  /** Whether writes are kept while the server is not reached. */
  get hasQueue(): boolean {
    return this.#outbox.hasQueue
  }

  /** Waits until it is known whether the server is reached. */
  async ready(): Promise<State> {
    await this.#first
    return this.state
  }

  async open(sub: Sub, { create, fresh }: { create: boolean; fresh: boolean }): Promise<void> {
    const flags = (create ? 1 : 0) | (fresh ? 2 : 0)
    await this.#connection.ask(request.open, (writer) => {
      writeSub(writer, sub)
      writer.byte(flags)
    }, nothing)
  }

  /** The values of some keys, from the server or, while it is not reached, from what waits to be sent to it. */
  async get(sub: Sub, keys: readonly Uint8Array[], snapshot: number): Promise<(Uint8Array | undefined)[]> {
    if (this.state === 'offline' && snapshot === 0) return this.#outbox.get(sub, keys)
    return this.#read(request.get, sub, keys, snapshot, (reader) => reader.array(() => reader.optional()))
  }

  async has(sub: Sub, keys: readonly Uint8Array[], snapshot: number): Promise<boolean[]> {
    if (this.state === 'offline' && snapshot === 0) {
      return this.#outbox.get(sub, keys).map((value) => value !== undefined)
    }
    return this.#read(request.has, sub, keys, snapshot, (reader) => reader.array(() => reader.byte() === 1))
  }

  async scan(sub: Sub, { snapshot, bounds, reverse, values, limit }: ScanOptions): Promise<Page> {
    return this.#connection.ask(request.scan, (writer) => {
      writer.uint(snapshot)
      writeSub(writer, sub)
      writeBounds(writer, bounds)
      writer.byte((reverse ? 1 : 0) | 2 | (values ? 4 : 0))
      writer.uint(limit)
      writer.uint(PAGE)
    }, (reader) => page(reader, values), { again: snapshot === 0 })
  }

  /** Writes a batch, all or nothing. The receipt tells what became of it. */
  write(steps: readonly Step[], durability: 'durable' | 'relaxed', receipt = new Receipt()): Receipt {
    this.#outbox.write(steps, durability === 'durable', receipt)
    return receipt
  }

  /** Writes a batch that may span sub-databases and depend on conditions, all or nothing. Keys and values are bytes. */
  batch(steps: readonly Step[], { durability = 'relaxed' }: { durability?: 'durable' | 'relaxed' } = {}): WritePromise {
    const receipt = this.write(steps, durability)
    return receipt.show(receipt.outcome())
  }

  /** Keeps the view as it is now, under the number that is returned. Nothing is awaited: requests are done in order. */
  hold(): number {
    const snapshot = ++this.#snapshots
    this.#connection.tell(request.snapshot, (writer) => { writer.uint(snapshot) })
    return snapshot
  }

  release(snapshot: number): void {
    this.#connection.tell(request.release, (writer) => { writer.uint(snapshot) })
  }

  /** Waits for the connection if it is being made; fails while there is none. */
  ping(): Promise<void> {
    return this.#connection.ask(request.ping, nothing, nothing, { again: true })
  }

  /** Snapshots end with the connection that they were made on; this tells one connection from another. */
  get epoch(): number {
    return this.#connection.epoch
  }

  /** Changes as they happen, resumed after the connection broke. Ends when the loop over it does. */
  changes(options: FeedOptions = {}): AsyncGenerator<readonly RawChange[], void, undefined> {
    const feed = new Feed(this.#connection, options)
    return this.#follow(feed)
  }

  conflicts(sub: Sub): Promise<RawConflict[]> {
    const fill = (writer: Parameters<typeof writeSub>[0]) => { writeSub(writer, sub) }
    return this.#connection.ask(request.conflicts, fill, (reader) => reader.array(() => readConflict(reader)), { again: true })
  }

  /** A page of keys and values by an indexed field, and the place in the index behind it. */
  find(sub: Sub, path: string, { bounds, after, reverse, limit }: FindOptions): Promise<Page & { place: Uint8Array }> {
    return this.#connection.ask(request.find, (writer) => {
      writer.uint(0)
      writeSub(writer, sub)
      writer.string(path)
      writeBounds(writer, bounds)
      writer.byte(after === undefined ? 0 : 1)
      if (after !== undefined) writer.buffer(after)
      writer.byte((reverse ? 1 : 0) | 2)
      writer.uint(limit)
      writer.uint(PAGE)
    }, (reader) => ({ place: reader.buffer(), ...page(reader, true) }), { again: true })
  }

  /** Settles a conflict, unless it has other versions by now than those that were seen. */
  resolve(
    sub: Sub,
    { key, path, versions }: { key: Uint8Array; path: Uint8Array; versions: readonly Place[] },
    choice: { keep: Place } | { value: Uint8Array }
  ): Promise<void> {
    const writePlace = (writer: Parameters<typeof writeSub>[0], { writer: id, position }: Place) => {
      writeWriter(writer, id)
      writer.uint(position)
    }
    return this.#connection.ask(request.resolve, (writer) => {
      writeSub(writer, sub)
      writer.buffer(key)
      writer.buffer(path)
      writer.uint(versions.length)
      for (const version of versions) writePlace(writer, version)
      writer.byte('keep' in choice ? 0 : 1)
      if ('keep' in choice) writePlace(writer, choice.keep)
      else writer.buffer(choice.value)
      writer.byte(1)
    }, nothing)
  }

  members(): Promise<Member[]> {
    return this.#connection.ask(request.members, () => undefined, (reader) => reader.array(() => readMember(reader)), { again: true })
  }

  /** Ends the connection. What waits in a lasting queue is sent by the next client. */
  async close(): Promise<void> {
    this.#connection.close()
    for (const feed of this.#feeds) feed.failed(closed())
    await this.#outbox.close()
    this.#known()
  }

  async *#follow(feed: Feed): AsyncGenerator<readonly RawChange[], void, undefined> {
    this.#feeds.add(feed)
    try {
      if (this.state === 'online') feed.online()
      yield* feed.events()
    } finally {
      this.#feeds.delete(feed)
      feed.end()
    }
  }

  #read<T>(
    code: number,
    sub: Sub,
    keys: readonly Uint8Array[],
    snapshot: number,
    read: (reader: Reader) => T
  ): Promise<T> {
    return this.#connection.ask(code, (writer) => {
      writer.uint(snapshot)
      writeSub(writer, sub)
      writer.uint(keys.length)
      for (const key of keys) writer.buffer(key)
    }, read, { again: snapshot === 0 })
  }
}

const nothing = () => undefined

function page(reader: Reader, withValues: boolean): Page {
  const last = reader.byte() === 1
  const count = reader.uint()
  const keys: Uint8Array[] = []
  const values: Uint8Array[] = []
  for (let i = 0; i < count; i++) {
    keys.push(reader.buffer())
    if (withValues) values.push(reader.buffer())
  }
  return { last, keys, values }
}

function socketAddress(url: string): string {
  const address = new URL(url.replace(/\/+$/, '') + '/socket')
  if (address.protocol === 'http:') address.protocol = 'ws:'
  if (address.protocol === 'https:') address.protocol = 'wss:'
  return address.href
}

function chosen(queue: QueueChoice | undefined, address: string): Queue | undefined {
  if (queue === undefined) return defaultQueue(address)
  if (queue === 'none') return undefined
  if (queue === 'memory') return new MemoryQueue()
  if (queue !== 'indexeddb') return fileQueue(queue.file)
  const lasting = defaultQueue(address)
  if (lasting !== undefined) return lasting
  throw new CloudpalError('CLOUDPAL_UNSUPPORTED', 'there is no IndexedDB here; keep the queue in a file')
}

