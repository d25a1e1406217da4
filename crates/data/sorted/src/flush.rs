use crate::load::Straight;
use crate::lock::{lock, read, write};
use crate::merge::{Merge, Source};
use crate::run::Run;
use crate::segment::{Segment, SegmentWriter};
use crate::shared::Shared;
use crate::table::{Table, TableCursor};
use crate::version::{Slot, Version};
use crate::{Change, Order, Pages, Sorted, WriteError};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

impl<P: Pages> Sorted<P> {
    /// Writes what is in memory as a run, in one commit with `mark`, which says how far the caller has come. With
    /// nothing in memory only the mark is written.
    ///
    /// After an error everything is still in memory; the next flush writes it too.
    pub fn flush(&self, mark: Bytes) -> Result<(), WriteError> {
        self.freeze(mark);
        self.flush_frozen()
    }

    /// The first half of a flush: what is in memory now, and `mark`, are what the second half will write. It takes no
    /// time, so a writer can go on while another thread calls [`flush_frozen`](Self::flush_frozen).
    pub fn freeze(&self, mark: Bytes) {
        let state = &mut *write(&self.shared.state);
        if !state.active.is_empty() {
            state.frozen.insert(0, std::mem::take(&mut state.active));
        }
        state.frozen_mark = Some(mark);
    }

    /// The second half of a flush. Does nothing when nothing is frozen.
    pub fn flush_frozen(&self) -> Result<(), WriteError> {
        let shared = &*self.shared;
        let _flushing = lock(&shared.flushing);
        let state = read(&shared.state);
        let Some(mark) = state.frozen_mark.clone() else { return Ok(()) };
        let (frozen, below) = (state.frozen.clone(), state.version.clone());
        drop(state);
        // Only a flush adds runs, so there will be nothing below this one either when it is published.
        let deletions = if below.slots.is_empty() { Deletions::Drop } else { Deletions::Keep };
        drop(below);
        let (segments, changes) = shared.write_tables(&frozen, deletions)?;
        let count = frozen.len();
        let edit = |version: &Version| {
            let run = (!segments.is_empty()).then(|| Slot::Run(Arc::new(Run { segments })));
            Version {
                slots: run.into_iter().chain(version.slots.iter().cloned()).collect(),
                mark: Some(mark.clone()),
            }
        };
        shared.publish(changes, &[], edit, |state| {
            state.frozen.truncate(state.frozen.len() - count);
            // Another freeze may have come since.
            if state.frozen.is_empty() && state.frozen_mark.as_ref() == Some(&mark) {
                state.frozen_mark = None;
            }
        })?;
        Ok(())
    }
}

/// What becomes of entries that say that a key was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletions {
    /// There may be older entries below that they hide.
    Keep,
    /// There is nothing below.
    Drop,
}

impl<P: Pages> Shared<P> {
    fn write_tables(
        &self,
        tables: &[Table],
        deletions: Deletions,
    ) -> Result<(Vec<Segment>, Vec<Change>), WriteError> {
        let order = Order::Ascending;
        let cursors =
            tables.iter().map(|table| Source::Table(TableCursor::new(table, Bound::Unbounded, order)));
        let mut merge = Merge::new(cursors.collect(), order);
        let load = Straight::new(self.source());
        let mut writing = Writing::new(self);
        while let Some(key) = merge.key() {
            let value = merge.value_bytes();
            if value.is_some() || deletions == Deletions::Keep {
                writing.add(key, value)?;
            }
            merge.advance(&load)?;
        }
        writing.finish()
    }
}

/// Writes segments. Pages are committed as they come, all but the last, so that few are in memory; before the manifest
/// names them they are nobody's.
pub(crate) struct Writing<'a, P> {
    shared: &'a Shared<P>,
    segments: Vec<Segment>,
    current: Option<SegmentWriter>,
    pending: Vec<Change>,
}

/// Bytes of pages that are committed together.
const CHUNK: usize = 1 << 20;

impl<'a, P: Pages> Writing<'a, P> {
    pub fn new(shared: &'a Shared<P>) -> Self {
        Writing { shared, segments: Vec::new(), current: None, pending: Vec::new() }
    }

    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), WriteError> {
        let shared = self.shared;
        let current = match &mut self.current {
            Some(current) => current,
            none => none.insert(SegmentWriter::new(shared.new_segment()?, shared.options.block)),
        };
        current.add(key, value);
        if current.ready() >= CHUNK {
            let mut changes = std::mem::take(&mut self.pending);
            changes.append(&mut current.take());
            shared.pages.commit(changes)?;
        }
        if current.bytes() >= shared.options.segment as u64 {
            self.end_segment();
        }
        Ok(())
    }

    /// How many segments are whole.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The segments, and those of their pages that are to be committed together with the manifest.
    pub fn finish(mut self) -> Result<(Vec<Segment>, Vec<Change>), WriteError> {
        self.end_segment();
        Ok((self.segments, self.pending))
    }

    fn end_segment(&mut self) {
        if let Some((segment, mut changes)) = self.current.take().and_then(SegmentWriter::finish) {
            self.segments.push(segment);
            self.pending.append(&mut changes);
        }
    }
}
