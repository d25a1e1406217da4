import type { Queue, Queued } from './queue.js'

const BATCHES = 'batches'

/**
 * In the browser's IndexedDB: survives a closed tab and a closed browser, and is read by whichever tab of the same site
 * opens the same database next. Two tabs may both send what a third left; the server does it once.
 */
export class IndexedDbQueue implements Queue {
  readonly #name: string
  #database: IDBDatabase | undefined

  /** `name`: one queue for each database that is written to. */
  constructor(name: string) {
    this.#name = name
  }

  async open(): Promise<Queued[]> {
    const opening = indexedDB.open(this.#name, 1)
    opening.onupgradeneeded = () => {
      // The keys of the store count up, which keeps the batches in order.
      const store = opening.result.createObjectStore(BATCHES, { autoIncrement: true })
      store.createIndex('origin', ['client', 'sequence'], { unique: true })
    }
    this.#database = await outcome(opening)
    return (await outcome(this.#store('readonly').getAll())) as Queued[]
  }

  async add(batch: Queued): Promise<void> {
    const store = this.#store('readwrite')
    store.add(batch)
    await finished(store.transaction)
  }

  async remove({ client, sequence }: Queued): Promise<void> {
    const store = this.#store('readwrite')
    const looking = store.index('origin').getKey([client, sequence])
    looking.onsuccess = () => {
      if (looking.result !== undefined) store.delete(looking.result)
    }
    await finished(store.transaction)
  }

  close(): Promise<void> {
    this.#database?.close()
    this.#database = undefined
    return Promise.resolve()
  }

  #store(mode: IDBTransactionMode): IDBObjectStore {
    if (this.#database === undefined) throw new Error('the queue is not open')
    // Strict: on the disk, not only with the operating system.
    return this.#database.transaction(BATCHES, mode, { durability: 'strict' }).objectStore(BATCHES)
  }
}

function outcome<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => {
      resolve(asked.result)
    }
    asked.onerror = () => {
      reject(asked.error ?? new Error('IndexedDB failed'))
    }
  })
}

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => {
      resolve()
    }
    transaction.onabort = () => {
      reject(transaction.error ?? new Error('IndexedDB gave up'))
    }
  })
}
