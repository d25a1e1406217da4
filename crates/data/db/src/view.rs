use crate::batch::half_open;
use crate::cell::{Cell, Version};
use crate::error::ReadError;
use crate::row::{self, CONFLICT, DATA};
use crate::rows::Rows;
use crate::sub::Kind;
use crate::value::{self, Parts};
use crate::{Dot, Stamp, Sub, index, json};
use bytes::Bytes;
use cloudpal_sorted::{Order, Pages, Snapshot};
use std::ops::{Bound, ControlFlow};

/// The database as it was at one moment; it stays so for as long as it is held.
pub struct View<P: Pages> {
    rows: Snapshot<P>,
    feed: u64,
    generation: u64,
}

impl<P: Pages> Clone for View<P> {
    fn clone(&self) -> Self {
        View { rows: self.rows.clone(), feed: self.feed, generation: self.generation }
    }
}

/// Which keys of a sub-database, and in which order.
#[derive(Debug, Clone)]
pub struct Range {
    /// From where.
    pub from: Bound<Bytes>,
    /// To where.
    pub to: Bound<Bytes>,
    /// Rising or falling.
    pub order: Order,
    /// How many at most.
    pub limit: Option<u64>,
}

impl Default for Range {
    fn default() -> Self {
        Range { from: Bound::Unbounded, to: Bound::Unbounded, order: Order::Ascending, limit: None }
    }
}

/// Which part of an index, and from where on.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// From which value.
    pub from: Bound<&'a serde_json::Value>,
    /// To which.
    pub to: Bound<&'a serde_json::Value>,
    /// Rising or falling.
    pub order: Order,
    /// Behind this place, which an earlier walk came to.
    pub after: Option<&'a [u8]>,
}

/// Takes a place in an index and the key that is found there.
type Found<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A row that concurrent writes left with several values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where.
    pub sub: Sub,
    /// Which key.
    pub key: Bytes,
    /// Which field of the document, encoded; empty for registers.
    pub path: Bytes,
    /// The value that is shown.
    pub shown: Version,
    /// Those that lost.
    pub lost: Vec<Version>,
}

impl Conflict {
    /// The names of the fields that lead to it; none if it lies in an array, whose elements have no names.
    pub fn fields(&self) -> Option<Vec<String>> {
        json::fields(&self.path)
    }

    /// What a version says. For a document that is JSON; `{}` and `[]` stand for an object or array, whatever is in it.
    pub fn says(&self, version: &Version) -> Bytes {
        match self.sub.kind() {
            Kind::Json => json::leaf_text(&version.value),
            _ => version.value.clone(),
        }
    }
}

/// An entry in the change feed of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its number here.
    pub number: u64,
    /// Where it lies.
    pub dot: Dot,
    /// When it was written, by its writer's account.
    pub stamp: Stamp,
}

impl<P: Pages> View<P> {
    pub(crate) const fn new(rows: Snapshot<P>, feed: u64, generation: u64) -> Self {
        View { rows, feed, generation }
    }

    /// What `key` shows; none if it is not there. Documents and sets come as JSON, counters as decimal text.
    pub fn get(&self, sub: &Sub, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        value::get(&self.rows, sub, key)
    }

    /// Visits keys and what they show until told to stop.
    pub fn scan(
        &self,
        sub: &Sub,
        range: &Range,
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let prefix = row::prefix(DATA, sub);
        let mut left = range.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let mut take = |key: &[u8], value: &Bytes| {
            left -= 1;
            if visit(key, value).is_break() || left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        if sub.kind() == Kind::Register {
            let skip = prefix.len();
            let mut failed = None;
            self.rows_in(sub, range, &mut |row, bytes| match Cell::shown(bytes) {
                Ok(Some(value)) => take(&row[skip..], &value),
                Ok(None) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error.into());
                    ControlFlow::Break(())
                }
            })?;
            return failed.map_or(Ok(()), Err);
        }
        self.scan_parts(sub, range, prefix.len(), &mut take)
    }

    /// As [`scan`](Self::scan), where a key has several rows.
    fn scan_parts(
        &self,
        sub: &Sub,
        range: &Range,
        skip: usize,
        take: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut open: Option<(Vec<u8>, Parts)> = None;
        let mut result = Ok(());
        let mut stopped = false;
        let mut close = |open: Option<(Vec<u8>, Parts)>| -> Result<ControlFlow<()>, ReadError> {
            let Some((key, parts)) = open else { return Ok(ControlFlow::Continue(())) };
            let value = parts.finish(&self.rows, sub, &key)?;
            Ok(value.map_or(ControlFlow::Continue(()), |value| take(&key, &value)))
        };
        self.rows_in(sub, range, &mut |row, bytes| {
            let Some((key, path)) = row::unescape(&row[skip..]) else { return ControlFlow::Continue(()) };
            if open.as_ref().is_none_or(|(known, _)| *known != key) {
                let full = open.replace((key, Parts::new(sub.kind())));
                match close(full) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => {
                        stopped = true;
                        return ControlFlow::Break(());
                    }
                    Err(error) => {
                        result = Err(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            if let Some((_, parts)) = &mut open
                && let Err(error) = parts.add(path, bytes)
            {
                result = Err(error);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        result?;
        if !stopped {
            let _ = close(open)?;
        }
        Ok(())
    }

    fn rows_in(
        &self,
        sub: &Sub,
        range: &Range,
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let prefix = row::prefix(DATA, sub);
        let bound = |key: &[u8]| {
            let mut row = prefix.clone();
            row::push_key(&mut row, sub.kind(), key);
            row
        };
        let (from, to) =
            half_open((range.from.as_ref().map(|key| &key[..]), range.to.as_ref().map(|key| &key[..])));
        let first = bound_from(&prefix, &from, &bound);
        let end = to.map_or_else(|| row::end(&prefix), |to| Some(bound(&to)));
        if end.as_ref().is_some_and(|end| *end <= first) {
            return Ok(());
        }
        let bounds = (Bound::Included(&first[..]), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        Ok(self.rows.scan(bounds, range.order, visit)?)
    }

    /// The versions of the register at `key`, the one that is shown first; with who wrote them and when.
    pub fn versions(&self, sub: &Sub, key: &[u8]) -> Result<Vec<Version>, ReadError> {
        let row = row::data(sub, key, &[]);
        let cell = Rows::get(&self.rows, &row)?.map(|bytes| Cell::decode(&bytes)).transpose()?;
        Ok(cell.map(|cell| cell.versions().to_vec()).unwrap_or_default())
    }

    /// All conflicts of a sub-database.
    pub fn conflicts(&self, sub: &Sub) -> Result<Vec<Conflict>, ReadError> {
        let prefix = row::prefix(CONFLICT, sub);
        let mut found = Vec::new();
        self.rows.under(&prefix, &mut |row, _| {
            found.push(Bytes::copy_from_slice(row));
            ControlFlow::Continue(())
        })?;
        let mut conflicts = Vec::new();
        for row in found {
            let mut data = row.to_vec();
            data[0] = DATA;
            let Some(bytes) = Rows::get(&self.rows, &data)? else { continue };
            let cell = Cell::decode(&bytes)?;
            let Some((key, path)) = row::split(sub.kind(), &row.slice(prefix.len()..)) else { continue };
            if let Some(shown) = cell.winner() {
                let lost = cell.losers().cloned().collect();
                conflicts.push(Conflict { sub: sub.clone(), key, path, shown: shown.clone(), lost });
            }
        }
        Ok(conflicts)
    }

    /// The sub-databases that hold anything, in order.
    pub fn subs(&self) -> Result<Vec<Sub>, ReadError> {
        let mut subs = Vec::new();
        let mut from = vec![DATA];
        loop {
            let mut next = None;
            self.rows.scan(
                (Bound::Included(&from[..]), Bound::Excluded(&[DATA + 1])),
                Order::Ascending,
                &mut |row, _| {
                    next = row::sub_of(row);
                    ControlFlow::Break(())
                },
            )?;
            let Some(sub) = next else { return Ok(subs) };
            match row::end(&row::prefix(DATA, &sub)) {
                Some(end) => from = end,
                None => return Ok(subs),
            }
            subs.push(sub);
        }
    }

    /// Keys of documents whose indexed field `path` holds a scalar within `bounds` (JSON values), in the field's order. Texts are told
    /// apart by their first 512 bytes: what is alike in those counts as within.
    pub fn find(
        &self,
        sub: &Sub,
        path: &str,
        (from, to): (Bound<&serde_json::Value>, Bound<&serde_json::Value>),
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let terms = Terms { from, to, order: Order::Ascending, after: None };
        self.find_from(sub, path, &terms, &mut |_, key| visit(key))
    }

    /// As [`find`](Self::find), either way and from any place on; visits places in the index and keys.
    pub fn find_from(
        &self,
        sub: &Sub,
        path: &str,
        Terms { from, to, order, after }: &Terms<'_>,
        visit: &mut Found<'_>,
    ) -> Result<(), ReadError> {
        let prefix = index::prefix(sub, path);
        let at = |value: &serde_json::Value| {
            let mut row = prefix.clone();
            row.extend(index::term(value).unwrap_or_default());
            row
        };
        let mut first = match *from {
            Bound::Unbounded => prefix.clone(),
            Bound::Included(value) => at(value),
            Bound::Excluded(value) if is_long(value) => at(value),
            Bound::Excluded(value) => row::end(&at(value)).unwrap_or_default(),
        };
        let mut end = match *to {
            Bound::Unbounded => row::end(&prefix),
            Bound::Included(value) => row::end(&at(value)),
            Bound::Excluded(value) if is_long(value) => row::end(&at(value)),
            Bound::Excluded(value) => Some(at(value)),
        };
        if let Some(after) = after {
            let row = [&prefix[..], after].concat();
            match order {
                // Behind it: no row begins with another.
                Order::Ascending => first = first.max([&row[..], &[0]].concat()),
                Order::Descending => end = Some(end.map_or(row.clone(), |end| end.min(row))),
            }
        }
        if end.as_ref().is_some_and(|end| *end <= first) {
            return Ok(());
        }
        let bounds = (Bound::Included(&first[..]), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        self.rows.scan(bounds, *order, &mut |row, _| {
            let place = &row[prefix.len()..];
            index::key_of(place).map_or(ControlFlow::Continue(()), |key| visit(place, &key))
        })?;
        Ok(())
    }

    /// The conflict at a key, or at the field `path` of a document; none if there is none.
    pub fn conflict(&self, sub: &Sub, key: &[u8], path: &[u8]) -> Result<Option<Conflict>, ReadError> {
        let Some(bytes) = Rows::get(&self.rows, &row::data(sub, key, path))? else { return Ok(None) };
        if !matches!(sub.kind(), Kind::Register | Kind::Json) {
            return Ok(None);
        }
        let cell = Cell::decode(&bytes)?;
        let (Some(shown), true) = (cell.winner().cloned(), cell.is_conflict()) else { return Ok(None) };
        let (key, path) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(path));
        let lost = cell.losers().cloned().collect();
        Ok(Some(Conflict { sub: sub.clone(), key, path, shown, lost }))
    }

    /// Entries in the order in which they were merged here, from `number` on.
    pub fn changes(&self, number: u64, limit: usize) -> Result<Vec<Change>, ReadError> {
        let mut changes = Vec::new();
        let mut failed = None;
        let bounds = (row::feed(number), row::feed(self.feed));
        if bounds.1 <= bounds.0 {
            return Ok(changes);
        }
        let within = (Bound::Included(&bounds.0[..]), Bound::Excluded(&bounds.1[..]));
        self.rows.scan(within, Order::Ascending, &mut |row, value| {
            if changes.len() >= limit {
                return ControlFlow::Break(());
            }
            let number = row[1..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            match row::read_feed(value) {
                Ok((dot, stamp)) => changes.push(Change { number, dot, stamp }),
                Err(error) => failed = Some(error),
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(changes), |error| Err(error.into()))
    }

    /// The number that the next entry of the change feed will get, and the generation of the view to which numbers belong.
    pub const fn feed(&self) -> (u64, u64) {
        (self.feed, self.generation)
    }

    /// A hash of all rows but the change feed, whose order is this replica's own: equal views have equal hashes.
    pub fn state_hash(&self) -> Result<[u8; 32], ReadError> {
        let mut hash = StateHash::new();
        for room in row::STATE {
            self.rows.under(&[room], &mut |row, value| {
                hash.add(row, value);
                ControlFlow::Continue(())
            })?;
        }
        Ok(hash.finish())
    }
}

/// The hash of all rows, in their order.
pub(crate) struct StateHash(blake2b_simd::State);

impl StateHash {
    pub fn new() -> Self {
        StateHash(blake2b_simd::Params::new().hash_length(32).to_state())
    }

    pub fn add(&mut self, row: &[u8], value: &[u8]) {
        self.0.update(&(row.len() as u64).to_le_bytes()).update(row);
        self.0.update(&(value.len() as u64).to_le_bytes()).update(value);
    }

    pub fn finish(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finalize().as_bytes());
        hash
    }
}

fn bound_from(prefix: &[u8], from: &[u8], bound: &impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    if from.is_empty() { prefix.to_vec() } else { bound(from) }
}

fn is_long(value: &serde_json::Value) -> bool {
    value.as_str().is_some_and(|text| text.len() > index::MAX_TERM)
}
