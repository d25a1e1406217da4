// A relay between a client and the server, so that the way between them can be cut as a network cuts it.
import { connect, createServer } from 'node:net'

export class Relay {
  #server = createServer((client) => this.#carry(client))
  #pairs = new Set()
  #target
  #url
  /** Whether connections get through, and whether what the server says does. */
  isOpen = true
  isMute = false

  /** `url`: of the server. */
  constructor(url) {
    this.#url = new URL(url)
    this.#target = { host: this.#url.hostname, port: Number(this.#url.port) }
  }

  /** The same address, by way of the relay. */
  async listen() {
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const url = new URL(this.#url)
    url.port = String(this.#server.address().port)
    return url.href
  }

  /** Ends every connection there is. */
  cut() {
    for (const ends of this.#pairs) for (const end of ends) end.destroy()
    this.#pairs.clear()
  }

  close() {
    this.cut()
    this.#server.close()
  }

  #carry(client) {
    if (!this.isOpen) {
      client.destroy()
      return
    }
    const server = connect(this.#target)
    this.#pairs.add([client, server])
    client.on('data', (bytes) => server.write(bytes))
    server.on('data', (bytes) => { if (!this.isMute) client.write(bytes) })
    for (const [end, other] of [[client, server], [server, client]]) {
      end.on('error', () => undefined)
      end.on('close', () => other.destroy())
    }
  }
}
