use super::contents;
use super::fault::{engine_fault, file_fault, guarded};
use super::place::Room;
use super::reserve::reserve;
use super::tail::Tail;
use crate::options::Memory;
use cloudpal_log::StorageError;
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};
use std::fs::File;
use std::path::Path;

/// Blocks of this size and more go to files of their own, so that compaction moves pointers only.
const APART: u32 = 4096;
/// Size of such a file: what must be half empty before its space comes back.
const BODY_FILE: u64 = 16 << 20;
/// The engine's journals may take this much disk before the oldest is emptied. Its own minimum.
const JOURNALS: u64 = 64 << 20;

/// fjall as this store uses it.
pub(super) struct Rooms {
    pub db: Database,
    pub small: Keyspace,
    pub bodies: Keyspace,
    pub tail: Tail,
}

impl Rooms {
    pub(super) fn new(folder: &Path, memory: Memory) -> fjall::Result<Self> {
        contents::check(&folder.join("keyspaces"))?;
        let db = Database::builder(folder)
            .cache_size(memory.cache())
            // With two, one spins on the queue whenever the other compacts.
            .worker_threads(1)
            .max_journaling_size(JOURNALS)
            .open()?;
        // Flushing is decided below, where a writer can wait for it; the engine itself only asks for it, again
        // and again until its queue is full.
        let options = || KeyspaceCreateOptions::default().max_memtable_size(1 << 40);
        let apart = KvSeparationOptions::default()
            .separation_threshold(APART)
            .file_target_size(BODY_FILE)
            .age_cutoff(1.0);
        let small = db.keyspace("small", options)?;
        let bodies = db.keyspace("bodies", || options().with_kv_separation(Some(apart)))?;
        // fjall 3.1 leaves the names of new folders to chance.
        File::open(folder.join("keyspaces"))?.sync_all()?;
        let rooms = Rooms { db, small, bodies, tail: Tail::new(folder)? };
        // What the engine begins by itself when it is opened it may have begun without names.
        if rooms.bodies.sealed_memtable_count() > 0 || rooms.bodies.tree.l0_run_count() > 0 {
            rooms.reserve()?;
        }
        Ok(rooms)
    }

    /// To be called before anything is flushed or compacted.
    pub(super) fn reserve(&self) -> std::io::Result<()> {
        reserve(&self.bodies.path().join("blobs"))
    }

    pub(super) fn room(&self, room: Room) -> &Keyspace {
        match room {
            Room::Small => &self.small,
            Room::Bodies => &self.bodies,
        }
    }
}

/// Makes an engine aside and renames it: one that was interrupted while it was made never opens again.
pub(super) fn make(folder: &Path, memory: Memory) -> Result<(), StorageError> {
    let aside = folder.with_extension("new");
    let fault = |error| file_fault("create", error);
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(fault)?;
    }
    drop(guarded(|| Rooms::new(&aside, memory)).map_err(|error| engine_fault("create", error))?);
    std::fs::rename(&aside, folder).map_err(fault)?;
    let parent = folder.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(fault)
}
