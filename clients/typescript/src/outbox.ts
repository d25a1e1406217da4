import type { Connection } from './connection.js'
import { CloudpalError, closed, offline } from './error.js'
import type { Queue, Queued } from './queue/queue.js'
import { Receipt } from './receipt.js'
import { compare, hex, request, within, writeSteps, type Step, type Sub } from './wire/messages.js'

interface Events {
  queued(pending: number): void
  flushed(): void
  refused(error: CloudpalError, steps: readonly Step[]): void
}

interface Waiting {
  readonly batch: Queued
  readonly receipt: Receipt
  /** Fulfilled when the batch is in the queue; missing: it need not be there yet. */
  kept: Promise<void> | undefined
}

/** What says nothing about the write itself: it is sent again. */
const UNREACHED: readonly string[] = ['CLOUDPAL_DISCONNECTED', 'CLOUDPAL_OFFLINE', 'CLOUDPAL_CLOSED']

/**
 * Writes on their way to the server, in order. Without a queue, a write fails when the server is not reached. With
 * one, it is kept there then, and sent on the next connection; the server knows a batch that it has done already by
 * its client and number.
 */
export class Outbox {
  readonly #connection: Connection
  readonly #queue: Queue | undefined
  readonly #events: Events
  readonly #client = hex(globalThis.crypto.getRandomValues(new Uint8Array(16)))
  /** In the order in which they are sent. */
  readonly #waiting = new Map<string, Waiting>()
  #sequence = 0
  #anyQueued = false
  #broken: unknown

  constructor(connection: Connection, queue: Queue | undefined, events: Events) {
    this.#connection = connection
    this.#queue = queue
    this.#events = events
  }

  get pending(): number {
    return this.#waiting.size
  }

  get hasQueue(): boolean {
    return this.#queue !== undefined && this.#broken === undefined
  }

  /** Takes over what earlier clients left. */
  async open(): Promise<void> {
    for (const batch of (await this.#queue?.open()) ?? []) {
      const receipt = new Receipt()
      receipt.keep()
      this.#waiting.set(name(batch), { batch, receipt, kept: Promise.resolve() })
      this.#anyQueued = true
    }
  }

  /** The queue does not open: writes fail when the server is not reached. */
  broken(error: unknown): void {
    this.#broken = error
  }

  write(steps: readonly Step[], durable: boolean, receipt: Receipt): void {
    const { state } = this.#connection
    if (state === 'closed' || (state === 'offline' && !this.hasQueue)) {
      receipt.refuse(state === 'closed' ? closed() : offline())
      return
    }
    const batch = { client: this.#client, sequence: ++this.#sequence, durable, steps }
    const waiting: Waiting = { batch, receipt, kept: undefined }
    this.#waiting.set(name(batch), waiting)
    if (state === 'online') this.#send(waiting)
    if (state === 'offline') this.#keep(waiting)
  }

  online(): void {
    for (const waiting of this.#waiting.values()) this.#send(waiting)
  }

  lost(): void {
    const why = 'the connection was lost before the answer came; the write may have been done or not'
    this.#keepAll(() => new CloudpalError('CLOUDPAL_DISCONNECTED', why))
  }

  offline(error: CloudpalError): void {
    this.#keepAll(() => error)
  }

  /** What is known of some keys without the server; fails if of any nothing is. */
  get(sub: Sub, keys: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    const steps = [...this.#waiting.values()].flatMap(({ batch }) => batch.steps)
    const own = steps.filter((step) => step.sub.name === sub.name && step.sub.kind === sub.kind).reverse()
    return keys.map((key) => {
      const step = own.find((step) => touches(step, key))
      if (step?.type === 'put') return step.value
      if (step?.type === 'del' || step?.type === 'clear') return undefined
      // Not touched, or changed in a way that depends on what the server has.
      throw offline()
    })
  }

  async close(): Promise<void> {
    for (const [key, waiting] of this.#waiting) {
      if (waiting.kept !== undefined) continue
      this.#waiting.delete(key)
      waiting.receipt.refuse(closed())
    }
    await Promise.allSettled([...this.#waiting.values()].flatMap(({ kept }) => kept ?? []))
    await this.#queue?.close()
  }

  #keepAll(why: () => CloudpalError): void {
    for (const [key, waiting] of this.#waiting) {
      if (this.hasQueue) {
        this.#keep(waiting)
      } else {
        this.#waiting.delete(key)
        waiting.receipt.refuse(why())
      }
    }
  }

  #keep(waiting: Waiting): void {
    if (waiting.kept !== undefined || this.#queue === undefined) return
    waiting.kept = this.#queue.add(waiting.batch)
    waiting.kept.then(
      () => {
        this.#anyQueued = true
        waiting.receipt.keep()
        this.#events.queued(this.pending)
      },
      (error: unknown) => {
        // Neither sent nor kept. It must not be sent later, as its writer is told that it failed.
        this.#waiting.delete(name(waiting.batch))
        waiting.receipt.refuse(error)
      }
    )
  }

  #send(waiting: Waiting): void {
    const { client, sequence, durable, steps } = waiting.batch
    const sent = this.#connection.ask(request.write, (writer) => {
      writer.byte(this.#queue === undefined ? 0 : 1)
      if (this.#queue !== undefined) {
        writer.raw(Uint8Array.from(client.match(/../g) ?? [], (byte) => parseInt(byte, 16)))
        writer.uint(sequence)
      }
      writer.byte(durable ? 1 : 0)
      writeSteps(writer, steps)
    }, () => undefined)
    sent.then(
      () => {
        waiting.receipt.store()
        this.#done(waiting)
      },
      (why: unknown) => {
        const error = why as CloudpalError
        if (UNREACHED.includes(error.code) || error.isFinal) return
        if (waiting.receipt.state === 'queued') this.#events.refused(error, steps)
        waiting.receipt.refuse(error)
        this.#done(waiting)
      }
    )
  }

  #done(waiting: Waiting): void {
    this.#waiting.delete(name(waiting.batch))
    waiting.kept?.then(() => this.#queue?.remove(waiting.batch)).catch(() => undefined)
    if (this.#waiting.size > 0 || !this.#anyQueued) return
    this.#anyQueued = false
    this.#events.flushed()
  }
}

function name({ client, sequence }: Queued): string {
  return `${client}/${String(sequence)}`
}

/** Whether a step changes a key. */
function touches(step: Step, key: Uint8Array): boolean {
  if (step.type === 'clear') return within(key, step.bounds)
  return step.type !== 'expect' && step.type !== 'index' && compare(step.key, key) === 0
}
