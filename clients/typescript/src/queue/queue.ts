import type { Step } from '../wire/messages.js'

/** A batch of a client that waits to be sent. */
export interface Queued {
  /** The client that made it, in hex; random for every client object that ever was. */
  readonly client: string
  /** Rises with each of the client's batches: one that is sent twice is done once. */
  readonly sequence: number
  readonly durable: boolean
  readonly steps: readonly Step[]
}

/** Where batches wait while the server is not reached. */
export interface Queue {
  /** What earlier clients left, in order. */
  open(): Promise<Queued[]>
  /** Returns when the batch is kept as well as this queue keeps things. */
  add(batch: Queued): Promise<void>
  /** Forgets a batch that the server has, or has refused. */
  remove(batch: Queued): Promise<void>
  close(): Promise<void>
}

/** Lasts as long as its process. */
export class MemoryQueue implements Queue {
  readonly #batches = new Map<string, Queued>()

  open(): Promise<Queued[]> {
    return Promise.resolve([...this.#batches.values()])
  }

  add(batch: Queued): Promise<void> {
    this.#batches.set(`${batch.client}/${String(batch.sequence)}`, batch)
    return Promise.resolve()
  }

  remove(batch: Queued): Promise<void> {
    this.#batches.delete(`${batch.client}/${String(batch.sequence)}`)
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
