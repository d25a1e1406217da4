use crate::{Change, Pages, PagesError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pages in memory, for tests and simulators. Clones share the same memory, so a test can open a map again over what
/// another one left.
#[derive(Debug, Clone, Default)]
pub struct MemoryPages {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    pages: BTreeMap<u64, Bytes>,
    bytes: u64,
    written: u64,
    crash: Option<Crash>,
    commits_left: Option<u64>,
}

/// What a loss of power would leave.
#[derive(Debug, Default)]
struct Crash {
    synced: BTreeMap<u64, Bytes>,
    since: Vec<Vec<Change>>,
}

impl MemoryPages {
    /// No pages.
    pub fn new() -> Self {
        MemoryPages::default()
    }

    /// No pages, and a memory of what was synced, so that [`crash`](Self::crash) can lose the rest.
    pub fn with_crashes() -> Self {
        let pages = MemoryPages::default();
        pages.lock().crash = Some(Crash::default());
        pages
    }

    /// From here on a crash keeps everything committed until now.
    pub fn sync(&self) {
        let inner = &mut *self.lock();
        if let Some(crash) = &mut inner.crash {
            crash.since.clear();
            crash.synced = inner.pages.clone();
        }
    }

    /// Loses power: of the commits made since the last sync the first `keep` remain. Does nothing unless made by
    /// [`with_crashes`](Self::with_crashes).
    pub fn crash(&self, keep: usize) {
        let inner = &mut *self.lock();
        let Some(crash) = &mut inner.crash else { return };
        for changes in crash.since.drain(..).take(keep) {
            apply(&mut crash.synced, changes);
        }
        inner.pages = crash.synced.clone();
        inner.bytes = inner.pages.values().map(|page| page.len() as u64).sum();
    }

    /// How many commits a loss of power could lose now.
    pub fn unsynced(&self) -> usize {
        self.lock().crash.as_ref().map_or(0, |crash| crash.since.len())
    }

    /// Lets `commits` more commits pass, then fails each with [`PagesError::Full`]; none takes the limit away.
    pub fn fail_after(&self, commits: Option<u64>) {
        self.lock().commits_left = commits;
    }

    /// Replaces or removes one page behind the map's back, as damage would.
    pub fn damage(&self, page: u64, body: Option<Bytes>) {
        let inner = &mut *self.lock();
        let change = match body {
            Some(body) => Change::Put(page, body),
            None => Change::Delete(page..page + 1),
        };
        let (put, freed) = apply(&mut inner.pages, vec![change]);
        inner.bytes = (inner.bytes + put).saturating_sub(freed);
    }

    /// The numbers of all pages, in rising order.
    pub fn numbers(&self) -> Vec<u64> {
        self.lock().pages.keys().copied().collect()
    }

    /// Bytes of all pages there are.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Bytes of all pages ever put: divided by what a caller wrote, the write amplification.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages for MemoryPages {
    fn get(&self, page: u64) -> Result<Option<Bytes>, PagesError> {
        Ok(self.lock().pages.get(&page).cloned())
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), PagesError> {
        let inner = &mut *self.lock();
        match &mut inner.commits_left {
            Some(0) => return Err(PagesError::Full),
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some(crash) = &mut inner.crash {
            crash.since.push(changes.clone());
        }
        let (put, freed) = apply(&mut inner.pages, changes);
        inner.written += put;
        inner.bytes = (inner.bytes + put).saturating_sub(freed);
        Ok(())
    }

    fn list(
        &self,
        pages: Range<u64>,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), PagesError> {
        let numbers: Vec<u64> = self.lock().pages.range(pages).map(|(number, _)| *number).collect();
        let _ = numbers.into_iter().try_for_each(visit);
        Ok(())
    }
}

/// Bytes put, and bytes that went.
fn apply(pages: &mut BTreeMap<u64, Bytes>, changes: Vec<Change>) -> (u64, u64) {
    let (mut put, mut freed) = (0, 0);
    for change in changes {
        match change {
            Change::Put(page, body) => {
                put += body.len() as u64;
                freed += pages.insert(page, body).map_or(0, |old| old.len() as u64);
            }
            Change::Delete(range) => {
                while let Some((&page, _)) = pages.range(range.clone()).next() {
                    freed += pages.remove(&page).map_or(0, |old| old.len() as u64);
                }
            }
        }
    }
    (put, freed)
}
