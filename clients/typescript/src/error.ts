/**
 * What went wrong, for programs:
 *
 * - `CLOUDPAL_OFFLINE`: the server is not reached, and nothing here has the answer.
 * - `CLOUDPAL_DISCONNECTED`: the connection was lost after a write was sent, and there is no queue to send it again
 *   from: it may have been done or not.
 * - `CLOUDPAL_CLOSED`: the client was closed.
 * - The others are the server's: `CLOUDPAL_` and one of its codes, such as `CLOUDPAL_FORBIDDEN`.
 */
export type ErrorCode =
  | 'CLOUDPAL_OFFLINE'
  | 'CLOUDPAL_DISCONNECTED'
  | 'CLOUDPAL_CLOSED'
  | 'CLOUDPAL_UNSUPPORTED'
  | `CLOUDPAL_${(typeof serverCodes)[number]}`

const serverCodes = [
  'MALFORMED',
  'VERSION',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'TOO_LARGE',
  'TOO_MANY',
  'NO_SNAPSHOT',
  'MISSING',
  'EXISTS',
  'CONDITION',
  'INVALID',
  'NOT_FOUND',
  'CURSOR_GONE',
  'FAILED'
] as const

/** An error with a code. */
export class CloudpalError extends Error {
  override readonly name = 'CloudpalError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** An error that the server sent by its number. */
  static ofServer(number: number, message: string): CloudpalError {
    return new CloudpalError(`CLOUDPAL_${serverCodes[number - 1] ?? 'FAILED'}`, message)
  }

  /** Whether connecting again cannot help. */
  get isFinal(): boolean {
    return ['CLOUDPAL_MALFORMED', 'CLOUDPAL_VERSION', 'CLOUDPAL_UNAUTHORIZED'].includes(this.code)
  }
}

export const offline = (): CloudpalError =>
  new CloudpalError('CLOUDPAL_OFFLINE', 'the server is not reached, and this is not known here')

export const closed = (): CloudpalError => new CloudpalError('CLOUDPAL_CLOSED', 'the client is closed')
