import { WebSocket } from 'ws'
import { FileQueue } from '../queue/file.js'
import type { Queue } from '../queue/queue.js'
import type { Socket } from './socket.js'

/** Node.js 20 has no WebSocket of its own. */
export function connect(url: string, protocol: string): Socket {
  return new WebSocket(url, protocol, { perMessageDeflate: false, maxPayload: 64 << 20 }) as unknown as Socket
}

/** A program says where its queue is, or has none. */
export const defaultQueue: (url: string) => Queue | undefined = () => undefined

export function fileQueue(path: string): Queue {
  return new FileQueue(path)
}

/** Calls when the machine says that it is back on the network, which Node.js does not tell. */
export const onReachable: (call: () => void) => () => void = () => () => undefined
