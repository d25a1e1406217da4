// Commands for finding one another: hyperdht as the table, hyperswarm on it.
import createTestnet from 'hyperdht/testnet.js'
import Hyperswarm from 'hyperswarm'

export class Swarms {
  constructor(logs) {
    this.logs = logs
    this.table = null
    this.swarm = null
  }

  commands() {
    return {
      table: (args) => this.makeTable(args),
      swarm: (args) => this.start(args),
      joinSwarm: (args) => this.join(args),
      met: () => ({ met: this.swarm.connections.size })
    }
  }

  /** A table of so many nodes on this machine. */
  async makeTable({ nodes }) {
    this.table = await createTestnet(nodes)
    return { bootstrap: this.table.bootstrap.map(({ host, port }) => `${host}:${port}`) }
  }

  /** Gets onto a table. Whoever connects gets every open log. */
  async start({ bootstrap }) {
    const nodes = bootstrap.map((text) => ({ host: text.split(':')[0], port: Number(text.split(':')[1]) }))
    this.swarm = new Hyperswarm({ bootstrap: nodes })
    this.swarm.on('connection', (stream) => {
      // A peer that goes away shows in the comparison.
      stream.on('error', () => {})
      for (const { core } of this.logs.open.values()) core.replicate(stream)
    })
    return {}
  }

  /** Announces an open log, which is done then, or begins to look for it. */
  async join({ log, serve }) {
    const topic = this.logs.get(log).core.discoveryKey
    const discovery = this.swarm.join(topic, { server: serve, client: !serve })
    if (serve) await discovery.flushed()
    return {}
  }

  async close() {
    await this.swarm?.destroy()
    await this.table?.destroy()
  }
}
