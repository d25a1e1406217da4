use super::crypt::Crypt;
use super::fault::{damaged, engine_fault, file_fault, guarded};
use super::group::{Group, Ticket};
use super::lengths::{Lengths, LogId, Mark};
use super::lists;
use super::parcel;
use super::place::{Place, Room};
use super::rooms::{Rooms, make};
use super::second::Second;
use super::space::Space;
use crate::options::Memory;
use bytes::Bytes;
use cloudpal_log::{Durability, StorageError};
use fjall::{AbstractTree, Keyspace, OwnedWriteBatch, PersistMode};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// Small records are flushed after this many bytes were written in all, or they would pin every journal.
const LAG: u64 = 32 << 20;

/// Replication that a full disk had stopped goes on with this many bytes.
const ROOM: u64 = 4 << 20;

/// While a flush is late, memory may grow to this many times its limit before writers wait.
const PATIENCE: u64 = 2;

/// A batch that removes something and adds no more than this, in bytes, is never refused for lack of space.
const SMALL: u64 = 64 << 10;

/// What a record takes beside its value, in bytes: key, sealing, the journal's and the table's own.
const RECORD: u64 = 112;

/// One change, already resolved: at most one for each place in a batch.
pub(crate) struct Write {
    pub place: Place,
    /// None removes what is there.
    pub value: Option<Bytes>,
}

/// Looks at a sealed record.
type Visit<'a> = dyn FnMut(&Place, Bytes) -> Result<ControlFlow<()>, StorageError> + 'a;

/// fjall with encryption, two synced places, limits on memory and disk. All logs of a store share it.
pub(crate) struct Engine {
    pub(super) folder: PathBuf,
    pub(super) memory: Memory,
    pub(super) crypt: Crypt,
    pub(super) group: Group,
    pub(super) second: Second,
    pub(super) space: Space,
    pub(super) state: RwLock<State>,
    /// The engine refused a write and takes no more until it is opened again.
    pub(super) stopped: AtomicBool,
    pub(super) flushing: Mutex<Lag>,
}

pub(super) enum State {
    Open(Rooms),
    /// It could not be opened again.
    Stopped,
    Closed,
}

#[derive(Default)]
pub(super) struct Lag {
    small: u64,
}

impl Engine {
    /// Opens or creates the engine in `folder`. The journal must have been checked.
    pub(crate) fn open(
        folder: PathBuf,
        crypt: Crypt,
        lengths: Lengths,
        memory: Memory,
        space: Space,
    ) -> Result<Self, StorageError> {
        if folder.exists() {
            lists::check(&folder)?
        } else {
            make(&folder, memory)?
        }
        let open = guarded(|| Rooms::new(&folder, memory)).map_err(|error| engine_fault("open", error))?;
        let second = Second::start(lengths).map_err(|error| file_fault("open", error))?;
        Ok(Engine {
            folder,
            memory,
            crypt,
            group: Group::default(),
            second,
            space,
            state: RwLock::new(State::Open(open)),
            stopped: AtomicBool::new(false),
            flushing: Mutex::default(),
        })
    }

    /// What is kept at `place`.
    pub(crate) fn get(&self, place: &Place) -> Result<Option<Bytes>, StorageError> {
        let state = self.hold();
        let open = state.open()?;
        let sealed =
            open.room(place.room()).get(place.as_bytes()).map_err(|error| engine_fault("read", error))?;
        let Some(sealed) = sealed else { return Ok(None) };
        let plain = self.crypt.open(place.as_bytes(), sealed.into()).ok_or_else(|| damaged(place))?;
        Ok(Some(plain))
    }

    /// Visits what is kept from `first` up to, not including, `end`. Both lie in one room.
    pub(crate) fn range(
        &self,
        first: &Place,
        end: &Place,
        visit: &mut dyn FnMut(&Place, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.scan(first, end, &mut |place, sealed| {
            let plain = self.crypt.open(place.as_bytes(), sealed).ok_or_else(|| damaged(place))?;
            Ok(visit(place, plain))
        })
    }

    /// As [`range`](Self::range), with places and sizes only. What is damaged is visited too.
    pub(crate) fn places(
        &self,
        first: &Place,
        end: &Place,
        visit: &mut dyn FnMut(&Place, u64),
    ) -> Result<(), StorageError> {
        self.scan(first, end, &mut |place, sealed| {
            visit(place, sealed.len() as u64);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// As [`range`](Self::range), telling for each place whether it opens, and going on behind damage.
    pub(crate) fn survey(
        &self,
        first: &Place,
        end: &Place,
        visit: &mut dyn FnMut(&Place, Option<Bytes>),
    ) -> Result<(), StorageError> {
        self.scan(first, end, &mut |place, sealed| {
            visit(place, self.crypt.open(place.as_bytes(), sealed));
            Ok(ControlFlow::Continue(()))
        })
    }

    pub(super) fn scan(&self, first: &Place, end: &Place, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let state = self.hold();
        let open = state.open()?;
        for item in open.room(first.room()).range(first.as_bytes().as_slice()..end.as_bytes().as_slice()) {
            let (key, sealed) = item.into_inner().map_err(|error| engine_fault("read", error))?;
            let Some(place) = Place::from_bytes(&key) else { continue };
            if visit(&place, sealed.into())?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Makes all changes at once. `mark` is the length they give a log, if they change it.
    pub(crate) fn commit(
        &self,
        writes: Vec<Write>,
        mark: Option<(LogId, Mark)>,
        durability: Durability,
    ) -> Result<(), StorageError> {
        let adds = |write: &Write| write.value.as_ref().map_or(0, |value| value.len() as u64 + RECORD);
        let bytes: u64 = writes.iter().map(adds).sum();
        // What gives space back must be possible when there is none.
        let frees = bytes < SMALL && writes.iter().any(|write| write.value.is_none());
        let ticket = {
            let state = self.alive()?;
            let open = state.open()?;
            if !frees {
                self.space.take(bytes, open.db.write_buffer_size())?;
            }
            let mut batch = OwnedWriteBatch::with_capacity(open.db.clone(), writes.len())
                .durability(Some(PersistMode::Buffer));
            for room in [Room::Small, Room::Bodies] {
                let of_room: Vec<&Write> = writes.iter().filter(|write| write.place.room() == room).collect();
                parcel::seal_all(&self.crypt, &of_room, &mut |key, value| match value {
                    Some(value) => batch.insert(open.room(room), key, value),
                    None => batch.remove(open.room(room), key),
                });
            }
            batch.commit().map_err(|error| self.stop("write to", error))?;
            open.tail.wrote(bytes);
            let ticket = self.group.written(mark);
            self.flush_some(open, bytes)?;
            ticket
        };
        match durability {
            Durability::Relaxed => Ok(()),
            Durability::Durable => self.sync_to(ticket),
        }
    }

    /// Returns when everything committed so far lasts.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.sync_to(self.group.newest())
    }

    /// The newest commit.
    pub(crate) fn newest(&self) -> Ticket {
        self.group.newest()
    }

    /// Whether the commit with `ticket` and all before it last.
    pub(crate) fn lasts(&self, ticket: Ticket) -> bool {
        self.group.lasts(ticket)
    }

    /// Who waits for which sync.
    #[cfg(test)]
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Whether writers would not be refused.
    pub(crate) fn has_room(&self) -> bool {
        self.space.room() > ROOM
    }

    /// Notes that all lengths are certain if nothing is under way, and syncs first if that is `due`.
    pub(crate) fn tend(&self, due: bool) -> Result<(), StorageError> {
        if due && self.group.dirty() {
            self.sync()?;
        }
        self.confirm()
    }

    fn confirm(&self) -> Result<(), StorageError> {
        let seen = self.second.recorded();
        if self.group.dirty() { Ok(()) } else { self.second.confirm(seen) }
    }

    /// Returns when the commit with `ticket` and all before it last.
    pub(crate) fn sync_to(&self, ticket: Ticket) -> Result<(), StorageError> {
        self.group.wait(ticket, |marks| {
            // Before anything is noted: one more record would make certain what a failed sync was for.
            let state = self.alive()?;
            let second = self.second.begin(marks.to_vec());
            let first = state.open().and_then(|open| {
                let synced = open.tail.sync().map_err(fjall::Error::from);
                // The engine says here whether a sync of its own has failed meanwhile.
                let synced = synced.and_then(|()| open.db.persist(PersistMode::Buffer));
                synced.map_err(|error| self.stop("sync", error))
            });
            drop(state);
            // Both, whatever one says: nothing may still be writing when this returns.
            let second = second.wait();
            first.and(second)
        })
    }

    /// The second place, for what is settled at opening.
    pub(crate) fn second(&self) -> &Second {
        &self.second
    }

    /// Bytes that may be written before writers are refused.
    pub(crate) fn room(&self) -> u64 {
        self.space.room()
    }

    /// Closes the engine, everything synced. Whoever still holds it gets [`StorageError::Closed`].
    pub(crate) fn close(&self) -> Result<(), StorageError> {
        if matches!(*self.hold(), State::Closed) {
            return Ok(());
        }
        let synced = if self.group.dirty() { self.sync() } else { Ok(()) };
        let synced = synced.and_then(|()| self.confirm());
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Closed;
        synced
    }

    /// Flushes memory that has grown past its limit, after waiting for the flush before.
    fn flush_some(&self, open: &Rooms, bytes: u64) -> Result<(), StorageError> {
        let full =
            |room: &Keyspace, times: u64| room.tree.active_memtable().size() > times * self.memory.buffer();
        let mut lag = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        lag.small += bytes;
        if full(&open.bodies, 1) && self.may_rotate(&open.bodies, full(&open.bodies, PATIENCE)) {
            self.rotate(open, &open.bodies)?;
        }
        let wanted = full(&open.small, 1) || lag.small > LAG;
        if wanted && self.may_rotate(&open.small, full(&open.small, PATIENCE) || lag.small > PATIENCE * LAG) {
            self.rotate(open, &open.small)?;
            lag.small = 0;
        }
        Ok(())
    }

    /// Whether a room can be rotated without waiting for the flush before, or must be all the same.
    fn may_rotate(&self, room: &Keyspace, must: bool) -> bool {
        must || room.sealed_memtable_count() == 0
    }

    pub(super) fn rotate(&self, open: &Rooms, room: &Keyspace) -> Result<(), StorageError> {
        self.wait_flushed(open, room)?;
        open.reserve().map_err(|error| self.stop("flush", error.into()))?;
        room.rotate_memtable().map_err(|error| self.stop("flush", error))?;
        Ok(())
    }

    /// Waits until nothing of a room is on its way to a table.
    pub(super) fn wait_flushed(&self, open: &Rooms, room: &Keyspace) -> Result<(), StorageError> {
        let mut naps = 0_u32;
        while room.sealed_memtable_count() > 0 {
            std::thread::sleep(Duration::from_micros(200));
            naps += 1;
            // The flushing thread may have died of a full disk; only a write tells.
            if naps.is_multiple_of(50) {
                open.db.persist(PersistMode::Buffer).map_err(|error| self.stop("flush", error))?;
            }
        }
        Ok(())
    }

    /// After any refused write the engine takes no other.
    pub(super) fn stop(&self, doing: &'static str, error: fjall::Error) -> StorageError {
        self.stopped.store(true, Ordering::Release);
        // What stopped a flush is not told to the next writer; on a disk without room it was that.
        if self.space.room() == 0 { StorageError::Full } else { engine_fault(doing, error) }
    }

    fn hold(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine, unless a failed write or sync has stopped it. Until the store is opened again nothing is taken: the
    /// system may have dropped what it could not write, and what was refused may come back from a buffer, so only
    /// the disk tells what is there.
    pub(super) fn alive(&self) -> Result<RwLockReadGuard<'_, State>, StorageError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(StorageError::Engine { doing: "write to", source: Box::new(Stopped) });
        }
        Ok(self.hold())
    }
}

/// Why nothing is written any more.
#[derive(Debug, thiserror::Error)]
#[error("a write to the disk failed before: close the store and open it again")]
struct Stopped;

impl State {
    pub(super) fn open(&self) -> Result<&Rooms, StorageError> {
        match self {
            State::Open(open) => Ok(open),
            State::Stopped => Err(StorageError::Engine { doing: "read", source: Box::new(Stopped) }),
            State::Closed => Err(StorageError::Closed),
        }
    }
}
