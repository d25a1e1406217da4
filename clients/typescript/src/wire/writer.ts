const text = new TextEncoder()

/** Appends numbers, buffers and strings as npm's `compact-encoding` does, in frames that share one message. */
export class Writer {
  #bytes = new Uint8Array(1024)
  #view = new DataView(this.#bytes.buffer)
  #end = 0

  get length(): number {
    return this.#end
  }

  /** What was written. The writer starts anew; the bytes are the caller's. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.subarray(0, this.#end)
    this.#bytes = new Uint8Array(1024)
    this.#view = new DataView(this.#bytes.buffer)
    this.#end = 0
    return taken
  }

  /** A frame: its length is filled in once it is known. */
  frame(fill: (writer: this) => void): void {
    this.#room(5)
    const start = this.#end
    this.#end += 5
    fill(this)
    this.#bytes[start] = 0xfe
    this.#view.setUint32(start + 1, this.#end - start - 5, true)
  }

  byte(byte: number): void {
    this.#room(1)
    this.#bytes[this.#end++] = byte
  }

  /** A whole number below 2^53. */
  uint(number: number): void {
    this.#room(9)
    if (number < 0xfd) {
      this.#bytes[this.#end++] = number
    } else if (number <= 0xffff) {
      this.#bytes[this.#end] = 0xfd
      this.#view.setUint16(this.#end + 1, number, true)
      this.#end += 3
    } else if (number <= 0xffffffff) {
      this.#bytes[this.#end] = 0xfe
      this.#view.setUint32(this.#end + 1, number, true)
      this.#end += 5
    } else {
      this.#bytes[this.#end] = 0xff
      this.#view.setBigUint64(this.#end + 1, BigInt(number), true)
      this.#end += 9
    }
  }

  /** A whole number that may be negative. */
  int64(number: number): void {
    this.#room(8)
    this.#view.setBigInt64(this.#end, BigInt(number), true)
    this.#end += 8
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#end)
    this.#end += bytes.length
  }

  buffer(bytes: Uint8Array): void {
    this.uint(bytes.length)
    this.raw(bytes)
  }

  string(string: string): void {
    this.buffer(text.encode(string))
  }

  #room(more: number): void {
    if (this.#end + more <= this.#bytes.length) return
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#end + more))
    bytes.set(this.#bytes.subarray(0, this.#end))
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }
}
