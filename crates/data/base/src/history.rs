//! The change feed, what a batch did, the past, and undoing.

use crate::database::{Database, State, now_ms};
use crate::error::HistoryError;
use bytes::Bytes;
use cloudpal_db::wire::{Entry, Op};
use cloudpal_db::{
    Batch, ClientId, Dot, Heads, KeepError, Kind, Logs, LogsError, Range, ReadError, Stamp, Sub, View,
    WriterId,
};
use cloudpal_log::Durability;
use cloudpal_log::codec::{CodecError, Reader, Write};
use cloudpal_sorted::{MemoryPages, Options, Sorted};
use cloudpal_store::Session;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

/// Where a reader of the change feed is. It belongs to one copy of the database; given to another, or after the view was built anew,
/// the feed resumes from what was seen, and may tell some changes again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    copy: u64,
    generation: u64,
    number: u64,
    seen: Heads,
}

/// Changes in the order in which they came into this copy.
#[derive(Debug, Clone)]
pub struct Changes {
    /// What each batch did.
    pub changes: Vec<Did>,
    /// From where to go on.
    pub next: Cursor,
    /// Whether there is more already.
    pub more: bool,
}

/// What a batch did.
#[derive(Debug, Clone)]
pub struct Did {
    /// Where it lies.
    pub dot: Dot,
    /// When it was written, by its writer's account.
    pub stamp: Stamp,
    /// What its writer is called.
    pub by: String,
    /// What it changed, in order.
    pub edits: Vec<Edited>,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// Where.
    pub sub: Sub,
    /// Which key; none if it is about many.
    pub key: Option<Bytes>,
    /// What, in a word: "set", "delete", "clear", "count", "reset", "text", "index".
    pub what: &'static str,
    /// The new value of a register.
    pub value: Option<Bytes>,
    /// What was cleared: the first key, and one behind the last (none: to the end).
    pub range: Option<(Bytes, Option<Bytes>)>,
}

/// What undoing a batch came to.
#[derive(Debug, Clone, Default)]
pub struct Undone {
    /// Keys that show again what they did before.
    pub restored: Vec<(Sub, Bytes)>,
    /// Keys that somebody has changed since: they were left alone.
    pub left: Vec<(Sub, Bytes)>,
}

impl Cursor {
    /// In bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.uint(self.copy);
        out.uint(self.generation);
        out.uint(self.number);
        self.seen.encode(&mut out);
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let (copy, generation, number) = (reader.uint()?, reader.uint()?, reader.uint()?);
        let seen = Heads::decode(&mut reader)?;
        reader.finish()?;
        Ok(Cursor { copy, generation, number, seen })
    }
}

impl Database {
    /// The batches that came into this copy after `after`, at most `limit`; begin with a default cursor, for the oldest that is kept,
    /// or with [`now`](Self::cursor). An error if something behind `after` was forgotten.
    pub fn changes(&self, after: &Cursor, limit: usize) -> Result<Changes, HistoryError> {
        let state = self.shared.lock();
        let view = state.replica.view();
        let (end, generation) = view.feed();
        let copy = state.replica.me().client().get();
        let same = after.copy == copy && after.generation == generation;
        let mut number = if same { after.number } else { 0 };
        let mut seen = after.seen.clone();
        if *after == Cursor::default() {
            seen = state.replica.untold().clone();
        } else if !seen.covers(state.replica.untold()) {
            return Err(HistoryError::Gone);
        }
        let mut changes = Vec::new();
        while number < end && changes.len() < limit {
            for change in view.changes(number, limit.clamp(1, 1024))? {
                if changes.len() >= limit {
                    break;
                }
                number = change.number + 1;
                if same || !after.seen.contains(change.dot) {
                    changes.extend(state.did(change.dot)?);
                }
                seen.see(change.dot.client, change.dot.position + 1);
            }
        }
        let next = Cursor { copy, generation, number, seen };
        Ok(Changes { changes, next, more: number < end })
    }

    /// A cursor behind everything that is here now.
    pub fn cursor(&self) -> Cursor {
        let state = self.shared.lock();
        let (number, generation) = state.replica.view().feed();
        Cursor { copy: state.replica.me().client().get(), generation, number, seen: state.replica.heads() }
    }

    /// Everything that was done to a key, the oldest first.
    pub fn history(&self, sub: &Sub, key: &[u8]) -> Result<Vec<Did>, HistoryError> {
        let state = self.shared.lock();
        let view = state.replica.view();
        let mut found = Vec::new();
        let mut number = 0;
        loop {
            let changes = view.changes(number, 1024)?;
            let Some(last) = changes.last() else { return Ok(found) };
            number = last.number + 1;
            for change in changes {
                let Some(mut did) = state.did(change.dot)? else { continue };
                did.edits.retain(|edit| edit.sub == *sub && edit.key.as_deref().is_none_or(|of| of == key));
                if !did.edits.is_empty() {
                    found.push(did);
                }
            }
        }
    }

    /// The database as it was when this copy had taken in what was written up to `wall_ms`, by the writers' accounts. It is built
    /// from the logs, so it takes as long as reading all of them. Where history was forgotten it reaches back to the checkpoint.
    pub fn at_time(&self, wall_ms: u64) -> Result<Past, HistoryError> {
        self.shared.lock().check_reaches(wall_ms)?;
        self.past(|change| change.stamp.wall_ms > wall_ms)
    }

    /// The database as it was before a batch came into this copy.
    pub fn before(&self, dot: Dot) -> Result<Past, HistoryError> {
        let mut after = false;
        let past = self.past(|change| {
            after |= change.dot == dot;
            after
        })?;
        if after {
            Ok(past)
        } else {
            Err(HistoryError::Unknown { client: dot.client, position: dot.position })
        }
    }

    fn past(&self, mut is_after: impl FnMut(&cloudpal_db::Change) -> bool) -> Result<Past, HistoryError> {
        let state = self.shared.lock();
        let view = state.replica.view();
        let mut end = state.replica.heads();
        let mut cut: BTreeMap<ClientId, u64> = BTreeMap::new();
        let mut number = 0;
        loop {
            let changes = view.changes(number, 1024)?;
            let Some(last) = changes.last() else { break };
            number = last.number + 1;
            for change in changes.iter().filter(|change| is_after(change)) {
                let first = cut.entry(change.dot.client).or_insert(u64::MAX);
                *first = change.dot.position.min(*first);
            }
        }
        end = end
            .iter()
            .map(|(client, length)| (client, length.min(cut.get(&client).copied().unwrap_or(length))))
            .collect();
        let sorted = Sorted::open(MemoryPages::new(), Options::default()).map_err(KeepError::from)?;
        let mut past = state.replica.past(sorted, &end)?;
        let base = state.replica.base().map(|base| (base.log, base.tail + 1));
        let read = past.advance(&Until { logs: &state.logs, end: &end, base }, now_ms())?;
        match read.missing.first() {
            Some((writer, position)) => {
                Err(ReadError::History { client: writer.client(), position: *position }.into())
            }
            None => Ok(past.view()),
        }
    }

    /// Makes the keys that a batch changed show again what they did before, as far as nobody has changed them since. It is a new
    /// batch.
    pub fn undo(&self, dot: Dot) -> Result<Undone, HistoryError> {
        let unknown = HistoryError::Unknown { client: dot.client, position: dot.position };
        let past = self.before(dot)?;
        let (entry, later) = {
            let state = self.shared.lock();
            let Some(entry) = state.replica.entry_at(&state.logs, dot)? else { return Err(unknown) };
            (entry, state.touched_after(dot)?)
        };
        let now = self.snapshot();
        let (mut undone, mut batch) = (Undone::default(), Batch::new());
        for (sub, key) in touched(&entry, &past)? {
            let won = match sub.kind() {
                Kind::Register => match now.versions(&sub, &key)?.first() {
                    Some(version) => version.dot == dot,
                    None => !later.contains(&(sub.clone(), key.clone())),
                },
                _ => !later.contains(&(sub.clone(), key.clone())),
            };
            if !won {
                undone.left.push((sub, key));
                continue;
            }
            match past.get(&sub, &key)? {
                Some(value) => batch.put(&sub, key.clone(), value),
                None => batch.del(&sub, key.clone()),
            };
            undone.restored.push((sub, key));
        }
        if !batch.is_empty() {
            self.write(batch, Durability::Durable)?;
        }
        Ok(undone)
    }
}

/// The database as it was.
pub type Past = View<MemoryPages>;

/// Logs that end earlier.
struct Until<'a> {
    logs: &'a dyn Logs,
    end: &'a Heads,
    /// The log of the checkpoint that may be begun with, and its end there.
    base: Option<(WriterId, u64)>,
}

impl Logs for Until<'_> {
    fn length(&self, writer: &WriterId) -> u64 {
        let end = match self.base {
            Some((log, end)) if log == *writer => end,
            _ => self.end.get(writer.client()),
        };
        self.logs.length(writer).min(end)
    }

    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError> {
        self.logs.block(writer, position)
    }
}

/// The keys that an entry changed.
fn touched(entry: &Entry, past: &Past) -> Result<BTreeSet<(Sub, Bytes)>, ReadError> {
    let mut keys = BTreeSet::new();
    for op in &entry.ops {
        let sub = entry.sub(op);
        match op {
            Op::Clear { from, to, .. } => {
                let to = to.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let range = Range { from: Bound::Included(from.clone()), to, ..Range::default() };
                past.scan(sub, &range, &mut |key, _| {
                    keys.insert((sub.clone(), Bytes::copy_from_slice(key)));
                    ControlFlow::Continue(())
                })?;
            }
            other => keys.extend(other.key().map(|key| (sub.clone(), key.clone()))),
        }
    }
    Ok(keys)
}

impl State {
    /// That what was written up to `wall_ms` can still be told from what came later.
    fn check_reaches(&self, wall_ms: u64) -> Result<(), ReadError> {
        let Some(base) = self.replica.base().filter(|base| wall_ms < base.made_ms) else { return Ok(()) };
        let gone = |(writer, session): &(&WriterId, &Session)| {
            base.heads.get(writer.client()) > 1 && !session.has(1)
        };
        match self.logs.sessions().find(gone) {
            Some((writer, _)) => Err(ReadError::History { client: writer.client(), position: 1 }),
            None => Ok(()),
        }
    }

    /// What the batch at `dot` did; none if it cannot be read any more.
    fn did(&self, dot: Dot) -> Result<Option<Did>, HistoryError> {
        let Some(entry) = self.replica.entry_at(&self.logs, dot)? else { return Ok(None) };
        let member = self.replica.members().get(dot.client);
        let by = member.map_or_else(|| dot.client.to_string(), |member| member.name.clone());
        let edits = entry.ops.iter().map(|op| edited(&entry, op)).collect();
        Ok(Some(Did { dot, stamp: entry.stamp, by, edits }))
    }

    /// The keys that were changed after `dot` came in.
    fn touched_after(&self, dot: Dot) -> Result<BTreeSet<(Sub, Bytes)>, HistoryError> {
        let view = self.replica.view();
        let (mut number, mut after, mut keys) = (0, false, BTreeSet::new());
        loop {
            let changes = view.changes(number, 1024)?;
            let Some(last) = changes.last() else { return Ok(keys) };
            number = last.number + 1;
            for change in changes {
                if after && let Some(did) = self.did(change.dot)? {
                    keys.extend(did.edits.into_iter().filter_map(|edit| Some((edit.sub, edit.key?))));
                }
                after |= change.dot == dot;
            }
        }
    }
}

fn edited(entry: &Entry, op: &Op) -> Edited {
    let (what, value) = match op {
        Op::Set { value, path, .. } => ("set", path.is_empty().then(|| value.clone())),
        Op::Kill { .. } => ("delete", None),
        Op::Clear { .. } => ("clear", None),
        Op::Total { .. } => ("count", None),
        Op::Reset { .. } => ("reset", None),
        Op::Text { .. } => ("text", None),
        Op::Index { .. } => ("index", None),
    };
    let sub = entry.sub(op).clone();
    let value = value.filter(|_| sub.kind() == Kind::Register);
    let range = match op {
        Op::Clear { from, to, .. } => Some((from.clone(), to.clone())),
        _ => None,
    };
    Edited { sub, key: op.key().cloned(), what, value, range }
}
