//! Reading rows: from a snapshot of the view, and from one with changes that are not in it yet.

use crate::error::ReadError;
use bytes::Bytes;
use cloudpal_sorted::{Order, Pages, Snapshot};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Looks at rows in rising order until told to stop.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &Bytes) -> ControlFlow<()> + 'a;

pub(crate) trait Rows {
    fn get(&self, row: &[u8]) -> Result<Option<Bytes>, ReadError>;
    /// Rows from `from` up to, not including, `to` (none: to the end), rising.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), ReadError>;

    /// All rows that begin with `prefix`.
    fn under(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), ReadError> {
        self.scan(prefix, crate::row::end(prefix).as_deref(), visit)
    }
}

impl<P: Pages> Rows for Snapshot<P> {
    fn get(&self, row: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(Snapshot::get(self, row)?)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        Ok(Snapshot::scan(self, bounds, Order::Ascending, visit)?)
    }
}

/// Changed rows that are put into the view at once, and their bytes.
const AT_ONCE: usize = 4096;
const BYTES_AT_ONCE: usize = 16 << 20;

/// A snapshot with changes on top.
pub(crate) struct Overlay<P: Pages> {
    base: Snapshot<P>,
    changes: BTreeMap<Bytes, Option<Bytes>>,
    /// What each change since [`begin`](Self::begin) put out of its place.
    undo: Vec<(Bytes, Option<Option<Bytes>>)>,
    /// Bytes of all changes ever made to it.
    bytes: usize,
}

impl<P: Pages> Overlay<P> {
    pub fn new(base: Snapshot<P>) -> Self {
        Overlay { base, changes: BTreeMap::new(), undo: Vec::new(), bytes: 0 }
    }

    pub fn put(&mut self, row: Bytes, value: Bytes) {
        self.change(row, Some(value));
    }

    pub fn remove(&mut self, row: Bytes) {
        self.change(row, None);
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether it is time to put the changes into the view.
    pub fn is_large(&self) -> bool {
        self.changes.len() >= AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }

    /// The changes, for the view.
    pub fn into_batch(self) -> cloudpal_sorted::Batch {
        let mut batch = cloudpal_sorted::Batch::new();
        for (row, change) in self.changes {
            match change {
                Some(value) => batch.put(row, value),
                None => batch.delete(row),
            }
        }
        batch
    }

    /// From here on changes can be taken back.
    pub fn begin(&mut self) {
        self.undo.clear();
    }

    /// Takes back what changed since [`begin`](Self::begin).
    pub fn take_back(&mut self) {
        for (row, before) in self.undo.drain(..).rev() {
            match before {
                Some(change) => self.changes.insert(row, change),
                None => self.changes.remove(&row),
            };
        }
    }

    fn change(&mut self, row: Bytes, change: Option<Bytes>) {
        self.bytes += row.len() + change.as_ref().map_or(0, Bytes::len);
        let before = self.changes.insert(row.clone(), change);
        self.undo.push((row, before));
    }
}

impl<P: Pages> Rows for Overlay<P> {
    fn get(&self, row: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.changes.get(row) {
            Some(change) => Ok(change.clone()),
            None => Rows::get(&self.base, row),
        }
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let mut changes = self.changes.range::<[u8], _>(bounds).peekable();
        let mut stopped = false;
        Rows::scan(&self.base, from, to, &mut |row, value| {
            while let Some((changed, change)) = changes.next_if(|(changed, _)| changed.as_ref() < row) {
                if change.as_ref().is_some_and(|value| visit(changed, value).is_break()) {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let shown = match changes.next_if(|(changed, _)| changed.as_ref() == row) {
                Some((_, change)) => change.as_ref(),
                None => Some(value),
            };
            let flow = shown.map_or(ControlFlow::Continue(()), |value| visit(row, value));
            stopped |= flow.is_break();
            flow
        })?;
        if !stopped {
            for (changed, change) in changes {
                if change.as_ref().is_some_and(|value| visit(changed, value).is_break()) {
                    break;
                }
            }
        }
        Ok(())
    }
}
