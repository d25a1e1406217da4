import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CloudpalLevel, type Change, type WritePromise } from '../src/index.js'

interface Note { title: string }

// What this file shows is that it compiles: keys, values and changes are typed by the encodings' types.
test('keys and values are typed, and a database that reaches nobody says so', async () => {
  const options = { url: 'http://127.0.0.1:9/v1/databases/home', token: 'none', queue: 'none' } as const
  const db = new CloudpalLevel<string, Note>(options, { name: 'notes', kind: 'json', valueEncoding: 'json' })
  db.on('change', (change: Change<string, Note>) => (change.type === 'put' ? change.value.title : ''))
  const put: WritePromise = db.put('a', { title: 'A' })
  assert.equal(put.state, 'pending')
  await assert.rejects(put, { code: 'LEVEL_DATABASE_NOT_OPEN' })
  await assert.rejects(put.stored)
  await assert.rejects(db.open(), (error: Error) => (error.cause as { code: string }).code === 'CLOUDPAL_OFFLINE')
  // @ts-expect-error: a note has a title
  await assert.rejects(db.put('a', { name: 'A' }))
})
