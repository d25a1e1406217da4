//! Making checkpoints, and forgetting what lies before them.

use crate::Snapshot;
use crate::database::{Database, Shared, now_ms};
use crate::error::CheckpointError;
use bytes::Bytes;
use cloudpal_db::{Checkpoint, ClientId, Heads, ReadError, WriteError, WriterId};
use cloudpal_log::Feed;
use cloudpal_store::Session;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// How long history is kept, unless something else is asked for.
pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// A new checkpoint is worth it when so many blocks were written since the last, and half as many as the view has rows.
const WORTH: u64 = 10_000;

/// Bytes of a checkpoint that are appended at once.
const AT_ONCE: usize = 8 << 20;

/// What forgetting came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Entries taken out of the change feed.
    pub entries: u64,
    /// Blocks of all logs that are not held here any more.
    pub blocks: u64,
}

impl Database {
    /// The checkpoint that this copy builds upon.
    pub fn base(&self) -> Option<Checkpoint> {
        self.shared.lock().replica.base().cloned()
    }

    /// Makes a checkpoint: who joins later begins with it, and what lies before it can be [forgotten](Self::forget). From then on nothing
    /// decides again what lies before it, so nobody's log can be cut there any more. Only a device with the owner's key can.
    ///
    /// It writes as much as the database shows; others can read and write meanwhile.
    pub fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        self.shared.checkpoint()
    }

    /// Forgets history: blocks of all logs that lie before the checkpoint that this copy builds upon and were written longer ago than
    /// `keep`. What they did stays; undoing it, looking at the past, and the change feed begin behind it.
    pub fn forget(&self, keep: Duration) -> Result<Forgotten, CheckpointError> {
        self.shared.forget(keep)
    }
}

impl Shared {
    fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        let _one = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut writing, log) = {
            let mut state = self.lock();
            state.advance()?;
            let writing = state.replica.checkpoint(now_ms())?;
            let manifest = state.replica.own_checkpoints().ok_or(WriteError::NotOwner)?;
            let log = state.logs.checkpoints(&WriterId(manifest.key()));
            (writing, log.ok_or(WriteError::NotOwner)?.clone())
        };
        let (mut blocks, mut bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
        let mut length = log.length();
        loop {
            let block = writing.next(length, crate::catalogue::random()?)?;
            let whole = block.is_none();
            if let Some(block) = block {
                bytes += block.len();
                length += 1;
                blocks.push(block);
            }
            if bytes >= AT_ONCE || whole {
                log.append(&blocks)?;
                (blocks, bytes) = (Vec::new(), 0);
            }
            if whole {
                break;
            }
        }
        // It must last before anything is built upon it.
        log.sync()?;
        let mut state = self.lock();
        state.advance()?;
        state.replica.flush()?;
        let base = state.replica.base().cloned().ok_or(WriteError::Waiting)?;
        drop(state);
        self.notify();
        Ok(base)
    }

    fn forget(&self, keep: Duration) -> Result<Forgotten, CheckpointError> {
        let (base, view) = {
            let state = self.lock();
            let base = state.replica.base().cloned().ok_or(CheckpointError::None)?;
            let held = state.replica.latest_checkpoint().is_some_and(|(log, blocks)| {
                (log, blocks.end) == (base.log, base.tail + 1) && state.logs.holds(&log, &blocks)
            });
            if !held {
                return Err(CheckpointError::NotHeld);
            }
            (base, state.replica.view())
        };
        let until_ms = now_ms().saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        let heads = older(&view, base.heads, until_ms)?;
        let (sessions, entries) = {
            let mut state = self.lock();
            let entries = state.replica.forget_history(&heads)?;
            state.replica.flush()?;
            let session = |(writer, session): (&WriterId, &Session)| (writer.client(), session.clone());
            (state.logs.sessions().map(session).collect::<Vec<_>>(), entries)
        };
        let mut forgotten = Forgotten { entries, blocks: 0 };
        for (client, session) in sessions {
            // The first block says what a log is.
            let gone = 1..heads.get(client).min(session.length());
            forgotten.blocks += gone.clone().filter(|position| session.has(*position)).count() as u64;
            if !gone.is_empty() {
                session.clear(gone)?;
            }
        }
        Ok(forgotten)
    }

    /// What an owner's device does by itself now and then.
    pub(crate) fn make_checkpoint_if_worth(&self) -> Result<(), CheckpointError> {
        let worth = {
            let state = self.lock();
            let base = state.replica.base().map(|base| base.heads.clone()).unwrap_or_default();
            let since: u64 =
                state.replica.heads().iter().map(|(client, read)| read - base.get(client).min(read)).sum();
            let rows = self.sorted.usage().entries;
            state.replica.own_checkpoints().is_some() && since >= WORTH.max(rows / 2)
        };
        if worth { self.checkpoint().map(drop) } else { Ok(()) }
    }

    /// What every device does by itself now and then.
    pub(crate) fn forget_old(&self) -> Result<(), CheckpointError> {
        match self.forget(RETENTION) {
            Ok(_) | Err(CheckpointError::None | CheckpointError::NotHeld) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// How much of what lies before `heads` was written before `until_ms`, by the writers' accounts.
fn older(view: &Snapshot, heads: Heads, until_ms: u64) -> Result<Heads, ReadError> {
    let mut first_young: BTreeMap<ClientId, u64> = BTreeMap::new();
    let mut number = 0;
    loop {
        let changes = view.changes(number, 4096)?;
        let Some(last) = changes.last() else { break };
        number = last.number + 1;
        for change in changes.iter().filter(|change| change.stamp.wall_ms > until_ms) {
            let first = first_young.entry(change.dot.client).or_insert(u64::MAX);
            *first = change.dot.position.min(*first);
        }
    }
    let length = |(client, length): (ClientId, u64)| {
        (client, length.min(first_young.get(&client).copied().unwrap_or(length)))
    };
    Ok(heads.iter().map(length).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Durability, Rights, Role, Sub};
    use cloudpal_store::{Access, Store, StoreKey};
    use std::time::Instant;

    #[test]
    fn a_checkpoint_that_was_never_finished_keeps_nobody_waiting() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let open =
            |at: usize| Store::open(folders[at].path(), &StoreKey::random().unwrap(), Default::default());
        let (laptop, phone) = (open(0).unwrap(), open(1).unwrap());
        let home = Database::create(&laptop, "home").unwrap();
        let mut batch = Batch::new();
        batch.put(&Sub::root(), "tea", "green");
        home.write(batch, Durability::Relaxed).unwrap();
        {
            let state = home.shared.lock();
            let mut writing = state.replica.checkpoint(now_ms()).unwrap();
            let log = WriterId(state.replica.own_checkpoints().unwrap().key());
            let first = writing.next(0, [7; 24]).unwrap().unwrap();
            state.logs.checkpoints(&log).unwrap().append(&[first]).unwrap();
        }
        let copy = Database::join(&phone, "home", home.key()).unwrap();
        home.admit(&copy.request(), "phone", Rights::all(Role::Writer)).unwrap();
        let server = laptop.serve("127.0.0.1:0", Access::Anyone).unwrap();
        let _line = phone.connect(server.address(), &Access::Anyone).unwrap();
        let until = |what: &str, done: &dyn Fn() -> bool| {
            let start = Instant::now();
            while !done() {
                assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        until("the phone shows it", &|| copy.snapshot().get(&Sub::root(), b"tea").unwrap().is_some());
        assert_eq!(copy.base(), None);
        let base = home.checkpoint().unwrap();
        until("the phone builds upon the next", &|| copy.base().as_ref() == Some(&base));
    }
}
