// In a page: what a tab does before it is closed, and what another does later.
import { Client, CloudpalLevel } from 'cloudpal-level'

const { url, token, name } = globalThis.settings

/** Writes without a server, and says what the promise said. */
globalThis.writeOffline = async (entries) => {
  const client = new Client({ url, token })
  const db = new CloudpalLevel(client, { name })
  await db.open()
  const states = []
  for (const [key, value] of entries) {
    const put = db.put(key, value)
    await put
    states.push(put.state)
  }
  const [first] = entries
  return { state: client.state, states, pending: db.pending, read: await db.get(first[0]) }
}

/** Opens the same database again and waits until what the other tab left is sent. */
globalThis.flush = async () => {
  const client = new Client({ url, token })
  const flushed = new Promise((resolve) => client.once('flushed', resolve))
  const db = new CloudpalLevel(client, { name })
  await db.open()
  await flushed
  const left = client.pending
  await client.close()
  return left
}

/** How many writes of earlier tabs there are to send. */
globalThis.left = async () => {
  const client = new Client({ url, token })
  await new CloudpalLevel(client, { name }).open()
  const left = client.pending
  await client.close()
  return left
}
