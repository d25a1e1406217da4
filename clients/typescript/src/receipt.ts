/** How far a write has come: sent or about to be, kept in the queue, or stored by the server. */
export type WriteState = 'pending' | 'queued' | 'stored'

/**
 * A promise of a write. It is fulfilled as soon as the write is safe from this client's point of view: stored by the
 * server, or kept in the queue. `state` says which of the two, and `stored` waits for the former.
 */
export interface WritePromise extends Promise<void> {
  readonly state: WriteState
  /** Fulfilled when the server has stored the write; rejected when it refused it. */
  readonly stored: Promise<void>
}

/** What becomes of one write. */
export class Receipt {
  readonly settled: Promise<void>
  readonly stored: Promise<void>
  #state: WriteState = 'pending'
  #settle!: () => void
  #store!: () => void
  #refuse!: (error: unknown) => void

  constructor() {
    this.settled = new Promise((resolve) => { this.#settle = resolve })
    this.stored = new Promise((resolve, reject) => {
      this.#store = resolve
      this.#refuse = reject
    })
    // Whoever does not look at `stored` is told by `settled` or by an event.
    this.stored.catch(() => undefined)
  }

  get state(): WriteState {
    return this.#state
  }

  keep(): void {
    if (this.#state === 'pending') this.#state = 'queued'
    this.#settle()
  }

  store(): void {
    this.#state = 'stored'
    this.#store()
    this.#settle()
  }

  refuse(error: unknown): void {
    this.#refuse(error)
    this.#settle()
  }

  /** Fulfilled when stored or queued, rejected when refused before that. */
  async outcome(): Promise<void> {
    await this.settled
    if (this.#state !== 'queued') await this.stored
  }

  /** A promise of the same outcome that shows this receipt. */
  show(outcome: Promise<void>): WritePromise {
    const shown = outcome.catch((error: unknown) => {
      this.refuse(error)
      throw error
    })
    const told = { state: { get: () => this.#state }, stored: { value: this.stored } }
    return Object.defineProperties(shown, told) as WritePromise
  }
}
