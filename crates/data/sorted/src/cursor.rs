use crate::merge::{Merge, Source};
use crate::run::RunCursor;
use crate::table::TableCursor;
use crate::{Bounds, Order, Pages, ReadError, Snapshot};
use bytes::Bytes;
use std::ops::Bound;

/// A place in a snapshot, and the way to the entries after it. As an iterator it gives keys with their values; an error
/// is the last thing it gives.
#[derive(Debug)]
pub struct Cursor<P> {
    snapshot: Snapshot<P>,
    merge: Merge,
    end: Bound<Bytes>,
    order: Order,
    failed: Option<ReadError>,
    ended: bool,
}

impl<P: Pages> Cursor<P> {
    pub(crate) fn new(snapshot: Snapshot<P>, bounds: Bounds<'_>, order: Order) -> Result<Self, ReadError> {
        let (from, end) = match order {
            Order::Ascending => bounds,
            Order::Descending => (bounds.1, bounds.0),
        };
        let load = snapshot.shared.load();
        let tables = [&snapshot.active].into_iter().chain(&snapshot.frozen);
        let mut sources: Vec<Source> =
            tables.map(|table| Source::Table(TableCursor::new(table, from, order))).collect();
        let runs =
            snapshot.version.cursors(|run, after| RunCursor::new(run.clone(), after, from, order, &load))?;
        sources.extend(runs.into_iter().map(Source::Run));
        let merge = Merge::new(sources, order);
        let end = end.map(Bytes::copy_from_slice);
        let mut cursor = Cursor { snapshot, merge, end, order, failed: None, ended: false };
        cursor.skip_deleted()?;
        Ok(cursor)
    }

    /// The entry here. None past the last.
    pub fn entry(&self) -> Option<(&[u8], Bytes)> {
        if self.ended { None } else { Some((self.merge.key()?, self.merge.value()?)) }
    }

    /// To the next entry.
    pub fn advance(&mut self) -> Result<(), ReadError> {
        if self.ended {
            return Ok(());
        }
        let advanced = self.merge.advance(&self.snapshot.shared.load()).and_then(|()| self.skip_deleted());
        self.ended |= advanced.is_err();
        advanced
    }

    fn skip_deleted(&mut self) -> Result<(), ReadError> {
        while self.is_within() && self.merge.is_deleted() {
            self.merge.advance(&self.snapshot.shared.load())?;
        }
        self.ended = !self.is_within();
        Ok(())
    }

    fn is_within(&self) -> bool {
        let Some(key) = self.merge.key() else { return false };
        match (&self.end, self.order) {
            (Bound::Unbounded, _) => true,
            (Bound::Included(end), Order::Ascending) => key <= &**end,
            (Bound::Excluded(end), Order::Ascending) => key < &**end,
            (Bound::Included(end), Order::Descending) => key >= &**end,
            (Bound::Excluded(end), Order::Descending) => key > &**end,
        }
    }
}

impl<P: Pages> Iterator for Cursor<P> {
    type Item = Result<(Bytes, Bytes), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(failed) = self.failed.take() {
            return Some(Err(failed));
        }
        let (key, value) = self.entry()?;
        let found = (Bytes::copy_from_slice(key), value);
        self.failed = self.advance().err();
        Some(Ok(found))
    }
}
