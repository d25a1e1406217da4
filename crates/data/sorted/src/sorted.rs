use crate::lock::{read, write};
use crate::pages::{Change, MANIFEST, SEGMENTS, page, pages_of};
use crate::segment::Garbage;
use crate::shared::Shared;
use crate::version::Version;
use crate::{Batch, OpenError, Options, Pages, PagesError, ReadError, Snapshot, manifest};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An ordered map. Handles are cheap to clone and share everything.
///
/// One thread writes at a time; any number read, and one compacts, beside it.
#[derive(Debug)]
pub struct Sorted<P> {
    pub(crate) shared: Arc<Shared<P>>,
}

impl<P> Clone for Sorted<P> {
    fn clone(&self) -> Self {
        Sorted { shared: self.shared.clone() }
    }
}

/// What a map takes at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of what is not flushed yet, about.
    pub memory: u64,
    /// Bytes of pages held in memory.
    pub cache: u64,
    /// Bytes of the pages of all runs, without those that only snapshots need.
    pub pages: u64,
    /// Runs that a read may have to look into.
    pub runs: usize,
    /// Entries in runs: live ones, deletions, and those that newer runs replace.
    pub entries: u64,
    /// How many of them are deletions.
    pub deletions: u64,
}

impl<P: Pages> Sorted<P> {
    /// Opens the map that these pages hold, an empty one if there are none, and removes pages that a crash left.
    ///
    /// It is as it was at the last flush that the keeper kept: apply what came after [`mark`](Self::mark) again.
    pub fn open(pages: P, options: Options) -> Result<Self, OpenError> {
        let garbage = Arc::new(Garbage::default());
        let version = read_manifest(&pages, &garbage)?;
        remove_orphans(&pages, &version).map_err(OpenError::Orphans)?;
        Ok(Sorted { shared: Arc::new(Shared::new(pages, options, version, garbage)) })
    }

    /// Removes all pages there are, whatever they hold, and opens an empty map: for one whose manifest is damaged.
    pub fn begin_anew(pages: P, options: Options) -> Result<Self, OpenError> {
        pages.commit(vec![Change::Delete(0..page(SEGMENTS, 0))]).map_err(OpenError::Orphans)?;
        Sorted::open(pages, options)
    }

    /// Whether a page of the map was found that is not what was written there: it is to be [cleared](Self::clear) and built again.
    pub fn is_damaged(&self) -> bool {
        let damaged = self.shared.damaged.load(Ordering::Acquire);
        damaged != 0 && self.shared.version().segments().any(|segment| segment.body.id() == damaged)
    }

    /// The mark of the last flush. None before the first, and after a [`clear`](Self::clear).
    pub fn mark(&self) -> Option<Bytes> {
        self.shared.version().mark.clone()
    }

    /// Applies a batch, in memory: snapshots see all of it or nothing.
    pub fn write(&self, batch: Batch) {
        let mut state = write(&self.shared.state);
        for entry in batch.entries {
            state.active.insert(entry);
        }
    }

    /// Whether so much is in memory that it is time for a [`flush`](Self::flush).
    pub fn full(&self) -> bool {
        read(&self.shared.state).active.bytes() >= self.shared.options.table()
    }

    /// The newest value of a key. None when it is not there.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let state = read(&self.shared.state);
        if let Some(entry) = state.find(key) {
            return Ok(entry.to_value());
        }
        let version = state.version.clone();
        drop(state);
        Ok(version.get(&self.shared.load(), key)?.flatten())
    }

    /// The map as it is now, whatever is written to it later. Nothing is copied; what is replaced later stays in memory,
    /// and in pages, until the snapshot goes.
    pub fn snapshot(&self) -> Snapshot<P> {
        let state = read(&self.shared.state);
        Snapshot {
            shared: self.shared.clone(),
            active: state.active.clone(),
            frozen: state.frozen.clone(),
            version: state.version.clone(),
        }
    }

    /// What the map takes.
    pub fn usage(&self) -> Usage {
        let state = read(&self.shared.state);
        let memory = state.active.bytes() + state.frozen.iter().map(|table| table.bytes()).sum::<usize>();
        let version = state.version.clone();
        drop(state);
        let sizes = version.sizes();
        Usage {
            memory: memory as u64,
            cache: self.shared.cache.bytes(),
            pages: sizes.bytes,
            runs: version.runs().filter(|run| !run.segments.is_empty()).count(),
            entries: sizes.entries,
            deletions: sizes.deletions,
        }
    }
}

fn read_manifest<P: Pages>(pages: &P, garbage: &Arc<Garbage>) -> Result<Version, OpenError> {
    let found = pages.get(MANIFEST).map_err(|source| ReadError::of(MANIFEST, source))?;
    let Some(page) = found else { return Ok(Version::default()) };
    match page.first() {
        Some(&found) if found > manifest::FORMAT => Err(OpenError::Newer { found, known: manifest::FORMAT }),
        _ => manifest::decode(&page, garbage)
            .map_err(|detail| ReadError::Damaged { page: MANIFEST, detail }.into()),
    }
}

/// Whatever lies between the segments of the manifest is of no use to anybody.
fn remove_orphans<P: Pages>(pages: &P, version: &Version) -> Result<(), PagesError> {
    let mut ids: Vec<u32> = version.segments().map(|segment| segment.body.id()).collect();
    ids.sort_unstable();
    ids.push(SEGMENTS);
    let mut changes = Vec::new();
    // Segment 0 has only the manifest.
    let mut from = 1;
    for id in ids {
        let gap = pages_of(from..id);
        let mut found = false;
        if !gap.is_empty() {
            pages.list(gap.clone(), &mut |_| {
                found = true;
                ControlFlow::Break(())
            })?;
        }
        if found {
            changes.push(Change::Delete(gap));
        }
        from = id.saturating_add(1);
    }
    if changes.is_empty() { Ok(()) } else { pages.commit(changes) }
}
