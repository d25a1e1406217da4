use crate::{Batch, Change, Durability, Feed, FeedError, KeyPair, Slot, Storage, StorageError, Table};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// A log in memory behind the [`Feed`] trait. Clones are the same log.
#[derive(Clone)]
pub struct MemoryFeed {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    key: [u8; 32],
    blocks: Vec<Option<Bytes>>,
    sizes: Vec<u64>,
    fork: u64,
    user: BTreeMap<String, Bytes>,
}

impl MemoryFeed {
    /// A new empty log that `key_pair` signs.
    pub fn create(key_pair: KeyPair) -> Self {
        let state = State {
            key: key_pair.public_key(),
            blocks: Vec::new(),
            sizes: Vec::new(),
            fork: 0,
            user: BTreeMap::new(),
        };
        MemoryFeed { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed for MemoryFeed {
    fn key(&self) -> [u8; 32] {
        self.lock().key
    }

    fn discovery_key(&self) -> [u8; 32] {
        self.lock().key
    }

    fn length(&self) -> u64 {
        self.lock().blocks.len() as u64
    }

    fn byte_length(&self) -> u64 {
        self.lock().sizes.iter().sum()
    }

    fn fork(&self) -> u64 {
        self.lock().fork
    }

    fn writable(&self) -> bool {
        true
    }

    fn get(&self, index: u64) -> Result<Bytes, FeedError> {
        self.get_local(index)?.ok_or(FeedError::Unavailable { index })
    }

    fn get_local(&self, index: u64) -> Result<Option<Bytes>, FeedError> {
        let state = self.lock();
        let block = state.blocks.get(index as usize);
        block.cloned().ok_or(FeedError::OutOfRange { index, length: state.blocks.len() as u64 })
    }

    fn append(&self, blocks: &[Bytes]) -> Result<u64, FeedError> {
        let mut state = self.lock();
        let first = state.blocks.len() as u64;
        state.blocks.extend(blocks.iter().cloned().map(Some));
        state.sizes.extend(blocks.iter().map(|block| block.len() as u64));
        self.shared.changed.notify_all();
        Ok(first)
    }

    fn truncate(&self, length: u64) -> Result<(), FeedError> {
        let mut state = self.lock();
        state.blocks.truncate(length as usize);
        state.sizes.truncate(length as usize);
        state.fork += 1;
        self.shared.changed.notify_all();
        Ok(())
    }

    fn clear(&self, blocks: Range<u64>) -> Result<(), FeedError> {
        let mut state = self.lock();
        for block in state.blocks.iter_mut().take(blocks.end as usize).skip(blocks.start as usize) {
            *block = None;
        }
        Ok(())
    }

    fn seek(&self, byte: u64) -> Result<(u64, u64), FeedError> {
        let state = self.lock();
        let mut left = byte;
        for (index, size) in state.sizes.iter().enumerate() {
            if left < *size {
                return Ok((index as u64, left));
            }
            left -= size;
        }
        Ok((state.sizes.len() as u64, left))
    }

    fn prefetch(&self, _blocks: Range<u64>) {}

    fn wait_change(&self, seen: (u64, u64), timeout: Duration) -> (u64, u64) {
        let now = |state: &State| (state.fork, state.blocks.len() as u64);
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| now(state) == seen)
            .unwrap_or_else(PoisonError::into_inner);
        now(&state)
    }

    fn user_data(&self, name: &str) -> Result<Option<Bytes>, FeedError> {
        Ok(self.lock().user.get(name).cloned())
    }

    fn set_user_data(&self, name: &str, value: Option<Bytes>) -> Result<(), FeedError> {
        let mut state = self.lock();
        match value {
            Some(value) => state.user.insert(name.to_owned(), value),
            None => state.user.remove(name),
        };
        Ok(())
    }
}
