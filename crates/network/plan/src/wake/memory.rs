use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// The last so many initiations are remembered.
pub const INITIATIONS: usize = 4096;

/// The last so many initiations answered by the pal itself are remembered.
pub const ANSWERED: usize = 16_384;

const MAGIC: &[u8; 4] = b"CPb1";

/// Remembered initiations that cannot be read back.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the doorbell's memory is damaged; remove the file, and initiations recorded before may ring once more"
)]
pub struct MemoryError;

/// What was seen before and so must not ring again: initiations by half of their one-time key, and
/// those the pal answered while awake by their sender's index, which is all that its answer shows.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    seen: Last<[u8; 16]>,
    answered: Last<u32>,
}

impl Memory {
    /// Whether it is new; from now on it is not.
    pub(crate) fn see(&mut self, one_time: [u8; 16]) -> bool {
        self.seen.add(one_time, INITIATIONS)
    }

    pub(crate) fn has_seen(&self, one_time: &[u8; 16]) -> bool {
        self.seen.set.contains(one_time)
    }

    pub(crate) fn answer(&mut self, sender: u32) {
        self.answered.add(sender, ANSWERED);
    }

    pub(crate) fn was_answered(&self, sender: u32) -> bool {
        self.answered.set.contains(&sender)
    }

    /// Magic, two counts, entries oldest first.
    pub(crate) fn export(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((self.seen.order.len() as u32).to_le_bytes());
        bytes.extend((self.answered.order.len() as u32).to_le_bytes());
        bytes.extend(self.seen.order.iter().flatten());
        bytes.extend(self.answered.order.iter().flat_map(|index| index.to_le_bytes()));
        bytes
    }

    pub(crate) fn import(bytes: &[u8]) -> Result<Self, MemoryError> {
        let (head, rest) = bytes.split_first_chunk::<12>().ok_or(MemoryError)?;
        let count =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (seen, answered) = (count(4), count(8));
        let fits = head[..4] == *MAGIC && seen <= INITIATIONS && answered <= ANSWERED;
        if !fits || rest.len() != seen * 16 + answered * 4 {
            return Err(MemoryError);
        }
        let (first, second) = rest.split_at(seen * 16);
        let mut memory = Memory::default();
        for entry in first.as_chunks::<16>().0 {
            memory.see(*entry);
        }
        for entry in second.as_chunks::<4>().0 {
            memory.answer(u32::from_le_bytes(*entry));
        }
        Ok(memory)
    }
}

/// A set of the last few added.
#[derive(Debug)]
struct Last<T> {
    set: HashSet<T>,
    order: VecDeque<T>,
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Last { set: HashSet::new(), order: VecDeque::new() }
    }
}

impl<T: Copy + Eq + Hash> Last<T> {
    fn add(&mut self, entry: T, limit: usize) -> bool {
        let new = self.set.insert(entry);
        if new {
            self.order.push_back(entry);
            if self.order.len() > limit {
                let oldest = self.order.pop_front();
                oldest.map(|oldest| self.set.remove(&oldest));
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_its_bytes_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        for i in 0..(INITIATIONS as u128 + 5) {
            assert!(memory.see(i.to_le_bytes()));
        }
        (0..(ANSWERED as u32 + 5)).for_each(|i| memory.answer(i));
        let again = Memory::import(&memory.export()).unwrap();
        for memory in [&memory, &again] {
            assert!(!memory.has_seen(&4u128.to_le_bytes()) && memory.has_seen(&5u128.to_le_bytes()));
            assert!(!memory.was_answered(4) && memory.was_answered(5));
        }
        assert_eq!(again.export(), memory.export());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut memory = Memory::default();
        memory.see([1; 16]);
        memory.answer(7);
        let bytes = memory.export();
        assert!(Memory::import(&bytes).is_ok());
        for cut in 0..bytes.len() {
            assert_eq!(Memory::import(&bytes[..cut]).unwrap_err(), MemoryError);
        }
        let mut many = bytes.clone();
        many[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Memory::import(&many).unwrap_err(), MemoryError);
    }
}
