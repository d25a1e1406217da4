use super::bits::{Bits, Fill};
use bytes::Bytes;
use std::ops::Range;

/// Which blocks a peer says it has.
#[derive(Debug, Default)]
pub(crate) struct Have {
    /// All below this, whatever the bits say.
    contiguous: u64,
    bits: Bits,
}

impl Have {
    pub fn contains(&self, block: u64) -> bool {
        block < self.contiguous || self.bits.get(block)
    }

    /// The first block at or after `from` that it has.
    pub fn next(&self, from: u64) -> Option<u64> {
        if from < self.contiguous { Some(from) } else { self.bits.next_set(from) }
    }

    /// The first of `blocks` that it has.
    pub fn next_in(&self, blocks: &Range<u64>) -> Option<u64> {
        self.next(blocks.start).filter(|block| blocks.contains(block))
    }

    /// The first block at or after `from` that it has not.
    pub fn next_missing(&self, from: u64) -> u64 {
        self.bits.next_clear(from.max(self.contiguous))
    }

    /// A `range` message. JS takes one from 0 for the contiguous length and keeps it apart from the bits.
    pub fn range(&mut self, start: u64, length: u64, set: Fill) {
        let end = start.saturating_add(length);
        match set {
            Fill::Set if start <= self.contiguous => self.contiguous = self.contiguous.max(end),
            Fill::Set => self.bits.fill(start, end, Fill::Set),
            Fill::Clear => {
                // What lay between was never in the bits.
                if end < self.contiguous {
                    self.bits.fill(end, self.contiguous, Fill::Set);
                }
                self.contiguous = self.contiguous.min(start);
                self.bits.fill(start, end, Fill::Clear);
            }
        }
    }

    /// A `bitfield` message: the truth about its span, also below the contiguous length.
    pub fn bitfield(&mut self, start: u64, words: &Bytes) {
        if !start.is_multiple_of(32) {
            return;
        }
        let end = start + words.len() as u64 * 8;
        if start < self.contiguous {
            if end < self.contiguous {
                self.bits.fill(end, self.contiguous, Fill::Set);
            }
            self.contiguous = start;
        }
        for (at, word) in words.as_chunks().0.iter().enumerate() {
            self.bits.put_word(start + 32 * at as u64, u32::from_le_bytes(*word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_bitfields_say_the_same() {
        let mut have = Have::default();
        have.range(0, 100, Fill::Set);
        have.range(200, 10, Fill::Set);
        have.range(40, 10, Fill::Clear);
        assert!(have.contains(39) && !have.contains(40) && !have.contains(49) && have.contains(50));
        assert_eq!((have.next(40), have.next_missing(50)), (Some(50), 100));
        assert_eq!(have.next(100), Some(200));
        have.bitfield(32, &Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0, 0]));
        assert_eq!((have.next_missing(0), have.next(32), have.next(65)), (32, Some(64), Some(96)));
    }
}
