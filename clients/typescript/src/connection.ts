import { connect, onReachable } from '#platform'
import { CloudpalError, closed, offline } from './error.js'
import type { Socket } from './platform/socket.js'
import { answer, request, SUBPROTOCOL, VERSION } from './wire/messages.js'
import { Reader } from './wire/reader.js'
import { Writer } from './wire/writer.js'

export type State = 'connecting' | 'online' | 'offline' | 'closed'

/** What a connection tells whoever made it. */
export interface Listener {
  /** Requests made in here go before all that waited. */
  online(): void
  /** The connection broke; it is being made again. */
  lost(): void
  /** It could not be made; it will be tried again unless the error is final. */
  offline(error: CloudpalError): void
}

interface Asked {
  readonly code: number
  readonly fill: (writer: Writer) => void
  readonly read: (reader: Reader) => void
  readonly fail: (error: CloudpalError) => void
  /** Asked again on a new connection: a question that changes nothing and does not depend on the old one. */
  readonly again: boolean
}

/** What a subscription's owner hears. */
export interface Subscriber {
  event(reader: Reader): void
  failed(error: CloudpalError): void
}

/** Waits between attempts, in ms; the last one again and again. */
const DELAYS = [100, 250, 500, 1000, 2000, 5000, 10000]
/** An attempt, and a silence, that take longer are given up, in ms. */
const PATIENCE = 10000
const SILENCE = 45000
/** How often a silent connection is tried, in ms. */
const PING = 15000
/** Requests gather until a message has so many bytes, or the current task is done. */
const FULL = 256 << 10
/** The number of the first request of every connection. */
const HELLO = 1

/** One WebSocket to a database, made again whenever it breaks. */
export class Connection {
  readonly #url: string
  readonly #token: string
  readonly #listener: Listener
  readonly #forget: () => void
  readonly #asked = new Map<number, Asked>()
  readonly #subscribers = new Map<number, Subscriber>()
  #waiting: Asked[] = []
  #state: State = 'connecting'
  #why: CloudpalError | undefined
  #epoch = 0
  #socket: Socket | undefined
  #out = new Writer()
  #flushing = false
  #next = HELLO + 1
  #attempts = 0
  #heard = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #ping: ReturnType<typeof setInterval> | undefined

  constructor(url: string, token: string, listener: Listener) {
    this.#url = url
    this.#token = token
    this.#listener = listener
    this.#forget = onReachable(() => {
      if (this.#state === 'offline' && this.#why?.isFinal !== true) this.connect()
    })
  }

  get state(): State {
    return this.#state
  }

  /** Counts connections: what one has made, such as a snapshot, is unknown to the next. */
  get epoch(): number {
    return this.#epoch
  }

  connect(): void {
    clearTimeout(this.#timer)
    this.#state = 'connecting'
    const socket = connect(this.#url, SUBPROTOCOL)
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    this.#timer = setTimeout(() => {
      this.#drop(socket, new CloudpalError('CLOUDPAL_OFFLINE', `${this.#url} does not answer`))
    }, PATIENCE)
    socket.onopen = () => {
      this.#hello(socket)
    }
    socket.onmessage = ({ data }) => {
      this.#hear(socket, data)
    }
    // An error is always followed by a close, and says nothing that may be told.
    socket.onerror = () => undefined
    socket.onclose = () => {
      this.#drop(socket, new CloudpalError('CLOUDPAL_OFFLINE', `${this.#url} is not reached`))
    }
  }

  /** Asks, now or as soon as there is a connection. Fails at once while offline. */
  ask<T>(
    code: number,
    fill: (writer: Writer) => void,
    read: (reader: Reader) => T,
    { again = false, subscriber }: { again?: boolean; subscriber?: Subscriber } = {}
  ): Promise<T> {
    return new Promise<T>((resolve, fail) => {
      const asked: Asked = { code, fill, fail, again, read: (reader) => { resolve(read(reader)) } }
      if (this.#state === 'online') {
        const id = this.#send(asked)
        if (subscriber !== undefined) this.#subscribers.set(id, subscriber)
      } else if (this.#state === 'connecting' && subscriber === undefined) {
        this.#waiting.push(asked)
      } else {
        fail(this.#why ?? (this.#state === 'closed' ? closed() : offline()))
      }
    })
  }

  /** Says something that needs no answer, if anybody is there. */
  tell(code: number, fill: (writer: Writer) => void): void {
    if (this.#state === 'online') this.#write(code, 0, fill)
  }

  /** The number by which a subscriber is known on this connection. */
  numberOf(subscriber: Subscriber): number | undefined {
    for (const [id, known] of this.#subscribers) if (known === subscriber) return id
    return undefined
  }

  unsubscribe(id: number): void {
    this.#subscribers.delete(id)
    this.tell(request.end, (writer) => { writer.uint(id) })
  }

  close(): void {
    this.#state = 'closed'
    this.#forget()
    clearTimeout(this.#timer)
    clearInterval(this.#ping)
    this.#flush()
    const socket = this.#socket
    this.#socket = undefined
    socket?.close()
    this.#fail(closed())
  }

  #hello(socket: Socket): void {
    const hello = new Writer()
    hello.frame((writer) => {
      writer.byte(request.hello)
      writer.uint(HELLO)
      writer.uint(VERSION)
      writer.uint(VERSION)
      writer.string(this.#token)
    })
    socket.send(hello.take())
  }

  #hear(socket: Socket, data: unknown): void {
    if (socket !== this.#socket) return
    this.#heard = Date.now()
    try {
      const message = new Reader(new Uint8Array(data as ArrayBuffer))
      while (!message.isEmpty) this.#frame(new Reader(message.buffer()))
    } catch (cause) {
      const message = 'what the server sent is not understood'
      this.#drop(socket, new CloudpalError('CLOUDPAL_MALFORMED', message, { cause }))
    }
  }

  #frame(frame: Reader): void {
    const kind = frame.byte()
    const id = frame.uint()
    if (kind === answer.event) {
      this.#subscribers.get(id)?.event(frame)
    } else if (kind === answer.error) {
      this.#refused(id, CloudpalError.ofServer(frame.uint(), frame.string()))
    } else if (this.#state === 'connecting') {
      this.#online()
    } else {
      const asked = this.#asked.get(id)
      this.#asked.delete(id)
      asked?.read(frame)
    }
  }

  #refused(id: number, error: CloudpalError): void {
    const asked = this.#asked.get(id)
    this.#asked.delete(id)
    const subscriber = this.#subscribers.get(id)
    this.#subscribers.delete(id)
    if (asked !== undefined) asked.fail(error)
    else if (subscriber !== undefined) subscriber.failed(error)
    else if (error.isFinal || this.#state === 'connecting') this.#drop(this.#socket, error)
  }

  #online(): void {
    clearTimeout(this.#timer)
    this.#state = 'online'
    this.#why = undefined
    this.#attempts = 0
    this.#epoch++
    this.#ping = setInterval(() => { this.#check() }, PING)
    this.#listener.online()
    const waiting = this.#waiting
    this.#waiting = []
    for (const asked of waiting) this.#send(asked)
  }

  #check(): void {
    const silent = Date.now() - this.#heard
    if (silent > SILENCE) this.#drop(this.#socket, offline())
    else if (silent > PING) this.ask(request.ping, () => undefined, () => undefined).catch(() => undefined)
  }

  /** A connection is over, or never came about. */
  #drop(socket: Socket | undefined, why: CloudpalError): void {
    if (socket === undefined || socket !== this.#socket) return
    const was = this.#state
    this.#socket = undefined
    socket.onclose = null
    socket.close()
    clearTimeout(this.#timer)
    clearInterval(this.#ping)
    this.#out = new Writer()
    if (was === 'online' && !why.isFinal) {
      this.#state = 'connecting'
      this.#interrupt()
      this.#listener.lost()
      this.connect()
      return
    }
    this.#state = 'offline'
    this.#why = why.isFinal ? why : undefined
    this.#fail(why)
    this.#listener.offline(why)
    if (!why.isFinal) this.#retry()
  }

  #retry(): void {
    const delay = DELAYS[Math.min(this.#attempts++, DELAYS.length - 1)] ?? PATIENCE
    this.#timer = setTimeout(() => { this.connect() }, delay * (0.5 + Math.random()))
  }

  /** Questions that can be asked again wait; what else was under way fails. */
  #interrupt(): void {
    const asked = [...this.#asked.values()]
    this.#asked.clear()
    this.#subscribers.clear()
    this.#waiting.push(...asked.filter(({ again }) => again))
    const why = new CloudpalError('CLOUDPAL_DISCONNECTED', 'the connection was lost before the answer came')
    for (const { again, fail } of asked) if (!again) fail(why)
  }

  #fail(why: CloudpalError): void {
    const asked = [...this.#asked.values(), ...this.#waiting]
    this.#asked.clear()
    this.#subscribers.clear()
    this.#waiting = []
    for (const { fail } of asked) fail(why)
  }

  #send(asked: Asked): number {
    const id = this.#next++
    this.#asked.set(id, asked)
    this.#write(asked.code, id, asked.fill)
    return id
  }

  /** Requests made in one turn of the event loop share a message. */
  #write(code: number, id: number, fill: (writer: Writer) => void): void {
    this.#out.frame((writer) => {
      writer.byte(code)
      writer.uint(id)
      fill(writer)
    })
    if (this.#out.length >= FULL) {
      this.#flush()
    } else if (!this.#flushing) {
      this.#flushing = true
      queueMicrotask(() => {
        this.#flushing = false
        this.#flush()
      })
    }
  }

  #flush(): void {
    if (this.#out.length > 0) this.#socket?.send(this.#out.take())
  }
}
