//! What all handles, snapshots and cursors of one map share.

use crate::load::{PageCache, Source, ThroughCache};
use crate::lock::{lock, read, write};
use crate::manifest;
use crate::pages::{Change, MANIFEST, SEGMENTS, pages_of};
use crate::segment::{Body, Garbage, Segment};
use crate::table::{Entry, Table};
use crate::version::Version;
use crate::{Options, Pages, PagesError, WriteError};
use bytes::Bytes;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// Locks are taken in the order in which they stand here.
#[derive(Debug)]
pub(crate) struct Shared<P> {
    pub pages: P,
    pub options: Options,
    pub cache: PageCache,
    /// The last segment of which a page was found that is not what was written there; 0 if there was none.
    pub damaged: AtomicU32,
    pub garbage: Arc<Garbage>,
    next_segment: AtomicU32,
    /// Held for a step of compaction.
    pub compacting: Mutex<()>,
    /// Held for a flush.
    pub flushing: Mutex<()>,
    /// Held from reading the version until the next one is committed and published.
    manifest: Mutex<()>,
    pub state: RwLock<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// What was written since the last flush began.
    pub active: Table,
    /// What is being flushed, newest first: more than one when a flush failed.
    pub frozen: Vec<Table>,
    /// How far `frozen` goes. None when there is nothing to flush.
    pub frozen_mark: Option<Bytes>,
    pub version: Arc<Version>,
}

impl State {
    /// What memory says of a key.
    pub fn find(&self, key: &[u8]) -> Option<&Entry> {
        self.active.get(key).or_else(|| self.frozen.iter().find_map(|table| table.get(key)))
    }
}

impl<P: Pages> Shared<P> {
    pub fn new(pages: P, options: Options, version: Version, garbage: Arc<Garbage>) -> Self {
        let last = version.segments().map(|segment| segment.body.id()).max().unwrap_or(0);
        Shared {
            pages,
            options,
            cache: PageCache::new(options.cache(), options.block),
            damaged: AtomicU32::new(0),
            garbage,
            next_segment: AtomicU32::new(last + 1),
            compacting: Mutex::default(),
            flushing: Mutex::default(),
            manifest: Mutex::default(),
            state: RwLock::new(State { version: Arc::new(version), ..State::default() }),
        }
    }

    pub fn load(&self) -> ThroughCache<'_, P> {
        ThroughCache { source: self.source(), cache: &self.cache }
    }

    pub fn source(&self) -> Source<'_, P> {
        Source { pages: &self.pages, damaged: &self.damaged }
    }

    /// A number for a new segment. None comes twice.
    pub fn new_segment(&self) -> Result<Arc<Body>, WriteError> {
        let id = self.next_segment.fetch_add(1, Ordering::Relaxed);
        if id >= SEGMENTS {
            self.next_segment.store(SEGMENTS, Ordering::Relaxed);
            return Err(WriteError::Exhausted);
        }
        Ok(Arc::new(Body::new(id, self.garbage.clone())))
    }

    pub fn version(&self) -> Arc<Version> {
        read(&self.state).version.clone()
    }

    /// Replaces the version by one that needs no commit: one that says the same in another way.
    pub fn restate<T>(&self, edit: impl FnOnce(&Version) -> (Option<Version>, T)) -> T {
        let _manifest = lock(&self.manifest);
        let (version, result) = edit(&self.version());
        if let Some(version) = version {
            write(&self.state).version = Arc::new(version);
        }
        result
    }

    /// Commits `changes` together with the version that `edit` makes of the present one, deletes garbage on the way, and
    /// then lets everyone see it; `then` goes with that. Segments in `retired` are not in the new version.
    pub fn publish(
        &self,
        mut changes: Vec<Change>,
        retired: &[Segment],
        edit: impl FnOnce(&Version) -> Version,
        then: impl FnOnce(&mut State),
    ) -> Result<(), PagesError> {
        let _manifest = lock(&self.manifest);
        let version = edit(&self.version());
        changes.push(Change::Put(MANIFEST, manifest::encode(&version)));
        self.commit_with_garbage(changes)?;
        version.segments().for_each(|segment| segment.body.keep());
        retired.iter().for_each(|segment| segment.body.retire());
        let mut state = write(&self.state);
        let before = std::mem::replace(&mut state.version, Arc::new(version));
        then(&mut state);
        drop(state);
        drop(before);
        Ok(())
    }

    /// Deletes the pages of segments that nobody needs.
    pub fn sweep(&self) -> Result<(), PagesError> {
        let _manifest = lock(&self.manifest);
        if self.garbage.is_empty() { Ok(()) } else { self.commit_with_garbage(Vec::new()) }
    }

    fn commit_with_garbage(&self, mut changes: Vec<Change>) -> Result<(), PagesError> {
        let garbage = self.garbage.take();
        changes.extend(garbage.iter().map(|id| Change::Delete(pages_of(*id..*id + 1))));
        self.pages.commit(changes).inspect_err(|_| self.garbage.add(garbage))
    }
}
