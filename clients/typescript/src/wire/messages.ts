import { MalformedError, type Reader } from './reader.js'
import type { Writer } from './writer.js'

/** How concurrent edits of a sub-database come together; part of its identity. */
export type Kind = 'register' | 'json' | 'set' | 'counter' | 'text'

const kinds: readonly Kind[] = ['register', 'json', 'set', 'counter', 'text']

/** A sub-database of a database. */
export interface Sub {
  readonly name: string
  readonly kind: Kind
}

/** A range of keys. Where an end has two bounds, the one that includes its key counts, as everywhere in LevelDB. */
export interface Bounds {
  gt?: Uint8Array | undefined
  gte?: Uint8Array | undefined
  lt?: Uint8Array | undefined
  lte?: Uint8Array | undefined
}

/** One part of an atomic batch. */
export type Step =
  | { type: 'put'; sub: Sub; key: Uint8Array; value: Uint8Array }
  | { type: 'del'; sub: Sub; key: Uint8Array }
  | { type: 'clear'; sub: Sub; bounds: Bounds }
  /** Changes fields of a document: a JSON merge patch. */
  | { type: 'patch'; sub: Sub; key: Uint8Array; value: Uint8Array }
  /** Adds a member to a set, or takes it out. */
  | { type: 'include' | 'exclude'; sub: Sub; key: Uint8Array; value: Uint8Array }
  /** Adds a whole number to a counter. */
  | { type: 'add'; sub: Sub; key: Uint8Array; delta: number }
  /** Takes `remove` characters of a text out at `at` and puts `insert` there, counted as JavaScript does. */
  | { type: 'splice'; sub: Sub; key: Uint8Array; at: number; remove: number; insert: string }
  /** Declares an index on a field of documents (names joined by dots), for ever. */
  | { type: 'index'; sub: Sub; path: string }
  /** The rest is only done if this is what the key shows. */
  | { type: 'expect'; sub: Sub; key: Uint8Array; value: Uint8Array | undefined }

/** Where a feed of changes begins: with what comes next, with the oldest that is kept, or after a cursor. */
export type Start = 'now' | 'oldest' | Uint8Array

export const VERSION = 1
export const SUBPROTOCOL = 'cloudpal-db'

export const request = {
  hello: 1,
  open: 2,
  get: 3,
  has: 4,
  write: 5,
  scan: 6,
  snapshot: 7,
  release: 8,
  changes: 9,
  more: 10,
  end: 11,
  conflicts: 12,
  members: 13,
  ping: 14,
  find: 15,
  resolve: 16
} as const

export const answer = { ok: 0, error: 1, event: 2 } as const

export function writeSub(writer: Writer, sub: Sub): void {
  writer.byte(kinds.indexOf(sub.kind))
  writer.string(sub.name)
}

export function readSub(reader: Reader): Sub {
  const kind = kinds[reader.byte()] ?? 'register'
  return { kind, name: reader.string() }
}

export function writeBounds(writer: Writer, { gt, gte, lt, lte }: Bounds): void {
  writeBound(writer, gt, gte)
  writeBound(writer, lt, lte)
}

function writeBound(writer: Writer, excluding?: Uint8Array, including?: Uint8Array): void {
  const key = including ?? excluding
  writer.byte(key === undefined ? 0 : including === undefined ? 1 : 2)
  if (key !== undefined) writer.buffer(key)
}

/** The part of a write that says what it does. */
export function writeSteps(writer: Writer, steps: readonly Step[]): void {
  const subs: Sub[] = []
  const places = steps.map(({ sub }) => {
    const known = subs.findIndex((other) => other.name === sub.name && other.kind === sub.kind)
    return known < 0 ? subs.push(sub) - 1 : known
  })
  writer.uint(subs.length)
  for (const sub of subs) writeSub(writer, sub)
  writer.uint(steps.length)
  steps.forEach((step, index) => {
    writeStep(writer, step, places[index] ?? 0)
  })
}

const steps = { put: 0, del: 1, clear: 2, absent: 3, expect: 4, patch: 5, include: 6, exclude: 7, add: 8, splice: 9, index: 10 } as const

function writeStep(writer: Writer, step: Step, place: number): void {
  writer.byte(step.type === 'expect' && step.value === undefined ? steps.absent : steps[step.type])
  writer.uint(place)
  if (step.type === 'clear') {
    writeBounds(writer, step.bounds)
    return
  }
  if (step.type === 'index') {
    writer.string(step.path)
    return
  }
  writer.buffer(step.key)
  if (step.type === 'splice') {
    writer.byte(UTF16)
    writer.uint(step.at)
    writer.uint(step.remove)
    writer.string(step.insert)
    return
  }
  if (step.type === 'add') writer.int64(step.delta)
  else if (step.type !== 'del' && step.value !== undefined) writer.buffer(step.value)
}

/** The unit of places in a text that JavaScript counts in. */
const UTF16 = 1

/** By whom and when something was written. */
export interface Origin {
  /** The writer's short id, in hex. */
  readonly writer: string
  /** When, by its writer's clock: milliseconds since 1970. */
  readonly time: number
}

/** Something that changed, its bytes as the database has them. `put` tells what the key shows now. */
export type RawChange = Origin & { readonly sub: Sub } & (
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }
  | { readonly type: 'clear'; readonly bounds: Bounds }
)

export function readChange(reader: Reader): RawChange {
  const origin = { sub: readSub(reader), ...readOrigin(reader) }
  switch (reader.byte()) {
    case 0:
      return { ...origin, type: 'put', key: reader.buffer(), value: reader.buffer() }
    case 1:
      return { ...origin, type: 'del', key: reader.buffer() }
    case 2:
      return { ...origin, type: 'clear', bounds: { gte: reader.buffer(), lt: reader.optional() } }
    default:
      throw new MalformedError('a change of a kind that is not known')
  }
}

export function readOrigin(reader: Reader): Origin {
  return { writer: hex(reader.raw(6)), time: reader.uint() }
}

/** Six bytes of a writer's short id. */
export function writeWriter(writer: Writer, id: string): void {
  writer.raw(Uint8Array.from({ length: 6 }, (_, at) => Number.parseInt(id.slice(2 * at, 2 * at + 2), 16)))
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Orders keys as the database does: by their bytes. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Whether a key lies in a range. */
export function within(key: Uint8Array, { gt, gte, lt, lte }: Bounds): boolean {
  if (gte !== undefined ? compare(key, gte) < 0 : gt !== undefined && compare(key, gt) <= 0) return false
  return lte !== undefined ? compare(key, lte) <= 0 : lt === undefined || compare(key, lt) < 0
}
