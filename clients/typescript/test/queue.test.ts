import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { FileQueue } from '../src/queue/file.js'
import { MemoryQueue, type Queued } from '../src/queue/queue.js'

const sub = { name: 'notes', kind: 'json' } as const
const key = Uint8Array.of(0, 255)

const batch = (sequence: number): Queued => ({
  client: 'c0ffee',
  sequence,
  durable: sequence % 2 === 0,
  steps: [
    { type: 'put', sub, key, value: Uint8Array.of(sequence) },
    { type: 'del', sub, key },
    { type: 'clear', sub, bounds: { gt: key } },
    { type: 'patch', sub, key, value: key },
    { type: 'exclude', sub, key, value: key },
    { type: 'add', sub, key, delta: -3 },
    { type: 'splice', sub, key, at: 3, remove: 0, insert: 'ö' },
    { type: 'index', sub, path: 'a.b' },
    { type: 'expect', sub, key, value: undefined },
    { type: 'expect', sub, key, value: key }
  ]
})

async function path(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cloudpal-level-'))
  t.after(() => rm(folder, { recursive: true }))
  return join(folder, 'queue')
}

test('a file keeps what waits, in order, and forgets what is done', async (t) => {
  const file = await path(t)
  const first = new FileQueue(file)
  assert.deepEqual(await first.open(), [])
  await Promise.all([1, 2, 3].map((sequence) => first.add(batch(sequence))))
  await first.remove(batch(2))
  await first.close()
  const second = new FileQueue(file)
  assert.deepEqual(await second.open(), [batch(1), batch(3)])
  await second.remove(batch(1))
  await second.remove(batch(3))
  await second.close()
  assert.equal(await readFile(file, 'utf8'), '', 'a file with nothing in it does not grow')
  await assert.rejects(second.add(batch(4)))
})

test('a file goes on after it was emptied', async (t) => {
  const file = await path(t)
  const queue = new FileQueue(file)
  await queue.open()
  await queue.add(batch(1))
  await queue.remove(batch(1))
  await queue.add(batch(2))
  await queue.close()
  assert.deepEqual(await new FileQueue(file).open(), [batch(2)])
})

test('a line that a crash cut off is dropped, the others are not', async (t) => {
  const file = await path(t)
  const queue = new FileQueue(file)
  await queue.open()
  await queue.add(batch(1))
  await queue.close()
  await appendFile(file, '{"batch":{"client":"c0ffee","sequ')
  assert.deepEqual(await new FileQueue(file).open(), [batch(1)])
})

test('memory keeps as long as it lasts', async () => {
  const queue = new MemoryQueue()
  await queue.add(batch(1))
  await queue.add(batch(2))
  await queue.remove(batch(1))
  assert.deepEqual(await queue.open(), [batch(2)])
})
