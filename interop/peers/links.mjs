// Connections on plain TCP: whoever dials is the initiator of the Noise handshake.
import net from 'node:net'

export class Links {
  /** `streamOf(isInitiator)` makes the replication stream of everything this peer has. */
  constructor(streamOf) {
    this.streamOf = streamOf
    this.server = null
    this.open = new Map()
    this.accepted = 0
    this.broken = []
  }

  commands() {
    return {
      listen: () => this.listen(),
      connect: (args) => this.connect(args),
      disconnect: (args) => this.disconnect(args),
      broken: () => ({ broken: this.broken.splice(0) })
    }
  }

  async listen() {
    this.server ??= net.createServer((socket) => this.join(socket, false, `in ${this.accepted++}`))
    if (!this.server.listening) {
      await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    }
    return { port: this.server.address().port }
  }

  async connect({ name, port }) {
    const socket = net.connect(port, '127.0.0.1')
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    this.join(socket, true, name)
    return {}
  }

  /** Cuts one connection by its name, or all, without a goodbye. */
  async disconnect({ name }) {
    for (const [known, socket] of this.open) {
      if (name === undefined || name === known) socket.destroy()
    }
    return {}
  }

  join(socket, isInitiator, name) {
    const stream = this.streamOf(isInitiator)
    this.open.set(name, socket)
    const end = () => {
      socket.destroy()
      stream.destroy()
      if (this.open.get(name) === socket) this.open.delete(name)
    }
    // hypercore destroys the stream when its log is cut while it makes a proof: some node of it is gone then.
    stream.on('error', (error) => {
      if (/Expected tree node \d+ from storage/.test(error.message)) this.broken.push(error.message)
    })
    // A cut connection is an event of the test, not an error; what it breaks shows in the comparison.
    socket.on('error', end).on('close', end).setNoDelay(true)
    stream.on('error', end).on('close', end)
    socket.pipe(stream).pipe(socket)
  }
}
