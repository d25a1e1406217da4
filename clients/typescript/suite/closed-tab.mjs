// Puts made in a tab without a server survive the tab and are sent by the next one. Reads URL, TOKEN and CHROMIUM from
// the environment, prints one JSON object.
import assert from 'node:assert/strict'
import { withBrowser } from './browser.mjs'
import { bundle } from './bundle.mjs'
import { Relay } from './relay.mjs'
import { Client, CloudpalLevel } from '../dist/src/index.js'

const { URL: direct, TOKEN: token, CHROMIUM: program } = process.env
const name = `closed-tab/${crypto.randomUUID()}`
const entries = Array.from({ length: 10 }, (_, i) => [`key ${i}`, `value ${i}`])

const relay = new Relay(direct)
const url = await relay.listen()
const script = await bundle('./tab.mjs')
const client = new Client({ url: direct, token })
const db = new CloudpalLevel(client, { name })

const result = await withBrowser(program, async (open) => {
  const tab = () => open({}, { url, token, name }, script)
  relay.isOpen = false
  const first = await tab()
  const wrote = await first.evaluate((entries) => globalThis.writeOffline(entries), entries)
  assert.deepEqual(wrote, { state: 'offline', states: entries.map(() => 'queued'), pending: 10, read: 'value 0' })
  await first.close()
  assert.deepEqual(await db.iterator().all(), [], 'nothing has reached the server')

  relay.isOpen = true
  const second = await tab()
  assert.equal(await second.evaluate(() => globalThis.flush()), 0)
  assert.deepEqual(await db.iterator().all(), entries)

  // Sent once: a third tab finds nothing to send over what was written since.
  await db.put('key 0', 'newer')
  const third = await tab()
  assert.equal(await third.evaluate(() => globalThis.left()), 0)
  assert.equal(await db.get('key 0'), 'newer')
  return { queued: wrote.states.length, sent: entries.length, lost: 0 }
})
await client.close()
relay.close()
process.stdout.write(`${JSON.stringify(result)}\n`)
