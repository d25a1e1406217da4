//! A device's disk: everything it writes goes into one journal, as in the real store, and a crash keeps a beginning of it.

use bytes::Bytes;
use cloudpal_db::WriterId;
use cloudpal_sorted::{Change, Pages, PagesError};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was written, in order.
#[derive(Debug, Clone)]
enum Write {
    /// Blocks of a log, from a position on: all or none.
    Blocks(WriterId, u64, Vec<Bytes>),
    Pages(Vec<Change>),
    /// Blocks of a log that are forgotten.
    Cleared(WriterId, Range<u64>),
}

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    journal: Vec<Write>,
    synced: usize,
    logs: BTreeMap<WriterId, BTreeMap<u64, Bytes>>,
    pages: BTreeMap<u64, Bytes>,
}

impl State {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Blocks(writer, position, blocks) => {
                self.logs.entry(*writer).or_default().extend((*position..).zip(blocks.iter().cloned()));
            }
            Write::Cleared(writer, blocks) => {
                let log = self.logs.entry(*writer).or_default();
                let last = log.keys().last().copied();
                // The length of a log stays known.
                log.retain(|position, _| !blocks.contains(position) || Some(*position) == last);
            }
            Write::Pages(changes) => {
                for change in changes {
                    match change {
                        Change::Put(page, bytes) => {
                            self.pages.insert(*page, bytes.clone());
                        }
                        Change::Delete(range) => self.pages.retain(|page, _| !range.contains(page)),
                    }
                }
            }
        }
    }

    fn write(&mut self, write: Write) {
        self.apply(&write);
        self.journal.push(write);
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes blocks of a log from `position` on, all or none.
    pub fn put(&self, writer: WriterId, position: u64, blocks: Vec<Bytes>) {
        self.state().write(Write::Blocks(writer, position, blocks));
    }

    /// Forgets blocks of a log.
    pub fn clear(&self, writer: WriterId, blocks: Range<u64>) {
        self.state().write(Write::Cleared(writer, blocks));
    }

    /// A block of a log, if it is here.
    pub fn get(&self, writer: &WriterId, position: u64) -> Option<Bytes> {
        self.state().logs.get(writer)?.get(&position).cloned()
    }

    /// One behind the last block of a log that is here.
    pub fn length(&self, writer: &WriterId) -> u64 {
        let state = self.state();
        state.logs.get(writer).and_then(|log| log.keys().last()).map_or(0, |last| last + 1)
    }

    /// The logs of which something is here.
    pub fn logs(&self) -> Vec<WriterId> {
        self.state().logs.keys().copied().collect()
    }

    /// Everything so far survives a crash.
    pub fn sync(&self) {
        let mut state = self.state();
        state.synced = state.journal.len();
    }

    /// Writes that a crash may lose.
    pub fn unsynced(&self) -> usize {
        let state = self.state();
        state.journal.len() - state.synced
    }

    /// Loses all but `kept` of the writes that were not synced. What is left is a disk of its own: who still holds the old one writes
    /// into nothing.
    pub fn crash(&self, kept: usize) -> Disk {
        let state = self.state();
        let mut left = State { synced: state.synced, ..State::default() };
        for write in &state.journal[..(state.synced + kept).min(state.journal.len())] {
            left.write(write.clone());
        }
        left.synced = left.journal.len();
        Disk(Arc::new(Mutex::new(left)))
    }

    /// A copy with the logs only.
    pub fn without_pages(&self) -> Disk {
        let left = Disk::default();
        for (writer, log) in &self.state().logs {
            log.iter().for_each(|(position, block)| left.put(*writer, *position, vec![block.clone()]));
        }
        left.sync();
        left
    }

    /// A copy with the logs only, and of those not `block`.
    pub fn without(&self, (writer, position): (WriterId, u64)) -> Disk {
        let left = self.without_pages();
        left.state().logs.entry(writer).or_default().remove(&position);
        left.state()
            .journal
            .retain(|write| !matches!(write, Write::Blocks(of, at, _) if (*of, *at) == (writer, position)));
        left.sync();
        left
    }

    /// A copy as a backup makes one.
    pub fn copy(&self) -> Disk {
        self.crash(usize::MAX / 2)
    }
}

impl Pages for Disk {
    fn get(&self, page: u64) -> Result<Option<Bytes>, PagesError> {
        Ok(self.state().pages.get(&page).cloned())
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), PagesError> {
        self.state().write(Write::Pages(changes));
        Ok(())
    }

    fn list(
        &self,
        pages: Range<u64>,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), PagesError> {
        let numbers: Vec<u64> = self.state().pages.range(pages).map(|(page, _)| *page).collect();
        let _ = numbers.into_iter().try_for_each(visit);
        Ok(())
    }
}
