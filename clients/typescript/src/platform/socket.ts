/** As much of a WebSocket as is used here; the browsers' own and that of npm's `ws` both are one. */
export interface Socket {
  binaryType: string
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: (() => void) | null
  onerror: (() => void) | null
  send(message: Uint8Array<ArrayBuffer>): void
  close(): void
}
