const text = new TextDecoder('utf-8', { fatal: true })

/** The bytes are not what the protocol says; nothing after them can be understood. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

/** Reads what `Writer` wrote. Whatever is missing or odd throws `MalformedError`. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length
  }

  byte(): number {
    return this.#view.getUint8(this.#skip(1))
  }

  uint(): number {
    const first = this.byte()
    if (first < 0xfd) return first
    if (first === 0xfd) return this.#view.getUint16(this.#skip(2), true)
    if (first === 0xfe) return this.#view.getUint32(this.#skip(4), true)
    const number = this.#view.getBigUint64(this.#skip(8), true)
    if (number > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedError('a number is too large')
    return Number(number)
  }

  /** A part of the message, not a copy. */
  raw(length: number): Uint8Array {
    const start = this.#skip(length)
    return this.#bytes.subarray(start, start + length)
  }

  buffer(): Uint8Array {
    return this.raw(this.uint())
  }

  string(): string {
    try {
      return text.decode(this.buffer())
    } catch (cause) {
      throw new MalformedError('text is not UTF-8', { cause })
    }
  }

  optional(): Uint8Array | undefined {
    return this.byte() === 1 ? this.buffer() : undefined
  }

  /** As many items as a count in front says; a count that cannot be true is refused before anything is made for it. */
  array<T>(item: () => T): T[] {
    const count = this.uint()
    if (count > this.#bytes.length - this.#at) throw new MalformedError('a count is larger than its message')
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(item())
    return items
  }

  #skip(length: number): number {
    const start = this.#at
    if (start + length > this.#bytes.length) throw new MalformedError('a message ends early')
    this.#at = start + length
    return start
  }
}
