import type { Connection, Subscriber } from './connection.js'
import type { CloudpalError } from './error.js'
import { readChange, request, writeSub, type RawChange, type Start, type Sub } from './wire/messages.js'
import type { Reader } from './wire/reader.js'

/** Which changes, and from where. */
export interface FeedOptions {
  /** Default: what comes next. A cursor is one server's own: `cursorOf` of an event. */
  start?: Start
  /** Of one sub-database only. */
  sub?: Sub
  /** Ends the feed. */
  signal?: AbortSignal
}

/** Events that the server may send before the first of them was taken. */
const CREDIT = 8

const cursors = new WeakMap<readonly RawChange[], Uint8Array>()

/** Where an event ends: a feed that starts there goes on after it. */
export function cursorOf(event: readonly RawChange[]): Uint8Array | undefined {
  return cursors.get(event)
}

/** A subscription that outlives connections. */
export class Feed implements Subscriber {
  readonly #connection: Connection
  readonly #sub: Sub | undefined
  readonly #signal: AbortSignal | undefined
  #start: Start
  #arrived: (readonly RawChange[])[] = []
  #error: CloudpalError | undefined
  #wake: () => void = () => undefined

  constructor(connection: Connection, { start = 'now', sub, signal }: FeedOptions) {
    this.#connection = connection
    this.#start = start
    this.#sub = sub
    this.#signal = signal
  }

  /** Subscribes on a new connection, after what arrived on the one before. */
  online(): void {
    const free = CREDIT - this.#arrived.length
    this.#connection.ask(request.changes, (writer) => {
      writer.byte(this.#start === 'now' ? 0 : this.#start === 'oldest' ? 1 : 2)
      if (typeof this.#start !== 'string') writer.buffer(this.#start)
      writer.byte(this.#sub === undefined ? 0 : 1)
      if (this.#sub !== undefined) writeSub(writer, this.#sub)
      writer.uint(free)
    }, (reader) => { this.#start = reader.buffer().slice() }, { subscriber: this }).catch((error: unknown) => {
      const { code } = error as CloudpalError
      if (code !== 'CLOUDPAL_DISCONNECTED' && code !== 'CLOUDPAL_OFFLINE') this.failed(error as CloudpalError)
    })
  }

  event(reader: Reader): void {
    const cursor = reader.buffer().slice()
    const changes = reader.array(() => readChange(reader))
    cursors.set(changes, cursor)
    this.#start = cursor
    this.#arrived.push(changes)
    this.#wake()
  }

  failed(error: CloudpalError): void {
    this.#error = error
    this.#wake()
  }

  async *events(): AsyncGenerator<readonly RawChange[], void, undefined> {
    const aborted = () => { this.#wake() }
    this.#signal?.addEventListener('abort', aborted)
    try {
      while (this.#signal?.aborted !== true) {
        const event = this.#arrived.shift()
        if (event !== undefined) {
          this.#grant()
          yield event
        } else if (this.#error !== undefined) {
          throw this.#error
        } else {
          await new Promise<void>((resolve) => { this.#wake = resolve })
        }
      }
    } finally {
      this.#signal?.removeEventListener('abort', aborted)
    }
  }

  end(): void {
    const id = this.#connection.numberOf(this)
    if (id !== undefined) this.#connection.unsubscribe(id)
  }

  /** What was taken makes room for more. */
  #grant(): void {
    const id = this.#connection.numberOf(this)
    if (id === undefined) return
    this.#connection.tell(request.more, (writer) => {
      writer.uint(id)
      writer.uint(1)
    })
  }
}
