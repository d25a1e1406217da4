//! A segment: a stretch of a run, some MiB of blocks and one index page. It is written once and never changes.

mod block;
mod index;
mod writer;

pub(crate) use block::{Block, Interval};
use bytes::Bytes;
pub(crate) use index::Index;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
pub(crate) use writer::SegmentWriter;

/// What the manifest says of a segment. Clones share the body.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub first: Bytes,
    pub last: Bytes,
    pub sizes: Sizes,
    pub body: Arc<Body>,
}

/// What a segment has, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Blocks; the index has this number.
    pub blocks: u32,
    /// Bytes of all pages.
    pub bytes: u64,
    /// Entries, deletions included.
    pub entries: u64,
    pub deletions: u64,
}

impl std::ops::AddAssign for Sizes {
    fn add_assign(&mut self, other: Sizes) {
        self.blocks = self.blocks.saturating_add(other.blocks);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.entries = self.entries.saturating_add(other.entries);
        self.deletions = self.deletions.saturating_add(other.deletions);
    }
}

/// The pages of a segment, as far as they are to be kept. When the last holder of one goes that the manifest does not
/// name, its number goes to the garbage.
#[derive(Debug)]
pub(crate) struct Body {
    id: u32,
    kept: AtomicBool,
    garbage: Arc<Garbage>,
}

impl Body {
    /// Pages that nobody knows of yet.
    pub fn new(id: u32, garbage: Arc<Garbage>) -> Self {
        Body { id, kept: AtomicBool::new(false), garbage }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// The manifest names it now.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// The manifest does not name it any more.
    pub fn retire(&self) {
        self.kept.store(false, Ordering::Release);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Acquire) {
            self.garbage.add([self.id]);
        }
    }
}

/// Segments whose pages can be deleted: neither the manifest nor a snapshot needs them.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    ids: Mutex<Vec<u32>>,
}

impl Garbage {
    pub fn add(&self, ids: impl IntoIterator<Item = u32>) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    pub fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn is_empty(&self) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
