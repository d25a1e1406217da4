// Unmodified hypercore 11.37.1, corestore 7, hyperbee 2.27, hyperdrive 13.3, hyperdht 6.34 and hyperswarm 4.17 as a peer.
import path from 'node:path'
import { createRequire } from 'node:module'
import Corestore from 'corestore'
import Hypercore from 'hypercore'
import { bytes } from './content.mjs'
import { Bees } from './bees.mjs'
import { Drives } from './drives.mjs'
import { Links } from './links.mjs'
import { Logs } from './logs.mjs'
import { Swarms } from './swarms.mjs'
import { serve } from './lines.mjs'

const caps = createRequire(import.meta.url)('hypercore/lib/caps.js')

const logs = new Logs(Hypercore, {
  batch: (core) => core.core.state.createTreeBatch(),
  signature: (core) => core.core.state.signature,
  signable: caps.treeSignable
})
const drives = new Drives()
const bees = new Bees(logs)
const swarms = new Swarms(logs)
const links = new Links((isInitiator) => {
  const stream = logs.streamOf(isInitiator)
  drives.store.replicate(stream)
  return stream
})

serve({
  init: async ({ dir, primary }) => {
    logs.dir = dir
    drives.store = new Corestore(path.join(dir, 'store'), { primaryKey: bytes(primary), unsafe: true })
    await drives.store.ready()
    return { name: 'hypercore 11.37.1' }
  },
  ...logs.commands(),
  ...bees.commands(),
  ...drives.commands(),
  ...links.commands(),
  ...swarms.commands(),
  close: async () => {
    await swarms.close()
    return logs.close()
  }
})
