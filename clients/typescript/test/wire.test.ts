import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compare, within, writeSteps } from '../src/wire/messages.js'
import { MalformedError, Reader } from '../src/wire/reader.js'
import { Writer } from '../src/wire/writer.js'

const bytes = (...all: number[]) => Uint8Array.from(all)

test('numbers, buffers and strings come back, in the length that is known for each', () => {
  const writer = new Writer()
  const numbers = [0, 252, 253, 65535, 65536, 0xffffffff, 0x100000000, Number.MAX_SAFE_INTEGER]
  numbers.forEach((number) => writer.uint(number))
  assert.equal(writer.length, 1 + 1 + 3 + 3 + 5 + 5 + 9 + 9)
  writer.buffer(bytes(1, 2, 3))
  writer.string('schön 🌿')
  const reader = new Reader(writer.take())
  assert.deepEqual(numbers.map(() => reader.uint()), numbers)
  assert.deepEqual(reader.buffer(), bytes(1, 2, 3))
  assert.equal(reader.string(), 'schön 🌿')
  assert.equal(reader.isEmpty, true)
})

test('a writer grows, gives its bytes away and starts anew', () => {
  const writer = new Writer()
  const large = new Uint8Array(100_000).fill(7)
  writer.frame((frame) => frame.raw(large))
  const taken = writer.take()
  writer.byte(9)
  assert.deepEqual(new Reader(taken).buffer(), large)
  assert.deepEqual(writer.take(), bytes(9))
})

test('what is cut off, too large or no text is refused, whatever it is', () => {
  for (const message of [[], [0xfd, 1], [0xfe, 1, 2, 3], [5, 1, 2], [0xff, 255, 255, 255, 255, 255, 255, 255, 255]]) {
    assert.throws(() => new Reader(bytes(...message)).buffer(), MalformedError)
  }
  assert.throws(() => new Reader(bytes(1, 0xff)).string(), MalformedError)
  assert.throws(() => new Reader(bytes(200, 0)).array(() => 0), MalformedError)
})

test('random bytes are read or refused, and nothing else', () => {
  let state = 1
  const random = () => (state = (state * 48271) % 2147483647)
  for (let round = 0; round < 2000; round++) {
    const reader = new Reader(Uint8Array.from({ length: random() % 40 }, () => random() % 256))
    try {
      while (!reader.isEmpty) reader.array(() => [reader.optional(), reader.string(), reader.uint()])
    } catch (error) {
      assert.ok(error instanceof MalformedError, String(error))
    }
  }
})

test('a sub-database is named once in a batch', () => {
  const notes = { name: 'notes', kind: 'json' } as const
  const writer = new Writer()
  writeSteps(writer, [
    { type: 'put', sub: notes, key: bytes(1), value: bytes(2) },
    { type: 'del', sub: { ...notes }, key: bytes(3) },
    { type: 'clear', sub: { name: '', kind: 'register' }, bounds: { gt: bytes(4), gte: bytes(5) } },
    { type: 'expect', sub: notes, key: bytes(6), value: undefined }
  ])
  const expected = [2, 1, 5, ...Buffer.from('notes'), 0, 0, 4, 0, 0, 1, 1, 1, 2, 1, 0, 1, 3, 2, 1, 2, 1, 5, 0, 3, 0, 1, 6]
  assert.deepEqual([...writer.take()], expected)
})

test('an index has no key, and places in a text are counted as JavaScript counts', () => {
  const sub = { name: '', kind: 'text' } as const
  const writer = new Writer()
  writeSteps(writer, [
    { type: 'index', sub, path: 'a' },
    { type: 'splice', sub, key: bytes(7), at: 1, remove: 2, insert: 'b' }
  ])
  assert.deepEqual([...writer.take()], [1, 4, 0, 2, 10, 0, 1, 97, 9, 0, 1, 7, 1, 1, 2, 1, 98])
})

test('keys are ordered by their bytes, the shorter first', () => {
  const keys = [bytes(), bytes(0), bytes(0, 0), bytes(1), bytes(127), bytes(128), bytes(255)]
  assert.deepEqual([...keys].reverse().sort(compare), keys)
})

test('of two bounds at one end the one that includes its key counts', () => {
  assert.equal(within(bytes(3), { gt: bytes(4), gte: bytes(3) }), true)
  assert.equal(within(bytes(3), { gt: bytes(3) }), false)
  assert.equal(within(bytes(3), { lt: bytes(2), lte: bytes(3) }), true)
  assert.equal(within(bytes(3), { lt: bytes(3) }), false)
  assert.equal(within(bytes(3), {}), true)
})
