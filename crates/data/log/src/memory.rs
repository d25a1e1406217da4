use crate::{Batch, Change, Durability, Slot, Storage, StorageError, Table};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Storage in memory, for tests and for logs that need not last. Clones share the same memory, so a test can open a
/// log again over what another one left.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: BTreeMap<Slot, Bytes>,
    crash: Option<Crash>,
    commits_left: Option<u64>,
}

/// What a loss of power would leave.
#[derive(Debug)]
struct Crash {
    synced: BTreeMap<Slot, Bytes>,
    since: Vec<Batch>,
}

impl MemoryStorage {
    /// Empty storage.
    pub fn new() -> Self {
        MemoryStorage::default()
    }

    /// Empty storage that remembers what was synced, so that [`crash`](Self::crash) can lose the rest. It takes
    /// twice the memory.
    pub fn with_crashes() -> Self {
        let storage = MemoryStorage::default();
        storage.lock().crash = Some(Crash { synced: BTreeMap::new(), since: Vec::new() });
        storage
    }

    /// Loses power: of the batches committed since the last sync the first `keep` remain. Does nothing unless made
    /// by [`with_crashes`](Self::with_crashes).
    pub fn crash(&self, keep: usize) {
        let mut inner = self.lock();
        let Some(crash) = &mut inner.crash else { return };
        for batch in crash.since.drain(..).take(keep) {
            apply(&mut crash.synced, batch.into_changes());
        }
        inner.slots = crash.synced.clone();
    }

    /// How many batches a loss of power could lose now.
    pub fn unsynced(&self) -> usize {
        self.lock().crash.as_ref().map_or(0, |crash| crash.since.len())
    }

    /// Lets `commits` more commits pass, then fails each with [`StorageError::Full`]; none takes the limit away.
    pub fn fail_after(&self, commits: Option<u64>) {
        self.lock().commits_left = commits;
    }

    /// Replaces what lies in a slot behind the log's back, or empties it: damage, for tests.
    pub fn damage(&self, slot: Slot, value: Option<Bytes>) {
        let mut inner = self.lock();
        match value {
            Some(value) => inner.slots.insert(slot, value),
            None => inner.slots.remove(&slot),
        };
    }

    /// All filled slots with what lies in them.
    pub fn dump(&self) -> Vec<(Slot, Bytes)> {
        self.lock().slots.iter().map(|(slot, value)| (*slot, value.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(slots: &mut BTreeMap<Slot, Bytes>, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Put(slot, value) => {
                slots.insert(slot, value);
            }
            Change::Delete(slot) => {
                slots.remove(&slot);
            }
            Change::DeleteRange(table, keys) => {
                let range = Slot::new(table, keys.start)..Slot::new(table, keys.end);
                let gone: Vec<Slot> = slots.range(range).map(|(slot, _)| *slot).collect();
                for slot in gone {
                    slots.remove(&slot);
                }
            }
        }
    }
}

impl Storage for MemoryStorage {
    fn get(&self, slot: Slot) -> Result<Option<Bytes>, StorageError> {
        Ok(self.lock().slots.get(&slot).cloned())
    }

    fn range(
        &self,
        table: Table,
        keys: Range<u64>,
        visit: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        if keys.is_empty() {
            return Ok(());
        }
        let range = Slot::new(table, keys.start)..Slot::new(table, keys.end);
        for (slot, value) in self.lock().slots.range(range) {
            if visit(slot.key, value.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        let mut inner = self.lock();
        match &mut inner.commits_left {
            Some(0) => return Err(StorageError::Full),
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some(crash) = &mut inner.crash {
            crash.since.push(batch.clone());
        }
        apply(&mut inner.slots, batch.into_changes());
        drop(inner);
        match durability {
            Durability::Relaxed => Ok(()),
            Durability::Durable => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), StorageError> {
        if let Some(crash) = &mut self.lock().crash {
            for batch in crash.since.drain(..) {
                apply(&mut crash.synced, batch.into_changes());
            }
        }
        Ok(())
    }
}
