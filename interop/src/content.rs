//! Blocks, values and files are named by a seed and a size and made on the spot by each peer, so that
//! megabytes need not travel through the command lines. `peers/content.mjs` makes the same.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use serde::{Deserialize, Serialize};

/// Some bytes, by name: `size` bytes that depend on `seed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(pub u32, pub usize);

impl Content {
    /// The bytes: xorshift32 (Marsaglia 2003), little-endian words.
    pub fn bytes(self) -> Vec<u8> {
        let mut x = self.0.max(1);
        let mut bytes = Vec::with_capacity(self.1 + 3);
        while bytes.len() < self.1 {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            bytes.extend_from_slice(&x.to_le_bytes());
        }
        bytes.truncate(self.1);
        bytes
    }

    /// What a peer must say it holds.
    pub fn digest(self) -> String {
        digest(&self.bytes())
    }
}

/// What two peers compare instead of the bytes themselves: half of BLAKE2b-256, and the size.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Blake2b::<U32>::digest(bytes);
    format!("{}:{}", hex::encode(&hash[..16]), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_the_peers_make() {
        // As peers/content.mjs printed them.
        assert_eq!(Content(1, 10).digest(), "2bde37cecd23c6a25b51ae9d895a0de1:10");
        assert_eq!(Content(9, 12).digest(), "7b9b9264bead5a1b23e8efd2bfc48f60:12");
        assert_eq!(Content(5, 0).bytes(), b"");
    }
}
