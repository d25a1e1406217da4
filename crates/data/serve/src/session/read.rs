use super::Session;
use crate::code::{Code, Failure};
use crate::token::{RESERVED, Right};
use crate::wire::{Answer, Bounds, MAX_MESSAGE, Page};
use bytes::Bytes;
use cloudpal_base::{Batch, Durability, Kind, Order, Range, Snapshot, Sub};
use cloudpal_log::codec::Write as _;
use std::ops::ControlFlow;

/// Entries of a page, at most.
pub(super) const MAX_ENTRIES: u64 = 10_000;
/// Bytes of a page after which it ends.
pub(super) const MAX_PAGE: u64 = 4 << 20;
/// What an answer takes besides its values.
const MARGIN: usize = 1 << 20;

/// What to scan and how much of it.
pub struct Scan {
    pub bounds: Bounds,
    pub reverse: bool,
    pub keys: bool,
    pub values: bool,
    pub limit: u64,
    pub bytes: u64,
}

impl Session {
    pub(super) fn get(&self, snapshot: u64, sub: &Sub, keys: &[Bytes]) -> Result<Answer, Failure> {
        self.access.demand(Right::Read, sub)?;
        let view = self.view(snapshot)?;
        let mut room = MAX_MESSAGE - MARGIN;
        let values = keys.iter().map(|key| {
            let value = value(&view, sub, key)?;
            let left = room.checked_sub(value.as_ref().map_or(0, Bytes::len));
            room = left.ok_or_else(|| {
                Failure::new(Code::TooLarge, "the values are too many for one answer; ask for fewer")
            })?;
            Ok(value)
        });
        Ok(Answer::Values(values.collect::<Result<_, Failure>>()?))
    }

    pub(super) fn has(&self, snapshot: u64, sub: &Sub, keys: &[Bytes]) -> Result<Answer, Failure> {
        self.access.demand(Right::Read, sub)?;
        let view = self.view(snapshot)?;
        let present = keys.iter().map(|key| Ok(value(&view, sub, key)?.is_some()));
        Ok(Answer::Present(present.collect::<Result<_, Failure>>()?))
    }

    pub(super) fn scan(&self, snapshot: u64, sub: &Sub, wanted: Scan) -> Result<Answer, Failure> {
        self.access.demand(Right::Read, sub)?;
        let view = self.view(snapshot)?;
        let (limit, bytes) = (wanted.limit.min(MAX_ENTRIES), wanted.bytes.min(MAX_PAGE));
        let mut range = range(&wanted.bounds);
        range.order = if wanted.reverse { Order::Descending } else { Order::Ascending };
        // One more shows whether there is more.
        range.limit = Some(limit + 1);
        let mut page = Page { last: true, ..Page::default() };
        let scanned = view.scan(sub, &range, &mut |key, value| {
            if page.count == limit || page.entries.len() as u64 >= bytes && page.count > 0 {
                page.last = false;
                return ControlFlow::Break(());
            }
            if wanted.keys {
                page.entries.buffer(key);
            }
            if wanted.values {
                page.entries.buffer(value);
            }
            page.count += 1;
            ControlFlow::Continue(())
        });
        scanned.map_err(|error| Failure::of_database(&error))?;
        Ok(Answer::Page(page))
    }

    pub(super) fn conflicts(&self, sub: &Sub) -> Result<Answer, Failure> {
        self.access.demand(Right::Read, sub)?;
        let conflicts = self.service.database.conflicts(sub).map_err(|error| Failure::of_database(&error))?;
        Ok(Answer::Conflicts(conflicts))
    }

    pub(super) fn open(&self, sub: &Sub, create: bool, fresh: bool) -> Result<Answer, Failure> {
        self.access.demand(Right::Read, sub)?;
        let view = self.service.database.snapshot();
        match exists(&view, sub)? {
            true if fresh => Err(Failure::new(Code::Exists, format!("{sub} exists already"))),
            true => Ok(Answer::Done),
            false if !create => Err(Failure::new(Code::Missing, format!("{sub} does not exist"))),
            // A reader finds it empty, which is all there is to it.
            false if !self.access.reaches(Right::Write, sub) => Ok(Answer::Done),
            false => {
                let mut batch = Batch::new();
                batch.put(&catalogue(), name(sub), Bytes::new());
                let written = self.service.database.write(batch, Durability::Relaxed);
                written.map_err(|error| Failure::of_database(&error))?;
                Ok(Answer::Done)
            }
        }
    }
}

fn value(view: &Snapshot, sub: &Sub, key: &[u8]) -> Result<Option<Bytes>, Failure> {
    view.get(sub, key).map_err(|error| Failure::of_database(&error))
}

/// Whether a client opened it once, or something is in it.
fn exists(view: &Snapshot, sub: &Sub) -> Result<bool, Failure> {
    if value(view, &catalogue(), &name(sub))?.is_some() {
        return Ok(true);
    }
    let mut any = false;
    let one = Range { limit: Some(1), ..Range::default() };
    let scanned = view.scan(sub, &one, &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    });
    scanned.map_err(|error| Failure::of_database(&error))?;
    Ok(any)
}

/// Where opened sub-databases are noted.
fn catalogue() -> Sub {
    Sub::new(format!("{RESERVED}/subs"), Kind::Register).expect("a short name without NUL")
}

fn name(sub: &Sub) -> Bytes {
    [&[sub.kind() as u8], sub.name().as_bytes()].concat().into()
}

/// As the database has it.
pub fn range(bounds: &Bounds) -> Range {
    Range { from: bounds.lower.clone().into(), to: bounds.upper.clone().into(), ..Range::default() }
}
