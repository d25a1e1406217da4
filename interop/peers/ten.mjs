// An unmodified hypercore 10.38.2 as a peer, with hyperbee 2.27 on it.
import { createRequire } from 'node:module'
import Hypercore from 'hypercore-10'
import { Bees } from './bees.mjs'
import { Links } from './links.mjs'
import { Logs } from './logs.mjs'
import { serve } from './lines.mjs'

const caps = createRequire(import.meta.url)('hypercore-10/lib/caps.js')

const logs = new Logs(Hypercore, {
  batch: (core) => core.core.tree.batch(),
  signature: (core) => core.core.tree.signature,
  signable: caps.treeSignable
})
const bees = new Bees(logs)
const links = new Links((isInitiator) => logs.streamOf(isInitiator))

// How many nodes of a log's tree are remembered otherwise than they are. A cut empties that memory, but the disk is cut
// later: whoever goes on with an answer begun before reads nodes of the old fork and puts them there. They are used for
// every answer and for reading blocks, until others take their place or the log is opened again.
async function stale({ log }) {
  const { core } = logs.get(log)
  const { cache, unflushed, storage } = core.core.tree
  let nodes = 0
  for (let index = 0; index < 2 * core.length; index++) {
    const remembered = cache.get(index)
    const hash = unflushed.get(index)?.hash ?? await stored(storage, index)
    if (remembered && hash && !remembered.hash.equals(hash)) nodes++
  }
  return { nodes }
}

const stored = (storage, index) => new Promise((resolve) => {
  storage.read(40 * index, 40, (error, bytes) => resolve(error ? null : bytes.subarray(8)))
})

serve({
  init: async ({ dir }) => {
    logs.dir = dir
    return { name: 'hypercore 10.38.2' }
  },
  ...logs.commands(),
  stale,
  ...bees.commands(),
  ...links.commands()
})
