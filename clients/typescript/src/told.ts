import { hex } from './wire/messages.js'
import type { Reader } from './wire/reader.js'

/** A value that lost against a concurrent one, its bytes as the database has them. */
export interface RawConflict {
  readonly key: Uint8Array
  /** Missing: what lost was a deletion. */
  readonly value: Uint8Array | undefined
  /** The writer, in hex. */
  readonly writer: string
  /** When, by its writer's clock: milliseconds since 1970. */
  readonly time: number
}

/** Who writes a database. */
export interface Member {
  /** The writer, in hex. */
  readonly writer: string
  readonly name: string
}

export function readConflict(reader: Reader): RawConflict {
  return { key: reader.buffer(), value: reader.optional(), writer: hex(reader.raw(32)), time: reader.uint() }
}

export function readMember(reader: Reader): Member {
  return { writer: hex(reader.raw(32)), name: reader.string() }
}
