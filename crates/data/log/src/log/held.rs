//! Which blocks are held: all below one number, and runs past it. A log that was written here or fetched in order
//! is one number; a sparse one costs a record of some bytes for each run.

use crate::codec::{CodecError, Reader, Write};
use crate::{Batch, Slot, Storage, StorageError, Table};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

/// The blocks of a log that are on this device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    contiguous: u64,
    /// Runs past `contiguous` that touch neither it nor one another: first block, one past the last.
    runs: BTreeMap<u64, u64>,
    undo: Vec<Undo>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Contiguous(u64),
    Run { start: u64, was: Option<u64> },
}

impl Held {
    /// Reads what [`changes`](Self::changes) wrote.
    pub fn load(storage: &impl Storage, contiguous: u64, runs: u64) -> Result<Self, StorageError> {
        let mut held = Held { contiguous, ..Held::default() };
        if runs == 0 {
            return Ok(held);
        }
        let mut damaged = None;
        storage.range(Table::Bits, 0..u64::MAX, &mut |start, value| match decode(&value) {
            Ok(end) if end > start => {
                held.runs.insert(start, end);
                ControlFlow::Continue(())
            }
            _ => {
                damaged = Some(start);
                ControlFlow::Break(())
            }
        })?;
        match damaged {
            None => Ok(held),
            Some(start) => Err(StorageError::Damaged {
                slot: Slot::new(Table::Bits, start),
                detail: "not a run of blocks",
            }),
        }
    }

    pub const fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// How many runs lie past the contiguous blocks.
    pub fn runs(&self) -> u64 {
        self.runs.len() as u64
    }

    pub fn contains(&self, block: u64) -> bool {
        block < self.contiguous || self.run_at(block).is_some()
    }

    fn run_at(&self, block: u64) -> Option<Range<u64>> {
        let (start, end) = self.runs.range(..=block).next_back()?;
        (block < *end).then_some(*start..*end)
    }

    /// The held run that holds `block` or is the next after it, cut to begin no earlier than `block`.
    pub fn next_held(&self, block: u64) -> Option<Range<u64>> {
        if block < self.contiguous {
            return Some(block..self.contiguous);
        }
        if let Some(run) = self.run_at(block) {
            return Some(block..run.end);
        }
        self.runs.range(block..).next().map(|(start, end)| *start..*end)
    }

    /// The last run of held blocks.
    pub fn last(&self) -> Range<u64> {
        self.runs.last_key_value().map_or(0..self.contiguous, |(start, end)| *start..*end)
    }

    /// The first block not held, at or after `block`.
    pub fn next_missing(&self, block: u64) -> u64 {
        if block < self.contiguous {
            return self.contiguous;
        }
        self.run_at(block).map_or(block, |run| run.end)
    }

    /// How many blocks of `blocks` are held.
    pub fn count(&self, blocks: Range<u64>) -> u64 {
        let mut at = blocks.start;
        let mut count = 0;
        while let Some(run) = self.next_held(at).filter(|run| run.start < blocks.end) {
            count += run.end.min(blocks.end) - run.start;
            at = run.end;
        }
        count
    }

    /// Marks `blocks` as held.
    pub fn insert(&mut self, blocks: Range<u64>) {
        let mut blocks = blocks.start.max(self.contiguous)..blocks.end;
        if blocks.is_empty() {
            return;
        }
        // Everything that overlaps or touches becomes one run.
        let before = self.runs.range(..=blocks.start).next_back().map(|(start, end)| *start..*end);
        if let Some(before) = before.filter(|before| before.end >= blocks.start) {
            blocks = before.start..blocks.end.max(before.end);
        }
        while let Some((start, end)) =
            self.runs.range(blocks.start..=blocks.end).next().map(|(start, end)| (*start, *end))
        {
            blocks.end = blocks.end.max(end);
            self.set(start, None);
        }
        if blocks.start == self.contiguous {
            self.set_contiguous(blocks.end);
        } else {
            self.set(blocks.start, Some(blocks.end));
        }
    }

    /// Marks `blocks` as not held.
    pub fn remove(&mut self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        if blocks.start < self.contiguous {
            let rest = blocks.end..self.contiguous;
            self.set_contiguous(blocks.start);
            if !rest.is_empty() {
                self.set(rest.start, Some(rest.end));
            }
        }
        let first = self.run_at(blocks.start).map_or(blocks.start, |run| run.start);
        let hit: Vec<(u64, u64)> =
            self.runs.range(first..blocks.end).map(|(start, end)| (*start, *end)).collect();
        for (start, end) in hit {
            self.set(start, (start < blocks.start).then_some(blocks.start));
            if end > blocks.end {
                self.set(blocks.end, Some(end));
            }
        }
    }

    fn set_contiguous(&mut self, contiguous: u64) {
        self.undo.push(Undo::Contiguous(self.contiguous));
        self.contiguous = contiguous;
    }

    fn set(&mut self, start: u64, end: Option<u64>) {
        let was = match end {
            Some(end) => self.runs.insert(start, end),
            None => self.runs.remove(&start),
        };
        self.undo.push(Undo::Run { start, was });
    }

    /// Writes what changed since the last [`accept`](Self::accept) into `batch`, without the contiguous length.
    pub fn changes(&self, batch: &mut Batch) {
        let mut starts: Vec<u64> = self
            .undo
            .iter()
            .filter_map(|undo| if let Undo::Run { start, .. } = undo { Some(*start) } else { None })
            .collect();
        starts.sort_unstable();
        starts.dedup();
        for start in starts {
            let slot = Slot::new(Table::Bits, start);
            match self.runs.get(&start) {
                Some(end) => {
                    let mut to = Vec::with_capacity(9);
                    to.uint(*end);
                    batch.put(slot, to);
                }
                None => batch.delete(slot),
            }
        }
    }

    /// The changes are on disk.
    pub fn accept(&mut self) {
        self.undo.clear();
    }

    /// The changes could not be written: everything is as before.
    pub fn undo(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Contiguous(was) => self.contiguous = was,
                Undo::Run { start, was: Some(end) } => {
                    self.runs.insert(start, end);
                }
                Undo::Run { start, was: None } => {
                    self.runs.remove(&start);
                }
            }
        }
    }
}

fn decode(value: &[u8]) -> Result<u64, CodecError> {
    let mut reader = Reader::new(value);
    let end = reader.uint()?;
    reader.finish()?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, MemoryStorage};
    use std::collections::BTreeSet;

    /// A number from a seed (SplitMix64).
    fn next(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn agree(held: &Held, model: &BTreeSet<u64>) {
        let contiguous = (0..).find(|block| !model.contains(block)).unwrap();
        assert_eq!(held.contiguous(), contiguous);
        for block in 0..140 {
            assert_eq!(held.contains(block), model.contains(&block), "{block}");
            assert_eq!(held.next_missing(block), (block..).find(|b| !model.contains(b)).unwrap());
            assert_eq!(held.next_held(block).map(|run| run.start), model.range(block..).next().copied());
            assert_eq!(held.count(block..100), model.range(block..block.max(100)).count() as u64);
        }
    }

    #[test]
    fn a_set_of_numbers_agrees_and_the_disk_too() {
        for seed in 0..60 {
            println!("seed {seed}");
            let (mut held, mut model, mut storage) = (Held::default(), BTreeSet::new(), MemoryStorage::new());
            let mut seed = seed;
            for _ in 0..60 {
                let start = next(&mut seed) % 120;
                let blocks = start..start + next(&mut seed) % 12;
                let (was, model_was) = (held.clone(), model.clone());
                if next(&mut seed).is_multiple_of(3) {
                    held.remove(blocks.clone());
                    model.retain(|block| !blocks.contains(block));
                } else {
                    held.insert(blocks.clone());
                    model.extend(blocks);
                }
                if next(&mut seed).is_multiple_of(4) {
                    held.undo();
                    assert_eq!(held, was);
                    model = model_was;
                } else {
                    let mut batch = Batch::new();
                    held.changes(&mut batch);
                    storage.commit(batch, Durability::Relaxed).unwrap();
                    held.accept();
                }
                agree(&held, &model);
                assert_eq!(Held::load(&storage, held.contiguous(), held.runs()).unwrap(), held);
            }
        }
    }
}
