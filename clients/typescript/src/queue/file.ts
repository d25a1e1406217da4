import { constants, open, readFile, rename, type FileHandle } from 'node:fs/promises'
import type { Bounds, Step } from '../wire/messages.js'
import type { Queue, Queued } from './queue.js'

/** Emptied, and always written at its end, wherever that is by then. */
const FRESH = constants.O_CREAT | constants.O_TRUNC | constants.O_WRONLY | constants.O_APPEND

/**
 * In a file, a line of JSON for each batch that waits and for each that no longer does. A batch is synced to the disk
 * before it counts as kept; a line that a crash cut off is dropped. One process uses a file at a time.
 */
export class FileQueue implements Queue {
  readonly #path: string
  #file: FileHandle | undefined
  #waiting = 0
  /** Lines are written one after the other. */
  #last: Promise<void> = Promise.resolve()

  constructor(path: string) {
    this.#path = path
  }

  async open(): Promise<Queued[]> {
    const batches = parse(await readFile(this.#path, 'utf8').catch(absent))
    const part = `${this.#path}.part`
    const file = await open(part, FRESH)
    await file.appendFile(batches.map(line).join(''))
    await file.sync()
    await rename(part, this.#path)
    this.#file = file
    this.#waiting = batches.length
    return batches
  }

  add(batch: Queued): Promise<void> {
    this.#waiting++
    return this.#append(line(batch), true)
  }

  remove({ client, sequence }: Queued): Promise<void> {
    this.#waiting--
    return this.#append(`${JSON.stringify({ done: [client, sequence] })}\n`, false)
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined)
    await this.#file?.close()
    this.#file = undefined
  }

  #append(text: string, sync: boolean): Promise<void> {
    this.#last = this.#last.catch(() => undefined).then(async () => {
      const file = this.#file
      if (file === undefined) throw new Error('the queue is not open')
      await file.appendFile(text)
      if (sync) await file.datasync()
      // Nothing waits: the file need not grow for ever.
      if (this.#waiting === 0) await file.truncate(0)
    })
    return this.#last
  }
}

function absent(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return ''
  throw error
}

type Line = { batch: Kept } | { done: [string, number] }
type Kept = Omit<Queued, 'steps'> & { steps: KeptStep[] }
type KeptStep = Record<string, unknown> & { sub: Step['sub']; type: Step['type']; bounds?: Record<string, string> }

function line(batch: Queued): string {
  return `${JSON.stringify({ batch: { ...batch, steps: batch.steps.map(keep) } })}\n`
}

function parse(text: string): Queued[] {
  const batches = new Map<string, Queued>()
  for (const one of text.split('\n').slice(0, -1)) {
    let read: Line
    try {
      read = JSON.parse(one) as Line
    } catch {
      // Cut off by a crash before it was acknowledged.
      continue
    }
    if ('batch' in read) {
      const { client, sequence, durable, steps } = read.batch
      batches.set(`${client}/${String(sequence)}`, { client, sequence, durable, steps: steps.map(restore) })
    } else {
      batches.delete(`${read.done[0]}/${String(read.done[1])}`)
    }
  }
  return [...batches.values()]
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
const bytes = (text: unknown) => new Uint8Array(Buffer.from(String(text), 'base64'))

function keep(step: Step): KeptStep {
  const { sub, type } = step
  if (type === 'clear') return { sub, type, bounds: mapped(step.bounds, base64) }
  if (type === 'index') return { sub, type, path: step.path }
  const key = base64(step.key)
  if (type === 'splice') return { sub, type, key, at: step.at, remove: step.remove, insert: step.insert }
  if (type === 'add') return { sub, type, key, delta: step.delta }
  if (type === 'del' || step.value === undefined) return { sub, type, key }
  return { sub, type, key, value: base64(step.value) }
}

function restore(kept: KeptStep): Step {
  const { sub, type } = kept
  if (type === 'clear') return { sub, type, bounds: mapped(kept.bounds ?? {}, bytes) }
  if (type === 'index') return { sub, type, path: String(kept.path) }
  const key = bytes(kept.key)
  if (type === 'del') return { sub, type, key }
  if (type === 'add') return { sub, type, key, delta: Number(kept.delta) }
  if (type === 'splice') return { sub, type, key, at: Number(kept.at), remove: Number(kept.remove), insert: String(kept.insert) }
  if (type === 'expect') return { sub, type, key, value: kept.value === undefined ? undefined : bytes(kept.value) }
  return { sub, type, key, value: bytes(kept.value) }
}

function mapped<A, B>(bounds: Partial<Record<keyof Bounds, A | undefined>>, change: (one: A) => B): Partial<Record<keyof Bounds, B>> {
  const entries = Object.entries(bounds) as [keyof Bounds, A | undefined][]
  return Object.fromEntries(entries.flatMap(([name, one]) => (one === undefined ? [] : [[name, change(one)]])))
}
