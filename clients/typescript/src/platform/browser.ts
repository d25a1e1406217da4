import { CloudpalError } from '../error.js'
import { IndexedDbQueue } from '../queue/indexeddb.js'
import type { Queue } from '../queue/queue.js'
import type { Socket } from './socket.js'

export function connect(url: string, protocol: string): Socket {
  return new WebSocket(url, protocol) as unknown as Socket
}

/** What is written in a page survives it. */
export function defaultQueue(url: string): Queue {
  return new IndexedDbQueue(`cloudpal-level ${url}`)
}

export const fileQueue: (path: string) => Queue = () => {
  throw new CloudpalError('CLOUDPAL_UNSUPPORTED', 'a page keeps its queue in IndexedDB, not in a file')
}

/** Calls when the machine is back on the network; gives what ends that. */
export function onReachable(call: () => void): () => void {
  globalThis.addEventListener('online', call)
  return () => {
    globalThis.removeEventListener('online', call)
  }
}
