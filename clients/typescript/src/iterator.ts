import { AbstractIterator, AbstractKeyIterator, AbstractValueIterator } from 'abstract-level'
import { Pager, type RangeOptions } from './pager.js'
import type { CloudpalLevel } from './level.js'

type Bytes = Uint8Array

const both = (key: Bytes, value: Bytes): [Bytes, Bytes] => [key, value]
const first = (key: Bytes): Bytes => key
const second = (_: Bytes, value: Bytes): Bytes => value

/** abstract-level decodes what the private methods give, so that its own types speak of decoded keys and values. */
export class CloudpalIterator<K, V> extends AbstractIterator<CloudpalLevel<K, V>, K, V> {
  readonly #pager: Pager

  constructor(db: CloudpalLevel<K, V>, options: RangeOptions & { values?: boolean }) {
    super(db, options as object)
    this.#pager = db.pager(options, options.values !== false)
  }

  _next(): Promise<[Bytes, Bytes] | undefined> {
    return this.#pager.next(both, this.limit - this.count)
  }

  _nextv(size: number): Promise<[Bytes, Bytes][]> {
    return this.#pager.take(size, both)
  }

  _seek(target: Bytes): void {
    this.#pager.seek(target)
  }

  _close(): Promise<void> {
    this.#pager.close()
    return Promise.resolve()
  }
}

export class CloudpalKeyIterator<K, V> extends AbstractKeyIterator<CloudpalLevel<K, V>, K> {
  readonly #pager: Pager

  constructor(db: CloudpalLevel<K, V>, options: RangeOptions) {
    super(db, options as object)
    this.#pager = db.pager(options, false)
  }

  _next(): Promise<Bytes | undefined> {
    return this.#pager.next(first, this.limit - this.count)
  }

  _nextv(size: number): Promise<Bytes[]> {
    return this.#pager.take(size, first)
  }

  _seek(target: Bytes): void {
    this.#pager.seek(target)
  }

  _close(): Promise<void> {
    this.#pager.close()
    return Promise.resolve()
  }
}

export class CloudpalValueIterator<K, V> extends AbstractValueIterator<CloudpalLevel<K, V>, K, V> {
  readonly #pager: Pager

  constructor(db: CloudpalLevel<K, V>, options: RangeOptions) {
    super(db, options as object)
    this.#pager = db.pager(options, true)
  }

  _next(): Promise<Bytes | undefined> {
    return this.#pager.next(second, this.limit - this.count)
  }

  _nextv(size: number): Promise<Bytes[]> {
    return this.#pager.take(size, second)
  }

  _seek(target: Bytes): void {
    this.#pager.seek(target)
  }

  _close(): Promise<void> {
    this.#pager.close()
    return Promise.resolve()
  }
}
