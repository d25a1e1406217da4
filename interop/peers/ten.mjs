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

serve({
  init: async ({ dir }) => {
    logs.dir = dir
    return { name: 'hypercore 10.38.2' }
  },
  ...logs.commands(),
  ...bees.commands(),
  ...links.commands()
})
