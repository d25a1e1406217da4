import { AbstractSnapshot } from 'abstract-level'
import type { Client } from './client.js'
import { CloudpalError } from './error.js'

/** The database as it was when this was made. The server keeps it until it is closed, or the connection is lost. */
export class View {
  readonly #client: Client
  #number = 0
  #epoch = 0
  #isOpen = true

  constructor(client: Client) {
    this.#client = client
    if (client.state === 'online') this.#hold()
  }

  /** The server's number for it. */
  async number(): Promise<number> {
    if (this.#number === 0) {
      await this.#client.ping()
      if (this.#isOpen) this.#hold()
    }
    if (this.#epoch === this.#client.epoch && this.#isOpen) return this.#number
    throw new CloudpalError('CLOUDPAL_NO_SNAPSHOT', 'the snapshot was lost with its connection; make another')
  }

  close(): void {
    if (this.#isOpen && this.#number !== 0 && this.#epoch === this.#client.epoch) this.#client.release(this.#number)
    this.#isOpen = false
  }

  #hold(): void {
    this.#number = this.#client.hold()
    this.#epoch = this.#client.epoch
  }
}

/** A snapshot as abstract-level has it. */
export class CloudpalSnapshot extends AbstractSnapshot {
  readonly view: View

  constructor(client: Client, options: object) {
    // The types do not tell of the options, which name the owner.
    super(...([options] as unknown as []))
    this.view = new View(client)
  }

  _close(): Promise<void> {
    this.view.close()
    return Promise.resolve()
  }
}
