import type { Client, Page } from './client.js'
import { CloudpalSnapshot, View } from './view.js'
import { within, type Bounds, type Sub } from './wire/messages.js'

/** Options of an iterator as abstract-level hands them on: keys are bytes by then. */
export interface RangeOptions extends Bounds {
  reverse?: boolean
  limit?: number
  snapshot?: unknown
}

/** Entries of the first page that was asked for one by one, and of the later ones. */
const FIRST = 64
const LATER = 1000

/** Walks a range page by page, on a snapshot of its own or on that of the caller. */
export class Pager {
  readonly #client: Client
  readonly #sub: Sub
  readonly #view: View
  readonly #isOwn: boolean
  readonly #range: Bounds
  readonly #reverse: boolean
  readonly #values: boolean
  #left: Bounds
  #page: Page = { last: false, keys: [], values: [] }
  #at = 0
  #hint = FIRST

  constructor(client: Client, sub: Sub, options: RangeOptions, values: boolean) {
    this.#client = client
    this.#sub = sub
    this.#isOwn = !(options.snapshot instanceof CloudpalSnapshot)
    this.#view = options.snapshot instanceof CloudpalSnapshot ? options.snapshot.view : new View(client)
    const { gt, gte, lt, lte } = options
    this.#range = { gt, gte, lt, lte }
    this.#left = this.#range
    this.#reverse = options.reverse === true
    this.#values = values
  }

  /** Up to `size` entries from where it stands; none at the end. */
  async take<T>(size: number, entry: (key: Uint8Array, value: Uint8Array) => T): Promise<T[]> {
    const taken: T[] = []
    while (taken.length < size) {
      const { keys, values, last } = this.#page
      const key = keys[this.#at]
      if (key !== undefined) {
        taken.push(entry(key, values[this.#at++] ?? key))
      } else if (last) {
        break
      } else {
        await this.#turn(size - taken.length)
      }
    }
    return taken
  }

  /** One entry. */
  async next<T>(entry: (key: Uint8Array, value: Uint8Array) => T, limit: number): Promise<T | undefined> {
    if (this.#at === this.#page.keys.length && !this.#page.last) {
      await this.#turn(Math.min(this.#hint, limit))
      this.#hint = LATER
    }
    return (await this.take(1, entry))[0]
  }

  /** Goes to a key, or to where it would be. */
  seek(target: Uint8Array): void {
    const inside = within(target, this.#range)
    const { gt, gte, lt, lte } = this.#range
    this.#left = this.#reverse ? { gt, gte, lte: target } : { gte: target, lt, lte }
    this.#page = { last: !inside, keys: [], values: [] }
    this.#at = 0
  }

  close(): void {
    if (this.#isOwn) this.#view.close()
  }

  async #turn(limit: number): Promise<void> {
    const options = { bounds: this.#left, reverse: this.#reverse, values: this.#values, limit }
    this.#page = await this.#client.scan(this.#sub, { ...options, snapshot: await this.#view.number() })
    this.#at = 0
    const last = this.#page.keys.at(-1)
    if (last === undefined) return
    // The other end stays as it is.
    const { gt, gte, lt, lte } = this.#left
    this.#left = this.#reverse ? { gt, gte, lt: last } : { gt: last, lt, lte }
  }
}
