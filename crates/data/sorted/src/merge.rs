//! Many sorted sources as one: of equal keys the newest source's entry counts.

use crate::load::Load;
use crate::run::RunCursor;
use crate::table::TableCursor;
use crate::{Order, ReadError};
use bytes::Bytes;
use std::cmp::Ordering;

/// Something with entries in order.
#[derive(Debug)]
pub(crate) enum Source {
    Table(TableCursor),
    Run(RunCursor),
}

impl Source {
    fn key(&self) -> Option<&[u8]> {
        match self {
            Source::Table(cursor) => cursor.entry().map(|entry| entry.key()),
            Source::Run(cursor) => cursor.key(),
        }
    }

    fn value(&self) -> Option<Bytes> {
        match self {
            Source::Table(cursor) => cursor.entry()?.to_value(),
            Source::Run(cursor) => cursor.value(),
        }
    }

    fn value_bytes(&self) -> Option<&[u8]> {
        match self {
            Source::Table(cursor) => cursor.entry()?.value(),
            Source::Run(cursor) => cursor.value_bytes(),
        }
    }

    fn advance(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        match self {
            Source::Table(cursor) => cursor.advance(),
            Source::Run(cursor) => cursor.advance(load)?,
        }
        Ok(())
    }
}

/// At the first entry of all sources that are not at their end.
#[derive(Debug)]
pub(crate) struct Merge {
    /// Newest first.
    sources: Vec<Source>,
    /// A binary heap of sources that have an entry; the one whose entry counts is on top.
    heap: Vec<usize>,
    order: Order,
    passed: Vec<u8>,
}

impl Merge {
    /// `sources`: newest first.
    pub fn new(sources: Vec<Source>, order: Order) -> Self {
        let heap = (0..sources.len()).filter(|&source| sources[source].key().is_some()).collect();
        let mut merge = Merge { sources, heap, order, passed: Vec::new() };
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(at);
        }
        merge
    }

    /// None past the last.
    pub fn key(&self) -> Option<&[u8]> {
        self.sources[*self.heap.first()?].key()
    }

    /// None when the key was deleted, or past the last.
    pub fn value(&self) -> Option<Bytes> {
        self.sources[*self.heap.first()?].value()
    }

    /// As [`value`](Self::value), borrowed.
    pub fn value_bytes(&self) -> Option<&[u8]> {
        self.sources[*self.heap.first()?].value_bytes()
    }

    /// Whether the entry there says that its key was deleted.
    pub fn is_deleted(&self) -> bool {
        self.key().is_some() && self.value_bytes().is_none()
    }

    /// To the next key, past what older sources say of this one.
    pub fn advance(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        let mut passed = std::mem::take(&mut self.passed);
        passed.clear();
        passed.extend_from_slice(self.key().unwrap_or_default());
        while let Some(&top) = self.heap.first() {
            if self.sources[top].key() != Some(&passed) {
                break;
            }
            self.sources[top].advance(load)?;
            if self.sources[top].key().is_none() {
                self.heap.swap_remove(0);
            }
            self.sift_down(0);
        }
        self.passed = passed;
        Ok(())
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.before(self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn before(&self, a: usize, b: usize) -> bool {
        let keys = self.sources[a].key().cmp(&self.sources[b].key());
        let keys = match self.order {
            Order::Ascending => keys,
            Order::Descending => keys.reverse(),
        };
        keys.then(a.cmp(&b)) == Ordering::Less
    }
}
