import { hex, readOrigin, type Origin } from './wire/messages.js'
import type { Reader } from './wire/reader.js'

/** What one of several concurrent writers left. */
export interface RawVersion extends Origin {
  readonly value: Uint8Array
  /** Where it lies in its writer's log. */
  readonly position: number
}

/** What concurrent writes left in one place, its bytes as the database has them. */
export interface RawConflict {
  readonly key: Uint8Array
  /** The field of a document, as the database names it; empty for registers. */
  readonly path: Uint8Array
  /** The version that is shown, then those that lost. */
  readonly versions: readonly RawVersion[]
}

/** Who writes a database. */
export interface Member {
  /** The short id that changes bear, in hex. */
  readonly writer: string
  /** The key of its log, in hex. */
  readonly log: string
  readonly name: string
  readonly role: 'reader' | 'writer' | 'manager' | 'removed'
}

export function readConflict(reader: Reader): RawConflict {
  const version = () => ({ value: reader.buffer(), ...readOrigin(reader), position: reader.uint() })
  return { key: reader.buffer(), path: reader.buffer(), versions: reader.array(version) }
}

export function readMember(reader: Reader): Member {
  const [writer, log] = [hex(reader.raw(6)), hex(reader.raw(32))]
  return { writer, log, name: reader.string(), role: reader.string() as Member['role'] }
}
