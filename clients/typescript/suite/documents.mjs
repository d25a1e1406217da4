// Indexes, texts in part and conflicts, against the real server. Reads URL and TOKEN from the environment.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, CloudpalLevel } from '../dist/src/index.js'

const { URL: url, TOKEN: token } = process.env

/** A sub-database that nobody used before, or that of a name. */
function open(t, { name = `documents/${crypto.randomUUID()}`, ...options }) {
  const client = new Client({ url, token, queue: 'none' })
  t.after(() => client.close())
  return new CloudpalLevel(client, { name, ...options })
}

async function all(entries) {
  const found = []
  for await (const entry of entries) found.push(entry)
  return found
}

test('an index finds documents in the order of the field, whatever lies there', async (t) => {
  const db = open(t, { kind: 'json', valueEncoding: 'json' })
  await db.index('a.b')
  const terms = [null, false, true, -1.5, 0, 7, '', 'x', 'ö']
  await db.batch(terms.toReversed().map((b, at) => ({ type: 'put', key: `key ${at}`, value: { a: { b } } })))
  await db.put('none', { a: 1 })
  const found = async (range) => (await all(db.find('a.b', range))).map(([, value]) => value.a.b)
  assert.deepEqual(await found(), terms)
  assert.deepEqual(await found({ reverse: true }), terms.toReversed())
  assert.deepEqual(await found({ gt: true, lte: '' }), [-1.5, 0, 7, ''])
  assert.deepEqual(await found({ gte: 0, lt: 'ö', reverse: true, limit: 2 }), ['x', ''])
  assert.deepEqual(await found({ gt: 'ö' }), [])
  assert.deepEqual(await found({ gte: null, lte: null }), [null])
  await assert.rejects(all(db.find('a')), { code: 'CLOUDPAL_NOT_FOUND' })
})

test('what an index finds comes in pages, each entry once, both ways', async (t) => {
  const db = open(t, { kind: 'json', valueEncoding: 'json' })
  await db.index('tags')
  const keys = Array.from({ length: 2500 }, (_, i) => `key ${String(i).padStart(4, '0')}`)
  await db.batch(keys.map((key, i) => ({ type: 'put', key, value: { tags: ['every', `one of ${i % 2}`] } })))
  const found = async (range) => (await all(db.find('tags', range))).map(([key]) => key)
  assert.deepEqual(await found({ gte: 'every', lte: 'every' }), keys)
  assert.deepEqual(await found({ gte: 'every', lte: 'every', reverse: true }), keys.toReversed())
  assert.deepEqual(await found({ gte: 'one of 1', limit: 1100 }), keys.filter((_, i) => i % 2 === 1).slice(0, 1100))
})

test('a text is edited where JavaScript counts, if it is the one that was seen', async (t) => {
  const db = open(t, { kind: 'text' })
  await db.put('t', 'aö🌿b')
  await db.splice('t', { at: 2, remove: 2, insert: '--', seen: 'aö🌿b' })
  assert.equal(await db.get('t'), 'aö--b')
  await assert.rejects(db.splice('t', { at: 0, insert: '!', seen: 'aö🌿b' }), { code: 'CLOUDPAL_CONDITION' })
  await db.splice('t', { at: 5, insert: '🌿' })
  await assert.rejects(db.splice('t', { at: 6, insert: '!' }), { code: 'CLOUDPAL_INVALID' })
  await assert.rejects(db.splice('t', { at: 8 }), { code: 'CLOUDPAL_INVALID' })
  assert.equal(await db.get('t'), 'aö--b🌿')
  await db.splice('new', { at: 0, insert: 'begun' })
  assert.equal(await db.get('new'), 'begun')
})

test('a conflict of two devices is settled once, and only by who has seen it all', async (t) => {
  const db = open(t, { name: 'documents/disputed' })
  const [conflict, ...more] = await db.conflicts()
  assert.deepEqual([conflict.key, more], ['who', []])
  const [shown, lost] = conflict.versions
  assert.deepEqual([shown.value, lost.value].sort(), ['laptop', 'phone'])
  assert.equal(await db.get('who'), shown.value)
  await assert.rejects(db.resolve({ ...conflict, versions: [shown] }, { keep: shown }), { code: 'CLOUDPAL_CONDITION' })
  const none = { ...lost, position: lost.position + 99 }
  await assert.rejects(db.resolve(conflict, { keep: none }), { code: 'CLOUDPAL_INVALID' })
  await db.resolve(conflict, { keep: lost })
  assert.equal(await db.get('who'), lost.value)
  assert.deepEqual(await db.conflicts(), [])
  await assert.rejects(db.resolve(conflict, { value: 'both' }), { code: 'CLOUDPAL_NOT_FOUND' })
})
