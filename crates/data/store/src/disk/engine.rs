use super::crypt::Crypt;
use super::fault::{damaged, engine_fault, file_fault, guarded};
use super::group::Group;
use super::journal::Item;
use super::lengths::{Lengths, LogId, Mark};
use super::place::{Place, Room};
use super::second::Second;
use super::space::Space;
use crate::options::Memory;
use bytes::Bytes;
use cloudpal_log::{Durability, StorageError};
use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch,
    PersistMode,
};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// Blocks of this size and more go to files of their own, so that compaction moves pointers only.
const APART: u32 = 4096;
/// Size of such a file: what must be half empty before its space comes back.
const BODY_FILE: u64 = 16 << 20;
/// The engine's journals may take this much disk before the oldest is emptied. Its own minimum.
const JOURNALS: u64 = 64 << 20;
/// Small records are flushed after this many bytes were written in all, or they would pin every journal.
const LAG: u64 = 32 << 20;

/// Replication that a full disk had stopped goes on with this many bytes.
const ROOM: u64 = 4 << 20;

/// One change, already resolved: at most one for each place in a batch.
pub(crate) struct Write {
    pub place: Place,
    /// None removes what is there.
    pub value: Option<Bytes>,
}

/// fjall with encryption, two synced places, limits on memory and disk. All logs of a store share it.
pub(crate) struct Engine {
    folder: PathBuf,
    memory: Memory,
    crypt: Crypt,
    group: Group,
    second: Second,
    space: Space,
    state: RwLock<State>,
    /// The engine refused a write and takes no more until it is opened again.
    stopped: AtomicBool,
    flushing: Mutex<Lag>,
}

enum State {
    Open(Open),
    /// Opening again failed; the next write tries once more.
    Stopped,
    Closed,
}

struct Open {
    db: Database,
    small: Keyspace,
    bodies: Keyspace,
}

#[derive(Default)]
struct Lag {
    small: u64,
}

impl Open {
    fn new(folder: &Path, memory: Memory) -> fjall::Result<Self> {
        let db = Database::builder(folder)
            .cache_size(memory.cache())
            // One worker can wait for itself: its queue is bounded and it also fills it.
            .worker_threads(2)
            .max_journaling_size(JOURNALS)
            .open()?;
        // Flushing is decided below, where a writer can wait for it; the engine itself only asks for it, again
        // and again until its queue is full.
        let options = || KeyspaceCreateOptions::default().max_memtable_size(1 << 40);
        let apart = KvSeparationOptions::default().separation_threshold(APART).file_target_size(BODY_FILE);
        let small = db.keyspace("small", options)?;
        let bodies = db.keyspace("bodies", || options().with_kv_separation(Some(apart)))?;
        // fjall 3.1 leaves the names of new folders to chance.
        File::open(folder.join("keyspaces"))?.sync_all()?;
        Ok(Open { db, small, bodies })
    }

    fn room(&self, room: Room) -> &Keyspace {
        match room {
            Room::Small => &self.small,
            Room::Bodies => &self.bodies,
        }
    }
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
        if !folder.exists() {
            make(&folder, memory)?;
        }
        let open = guarded(|| Open::new(&folder, memory)).map_err(|error| engine_fault("open", error))?;
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
        let plain = self.crypt.open(place.as_bytes(), &sealed).ok_or_else(|| damaged(place))?;
        Ok(Some(Bytes::from(plain)))
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
            Ok(visit(place, Bytes::from(plain)))
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
            visit(place, self.crypt.open(place.as_bytes(), sealed).map(Bytes::from));
            Ok(ControlFlow::Continue(()))
        })
    }

    fn scan(
        &self,
        first: &Place,
        end: &Place,
        visit: &mut dyn FnMut(&Place, &[u8]) -> Result<ControlFlow<()>, StorageError>,
    ) -> Result<(), StorageError> {
        let state = self.hold();
        let open = state.open()?;
        for item in open.room(first.room()).range(first.as_bytes().as_slice()..end.as_bytes().as_slice()) {
            let (key, sealed) = item.into_inner().map_err(|error| engine_fault("read", error))?;
            let Some(place) = Place::from_bytes(&key) else { continue };
            if visit(&place, &sealed)?.is_break() {
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
        let sealed: Vec<_> = writes
            .into_iter()
            .map(|write| {
                let value = write.value.map(|value| self.crypt.seal(write.place.as_bytes(), &value));
                (write.place, value)
            })
            .collect();
        let bytes = sealed.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len) as u64 + 64).sum();
        let frees = sealed.iter().all(|(_, value)| value.is_none());
        if !frees {
            self.space.take(bytes)?;
        }
        let ticket = {
            let state = self.alive()?;
            let open = state.open()?;
            let mut batch = OwnedWriteBatch::with_capacity(open.db.clone(), sealed.len())
                .durability(Some(PersistMode::Buffer));
            for (place, value) in sealed {
                let room = open.room(place.room());
                match value {
                    Some(value) => batch.insert(room, &place.as_bytes()[..], value),
                    None => batch.remove(room, &place.as_bytes()[..]),
                }
            }
            batch.commit().map_err(|error| self.stop("write to", error))?;
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

    fn sync_to(&self, ticket: u64) -> Result<(), StorageError> {
        self.group.wait(ticket, |marks| {
            let second = self.second.begin(marks.to_vec());
            let first = {
                let state = self.hold();
                // Never opened again after a failed sync: the system may have dropped what it could not write.
                state.open()?.db.persist(PersistMode::SyncData).map_err(|error| engine_fault("sync", error))
            };
            // Both, whatever one says: nothing may still be writing when this returns.
            let second = second.wait();
            first.and(second)
        })
    }

    /// The second place, for what is settled at opening.
    pub(crate) fn second(&self) -> &Second {
        &self.second
    }

    /// Brings back what was cut off the journal behind damage: batches that were whole, record by record, each only if
    /// it opens in its place. Returns how many batches.
    pub(crate) fn restore(&self, batches: &[Vec<Item>]) -> Result<usize, StorageError> {
        let state = self.alive()?;
        let open = state.open()?;
        for items in batches {
            let mut batch = open.db.batch();
            for item in items {
                let room = [&open.small, &open.bodies].into_iter().find(|room| room.id() == item.keyspace);
                let (Some(room), Some(place)) = (room, Place::from_bytes(&item.key)) else { continue };
                match &item.value {
                    None => batch.remove(room, &item.key[..]),
                    Some(sealed) if self.crypt.open(place.as_bytes(), sealed).is_some() => {
                        batch.insert(room, &item.key[..], &sealed[..]);
                    }
                    Some(_) => {}
                }
            }
            batch.commit().map_err(|error| self.stop("write to", error))?;
        }
        open.db.persist(PersistMode::SyncData).map_err(|error| engine_fault("sync", error))?;
        Ok(batches.len())
    }

    /// Bytes that may be written before writers are refused.
    pub(crate) fn room(&self) -> u64 {
        self.space.room()
    }

    /// All logs that have slots among the small records.
    pub(crate) fn logs(&self) -> Result<Vec<LogId>, StorageError> {
        let mut logs = Vec::new();
        let mut at = Place::first_slot();
        loop {
            let mut found = None;
            self.scan(&at, &Place::slots_end(), &mut |place, _| {
                found = Some(place.log());
                Ok(ControlFlow::Break(()))
            })?;
            let Some(log) = found else { return Ok(logs) };
            logs.push(log);
            at = Place::log_end(log);
        }
    }

    /// Writes all memory down, rewrites what holds removed records, and gives its space back to the disk.
    pub(crate) fn compact(&self) -> Result<(), StorageError> {
        {
            let state = self.alive()?;
            let open = state.open()?;
            for room in [&open.small, &open.bodies] {
                // The first round learns what is stale in block files, the second moves what is not.
                for _ in 0..2 {
                    let lag = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
                    self.rotate(open, room)?;
                    self.wait_flushed(open, room)?;
                    drop(lag);
                    room.major_compact().map_err(|error| engine_fault("compact", error))?;
                }
            }
        }
        self.renew()
    }

    /// Opens the engine again with an empty journal: only then it removes files that compaction has replaced.
    fn renew(&self) -> Result<(), StorageError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let open = state.open()?;
        for room in [&open.small, &open.bodies] {
            self.rotate(open, room)?;
            self.wait_flushed(open, room)?;
        }
        // Everything is in tables, which are synced; the journal has nothing to add.
        *state = State::Stopped;
        self.stopped.store(true, Ordering::Release);
        super::journal::empty(&self.folder).map_err(|error| file_fault("write to", error))?;
        let open =
            guarded(|| Open::new(&self.folder, self.memory)).map_err(|error| engine_fault("open", error))?;
        *state = State::Open(open);
        self.stopped.store(false, Ordering::Release);
        Ok(())
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
    fn flush_some(&self, open: &Open, bytes: u64) -> Result<(), StorageError> {
        let full = |room: &Keyspace| room.tree.active_memtable().size() > self.memory.buffer();
        let mut lag = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        lag.small += bytes;
        if full(&open.bodies) {
            self.rotate(open, &open.bodies)?;
        }
        if full(&open.small) || lag.small > LAG {
            self.rotate(open, &open.small)?;
            lag.small = 0;
        }
        Ok(())
    }

    fn rotate(&self, open: &Open, room: &Keyspace) -> Result<(), StorageError> {
        self.wait_flushed(open, room)?;
        room.rotate_memtable().map_err(|error| self.stop("flush", error))?;
        Ok(())
    }

    /// Waits until nothing of a room is on its way to a table.
    fn wait_flushed(&self, open: &Open, room: &Keyspace) -> Result<(), StorageError> {
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
    fn stop(&self, doing: &'static str, error: fjall::Error) -> StorageError {
        self.stopped.store(true, Ordering::Release);
        // What stopped a flush is not told to the next writer; on a disk without room it was that.
        if self.space.room() == 0 { StorageError::Full } else { engine_fault(doing, error) }
    }

    fn hold(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine, opened again if a refused write had stopped it and there is room now.
    fn alive(&self) -> Result<RwLockReadGuard<'_, State>, StorageError> {
        if !self.stopped.load(Ordering::Acquire) {
            return Ok(self.hold());
        }
        if self.space.room() == 0 {
            return Err(StorageError::Full);
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) && !matches!(*state, State::Closed) {
            *state = State::Stopped;
            // What is cut off here was refused to its writer.
            for cut in super::journal::check(&self.folder, &self.folder).map_err(|e| file_fault("read", e))? {
                std::fs::remove_file(cut).map_err(|error| file_fault("write to", error))?;
            }
            let open = guarded(|| Open::new(&self.folder, self.memory))
                .map_err(|error| engine_fault("open", error))?;
            *state = State::Open(open);
            self.stopped.store(false, Ordering::Release);
        }
        drop(state);
        Ok(self.hold())
    }
}

/// Makes an engine aside and renames it: one that was interrupted while it was made never opens again.
fn make(folder: &Path, memory: Memory) -> Result<(), StorageError> {
    let aside = folder.with_extension("new");
    let fault = |error| file_fault("create", error);
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(fault)?;
    }
    drop(guarded(|| Open::new(&aside, memory)).map_err(|error| engine_fault("create", error))?);
    std::fs::rename(&aside, folder).map_err(fault)?;
    let parent = folder.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(fault)
}

impl State {
    fn open(&self) -> Result<&Open, StorageError> {
        match self {
            State::Open(open) => Ok(open),
            State::Stopped => Err(StorageError::Full),
            State::Closed => Err(StorageError::Closed),
        }
    }
}
