// Blocks, values and files are named by (seed, size) and made on the spot by each peer, so that megabytes
// need not travel through the command lines. src/content.rs makes the same.
import crypto from 'hypercore-crypto'

/** `size` bytes that depend on `seed` only: xorshift32 (Marsaglia 2003), little-endian words. */
export function content([seed, size]) {
  const bytes = Buffer.alloc(size)
  let x = (seed >>> 0) || 1
  for (let at = 0; at < size; at += 4) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    for (let i = at; i < Math.min(at + 4, size); i++) bytes[i] = x >>> (8 * (i - at))
  }
  return bytes
}

/** What two peers compare instead of the bytes themselves: half of BLAKE2b-256, and the size. */
export function digest(bytes) {
  return `${crypto.hash(bytes).toString('hex').slice(0, 32)}:${bytes.length}`
}

export const hex = (bytes) => (bytes ? Buffer.from(bytes).toString('hex') : null)
export const bytes = (text) => (typeof text === 'string' ? Buffer.from(text, 'hex') : null)
