// The offline queue in Node.js, against the real server. Reads URL and TOKEN from the environment.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { test } from 'node:test'
import { Relay } from './relay.mjs'
import { Client, CloudpalLevel } from '../dist/src/index.js'

const { URL: direct, TOKEN: token } = process.env

/** A client behind a relay, another directly at the server, and a sub-database of their own. */
async function scene(t, queue) {
  const name = `queue/${crypto.randomUUID()}`
  const relay = new Relay(direct)
  const url = await relay.listen()
  const other = new Client({ url: direct, token })
  const seen = new CloudpalLevel(other, { name })
  const clients = [other]
  t.after(async () => {
    for (const client of clients) await client.close()
    relay.close()
  })
  const start = () => {
    const client = new Client({ url, token, queue })
    clients.push(client)
    return { client, db: new CloudpalLevel(client, { name }) }
  }
  return { relay, seen, start }
}

async function file(t) {
  const folder = await mkdtemp(join(tmpdir(), 'cloudpal-level-'))
  t.after(() => rm(folder, { recursive: true }))
  return { file: join(folder, 'queue') }
}

test('a put whose answer was lost is not done twice', async (t) => {
  const { relay, seen, start } = await scene(t, 'memory')
  const { client, db } = start()
  await db.put('a', 'first')
  relay.isMute = true
  const put = db.put('a', 'second')
  while (await seen.get('a') !== 'second') await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(put.state, 'pending')
  await seen.put('a', 'third')
  const back = once(client, 'flushed')
  relay.isMute = false
  relay.cut()
  await back
  assert.equal(await seen.get('a'), 'third', 'what was sent again did not undo what came after it')
  await put.stored
})

test('writes of a process that ended are sent by the next one, in order', async (t) => {
  const { relay, seen, start } = await scene(t, await file(t))
  relay.isOpen = false
  const first = start()
  await first.db.batch([{ type: 'put', key: 'a', value: '1' }, { type: 'put', key: 'b', value: '1' }])
  const put = first.db.put('a', '2')
  await put
  assert.equal(put.state, 'queued')
  await first.db.clear({ gte: 'b' })
  await first.db.put('c', '3', { durability: 'durable' })
  assert.equal(first.db.pending, 4)
  await first.client.close()

  relay.isOpen = true
  const second = start()
  await once(second.client, 'flushed')
  assert.deepEqual(await seen.iterator().all(), [['a', '2'], ['c', '3']])
  await second.client.close()

  const third = start()
  await third.db.open()
  assert.equal(third.client.pending, 0)
})

test('what is queued can be read while offline, the rest says that it cannot', async (t) => {
  const { relay, start } = await scene(t, 'memory')
  const { client, db } = start()
  await db.put('there', 'before')
  relay.isOpen = false
  const lost = once(client, 'offline')
  relay.cut()
  await lost
  await db.put('a', '1')
  await db.put('b', '2')
  await db.del('b')
  assert.equal(await db.get('a'), '1')
  assert.deepEqual(await db.getMany(['a', 'b']), ['1', undefined])
  assert.equal(await db.has('b'), false)
  await assert.rejects(db.get('there'), { code: 'CLOUDPAL_OFFLINE' })
  await assert.rejects(db.iterator().next(), { code: 'CLOUDPAL_OFFLINE' })
  const back = once(client, 'flushed')
  relay.isOpen = true
  await back
  assert.equal(await db.get('there'), 'before')
  assert.deepEqual(await db.keys().all(), ['a', 'there'])
})

test('without a queue a write fails when its server is gone', async (t) => {
  const { relay, start } = await scene(t, 'none')
  const { client, db } = start()
  await db.open()
  relay.isMute = true
  const put = db.put('a', '1')
  await new Promise((resolve) => setTimeout(resolve, 20))
  relay.isOpen = false
  relay.cut()
  await assert.rejects(put, { code: 'CLOUDPAL_DISCONNECTED' })
  if (client.state !== 'offline') await once(client, 'offline')
  await assert.rejects(db.put('a', '1'), { code: 'CLOUDPAL_OFFLINE' })
})

test('changes go on where they were when the connection is lost', async (t) => {
  const { relay, seen, start } = await scene(t, 'none')
  const { client, db } = start()
  await db.open()
  const heard = []
  const end = new AbortController()
  const all = (async () => {
    for await (const { key, value } of db.changes({ start: 'oldest', signal: end.signal })) {
      heard.push([key, value])
      if (heard.length === 60) end.abort()
    }
  })()
  for (let i = 0; i < 60; i++) {
    if (i === 20 || i === 40) relay.cut()
    await seen.put(`key ${i}`, String(i))
  }
  await all
  assert.deepEqual(heard, Array.from({ length: 60 }, (_, i) => [`key ${i}`, String(i)]))
  assert.equal(client.state, 'online')
})

test('a snapshot is lost with its connection, and says so', async (t) => {
  const { relay, start } = await scene(t, 'none')
  const { client, db } = start()
  await db.put('a', '1')
  const snapshot = db.snapshot()
  assert.equal(await db.get('a', { snapshot }), '1')
  const back = once(client, 'online')
  relay.cut()
  await back
  await assert.rejects(db.get('a', { snapshot }), { code: 'CLOUDPAL_NO_SNAPSHOT' })
  await snapshot.close()
  assert.equal(await db.get('a'), '1')
})

test('a token that is none is told, and not tried again and again', async (t) => {
  const client = new Client({ url: direct, token: 'cpdb_AAAA' })
  t.after(() => client.close())
  const db = new CloudpalLevel(client)
  await assert.rejects(db.open(), (error) => error.cause.code === 'CLOUDPAL_UNAUTHORIZED')
  assert.equal(client.state, 'offline')
})
