//! How an entry changes the view.
//!
//! Entries come in an order of causes: whatever an entry has seen was merged before it. So a change removes the versions it
//! has seen and stands beside those it has not, and no version that comes later can have been seen by an earlier change.

use crate::cell::{Cell, Version, one};
use crate::error::ReadError;
use crate::index::{Indexes, terms};
use crate::row;
use crate::rows::{Overlay, Rows};
use crate::sub::Kind;
use crate::wire::{Base, Entry, Op};
use crate::{ClientId, Dot, Heads, Stamp, Sub};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader, Write};
use cloudpal_sorted::Pages;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Who writes, and what is known to be there.
pub(crate) struct Author<'a> {
    pub dot: Dot,
    pub stamp: Stamp,
    /// Everything that the entry has seen, its own log up to and with its own block.
    pub seen: &'a Heads,
    /// Whether it has seen everything that the view holds.
    pub all: bool,
}

/// What the merge keeps beside the rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Rows in conflict.
    pub conflicts: u64,
    pub indexes: Indexes,
}

pub(crate) struct Merge<'a, P: Pages> {
    pub rows: &'a mut Overlay<P>,
    pub author: Author<'a>,
    pub tally: &'a mut Tally,
    /// Terms of the documents of indexed sub-databases before the entry touched them.
    before: BTreeMap<(Sub, Bytes), Vec<Bytes>>,
    /// The number of the change within the entry.
    change: u32,
}

impl<'a, P: Pages> Merge<'a, P> {
    pub fn new(rows: &'a mut Overlay<P>, author: Author<'a>, tally: &'a mut Tally) -> Self {
        Merge { rows, author, tally, before: BTreeMap::new(), change: 0 }
    }

    /// Merges all changes of an entry.
    pub fn entry(mut self, entry: &Entry) -> Result<(), ReadError> {
        for op in &entry.ops {
            self.op(entry.sub(op), op)?;
        }
        self.finish()
    }

    /// Merges one change.
    pub fn op(&mut self, sub: &Sub, op: &Op) -> Result<(), ReadError> {
        if let Some(key) = op.key() {
            self.about_to_touch(sub, key)?;
        }
        match op {
            Op::Set { key, path, value, .. } => self.set(row::data(sub, key, path), value.clone()),
            Op::Kill { key, path, .. } => self.kill(sub, key, path),
            Op::Clear { from, to, .. } => self.clear(sub, from, to.as_ref()),
            Op::Total { key, total, .. } => self.total(sub, key, *total),
            Op::Reset { key, bases, .. } => self.reset(sub, key, bases),
            Op::Text { key, update, .. } => {
                self.set(row::data(sub, key, &[]), Bytes::new())?;
                self.text(sub, key, update);
                Ok(())
            }
            Op::Index { path, .. } => self.index(sub, path),
        }?;
        self.change += 1;
        Ok(())
    }

    /// Brings the indexes up to what the entry has left.
    pub fn finish(self) -> Result<(), ReadError> {
        for ((sub, key), before) in self.before {
            let after = terms(&*self.rows, &self.tally.indexes, &sub, &key)?;
            before
                .iter()
                .filter(|term| !after.contains(term))
                .for_each(|term| self.rows.remove(term.clone()));
            after
                .iter()
                .filter(|term| !before.contains(term))
                .for_each(|term| self.rows.put(term.clone(), Bytes::new()));
        }
        Ok(())
    }

    fn version(&self, value: Bytes) -> Version {
        Version { dot: self.author.dot, stamp: self.author.stamp, value }
    }

    fn set(&mut self, row: Bytes, value: Bytes) -> Result<(), ReadError> {
        let version = self.version(value);
        if self.author.all && self.tally.conflicts == 0 {
            self.rows.put(row, one(&version));
            return Ok(());
        }
        let mut cell = self.cell(&row)?;
        let before = cell.is_conflict();
        cell.forget(self.author.seen);
        cell.add(version);
        self.keep(row, &cell, before);
        Ok(())
    }

    fn kill(&mut self, sub: &Sub, key: &Bytes, path: &Bytes) -> Result<(), ReadError> {
        let first = row::data(sub, key, path);
        if sub.kind() == Kind::Register {
            return self.kill_row(first);
        }
        let mut rows = Vec::new();
        self.rows.under(&first, &mut |row, _| {
            rows.push(Bytes::copy_from_slice(row));
            ControlFlow::Continue(())
        })?;
        rows.into_iter().try_for_each(|row| self.kill_row(row))
    }

    fn kill_row(&mut self, row: Bytes) -> Result<(), ReadError> {
        if self.author.all && self.tally.conflicts == 0 {
            self.rows.remove(row);
            return Ok(());
        }
        let mut cell = self.cell(&row)?;
        if cell.is_empty() {
            return Ok(());
        }
        let before = cell.is_conflict();
        cell.forget(self.author.seen);
        self.keep(row, &cell, before);
        Ok(())
    }

    fn clear(&mut self, sub: &Sub, from: &Bytes, to: Option<&Bytes>) -> Result<(), ReadError> {
        let prefix = row::prefix(row::DATA, sub);
        let bound = |key: &Bytes| {
            let mut row = prefix.clone();
            row::push_key(&mut row, sub.kind(), key);
            row
        };
        let end = to.map_or_else(|| row::end(&prefix), |to| Some(bound(to)));
        let mut rows = Vec::new();
        self.rows.scan(&bound(from), end.as_deref(), &mut |row, _| {
            rows.push(Bytes::copy_from_slice(row));
            ControlFlow::Continue(())
        })?;
        for row in rows {
            if self.tally.indexes.has(sub)
                && let Some((key, _)) = row::split(sub.kind(), &row.slice(prefix.len()..))
            {
                self.about_to_touch(sub, &key)?;
            }
            self.kill_row(row)?;
        }
        Ok(())
    }

    fn total(&mut self, sub: &Sub, key: &Bytes, total: i64) -> Result<(), ReadError> {
        let Dot { client, position } = self.author.dot;
        let row = row::data(sub, key, &counter_path(TOTAL, client));
        self.rows.put(row, counter_row((position, self.change), total));
        Ok(())
    }

    fn reset(&mut self, sub: &Sub, key: &Bytes, bases: &[Base]) -> Result<(), ReadError> {
        for base in bases {
            let row = row::data(sub, key, &counter_path(BASE, base.client));
            let newer = match self.rows.get(&row)? {
                Some(bytes) => read_counter(&bytes)? < ((base.position, base.change), base.total),
                None => true,
            };
            if newer {
                self.rows.put(row, counter_row((base.position, base.change), base.total));
            }
        }
        Ok(())
    }

    fn text(&mut self, sub: &Sub, key: &Bytes, update: &Bytes) {
        let mut row = text_prefix(sub, key);
        self.author.dot.client.write(&mut row);
        row.raw(&self.author.dot.position.to_be_bytes());
        row.raw(&self.change.to_be_bytes());
        self.rows.put(row.into(), update.clone());
    }

    fn index(&mut self, sub: &Sub, path: &str) -> Result<(), ReadError> {
        if self.tally.indexes.has_path(sub, path) {
            return Ok(());
        }
        let prefix = row::prefix(row::DATA, sub);
        let mut keys: Vec<Bytes> = Vec::new();
        self.rows.under(&prefix, &mut |row, _| {
            let key = row::split(sub.kind(), &Bytes::copy_from_slice(&row[prefix.len()..]));
            keys.extend(key.map(|(key, _)| key).filter(|key| keys.last() != Some(key)));
            ControlFlow::Continue(())
        })?;
        for key in keys {
            // What other indexes have of it; of the new one there is nothing, and `finish` adds it.
            self.about_to_touch(sub, &key)?;
            self.before.entry((sub.clone(), key)).or_default();
        }
        self.tally.indexes.declare(sub, path);
        Ok(())
    }

    /// Notes what the indexes have of a document before it changes.
    fn about_to_touch(&mut self, sub: &Sub, key: &Bytes) -> Result<(), ReadError> {
        if self.tally.indexes.has(sub) && !self.before.contains_key(&(sub.clone(), key.clone())) {
            let terms = terms(&*self.rows, &self.tally.indexes, sub, key)?;
            self.before.insert((sub.clone(), key.clone()), terms);
        }
        Ok(())
    }

    fn cell(&self, row: &[u8]) -> Result<Cell, ReadError> {
        Ok(self.rows.get(row)?.map(|bytes| Cell::decode(&bytes)).transpose()?.unwrap_or_default())
    }

    fn keep(&mut self, row: Bytes, cell: &Cell, was_conflict: bool) {
        match (was_conflict, cell.is_conflict()) {
            (false, true) => {
                self.rows.put(row::conflict(&row), Bytes::new());
                self.tally.conflicts += 1;
            }
            (true, false) => {
                self.rows.remove(row::conflict(&row));
                self.tally.conflicts -= 1;
            }
            _ => {}
        }
        if cell.is_empty() { self.rows.remove(row) } else { self.rows.put(row, cell.encode()) }
    }
}

/// Rows of a counter: what a writer has added in all, and how much of that counts no more.
pub(crate) const TOTAL: u8 = 1;
pub(crate) const BASE: u8 = 2;

pub(crate) fn counter_path(kind: u8, client: ClientId) -> Vec<u8> {
    let mut path = vec![kind];
    client.write(&mut path);
    path
}

/// Where a total was written: the position of the entry, and the number of the change in it.
pub(crate) type Place = (u64, u32);

fn counter_row((position, change): Place, total: i64) -> Bytes {
    let mut value = Vec::with_capacity(22);
    value.raw(&total.to_le_bytes());
    value.uint(position);
    value.raw(&change.to_le_bytes());
    value.into()
}

pub(crate) fn read_counter(bytes: &[u8]) -> Result<(Place, i64), CodecError> {
    let mut reader = Reader::new(bytes);
    let total = i64::from_le_bytes(reader.fixed("a total")?);
    let position = reader.uint()?;
    Ok(((position, u32::from_le_bytes(reader.fixed("a change")?)), total))
}

/// What all rows with updates of a text begin with.
pub(crate) fn text_prefix(sub: &Sub, key: &[u8]) -> Vec<u8> {
    let mut row = row::prefix(row::TEXT, sub);
    row::escape(&mut row, key);
    row
}
