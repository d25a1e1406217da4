use crate::disk::{LogId, Place, Write};
use crate::registry::Record;
use crate::store::Inner;
use crate::{Namespace, Store};
use cloudpal_log::{Durability, StorageError, Table};
use std::collections::HashMap;
use std::time::Duration;

/// How many records one batch removes.
const CHUNK: usize = 10_000;
/// How often a log is looked at that is to be deleted, 5 ms apart.
const PATIENCE: u32 = 40;

/// What a store takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk, in all.
    pub disk_bytes: u64,
    /// Bytes that may still be written before writers are refused, by quota or free space.
    pub room_bytes: u64,
    /// The logs, the largest first.
    pub logs: Vec<LogUsage>,
}

/// What a log takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogUsage {
    /// Its key.
    pub key: [u8; 32],
    /// Its name here, if the store derives its signing key from one.
    pub name: Option<(Namespace, String)>,
    /// Bytes of block bodies held.
    pub held_bytes: u64,
}

/// What was swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Bytes on disk before.
    pub before_bytes: u64,
    /// Bytes on disk now.
    pub after_bytes: u64,
    /// Records of deleted logs that a crash had left.
    pub leftovers: u64,
}

/// Why a log was not deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// Somebody uses it.
    #[error("the log is in use: close its sessions and its connections first")]
    InUse,
    /// It is not here.
    #[error("there is no log with this key here")]
    Absent,
    /// The engine below.
    #[error("cannot delete the log")]
    Storage(#[from] StorageError),
}

impl Store {
    /// What the store and each log in it take.
    pub fn usage(&self) -> Result<Usage, StorageError> {
        let open: HashMap<LogId, u64> =
            self.inner.all_open().iter().map(|shared| (shared.id, shared.held())).collect();
        let records = self.inner.records()?;
        let mut logs: Vec<LogUsage> = records
            .into_iter()
            .map(|(id, Record { key, name, held, .. })| {
                let held_bytes = open.get(&id).copied().unwrap_or(held);
                LogUsage { key, name, held_bytes }
            })
            .collect();
        logs.sort_by_key(|log| std::cmp::Reverse(log.held_bytes));
        let disk_bytes = crate::disk::folder_bytes(self.inner.folder());
        Ok(Usage { disk_bytes, room_bytes: self.inner.engine.room(), logs })
    }

    /// Gives the space of what was cleared, truncated and deleted back to the disk, and counts anew what logs hold.
    /// Reading and writing go on, but for a moment at the end.
    pub fn gc(&self) -> Result<Swept, StorageError> {
        let before_bytes = crate::disk::folder_bytes(self.inner.folder());
        let leftovers = self.inner.sweep_leftovers()?;
        self.inner.recount()?;
        self.inner.engine.compact()?;
        Ok(Swept { before_bytes, after_bytes: crate::disk::folder_bytes(self.inner.folder()), leftovers })
    }

    /// Deletes a log with all that is kept about it here. [`gc`](Self::gc) gives its space back.
    pub fn delete(&self, key: [u8; 32]) -> Result<(), DeleteError> {
        let id = self.inner.id(&cloudpal_log::hash::discovery_key(&key));
        if !self.inner.wait_unused(id) {
            return Err(DeleteError::InUse);
        }
        if self.inner.record(id)?.is_none() {
            return Err(DeleteError::Absent);
        }
        // The record goes first: what a crash leaves of the rest is then swept by `gc`.
        let engine = &self.inner.engine;
        engine.commit(vec![Write { place: Place::registry(id), value: None }], None, Durability::Durable)?;
        self.inner.settle(id, None)?;
        self.inner.remove_slots(id)?;
        Ok(())
    }
}

impl Inner {
    /// Whether nobody uses a log. The thread that tends the store lets go of it up to a moment after its last user.
    fn wait_unused(&self, id: LogId) -> bool {
        (0..PATIENCE).any(|_| {
            let unused = !self.all_open().iter().any(|shared| shared.id == id);
            if !unused {
                std::thread::sleep(Duration::from_millis(5));
            }
            unused
        })
    }

    /// Removes all slots of a log; how many there were.
    pub(crate) fn remove_slots(&self, id: LogId) -> Result<u64, StorageError> {
        let mut places = Vec::new();
        for table in Table::ALL {
            let (first, end) = Place::table(id, table);
            self.engine.places(&first, &end, &mut |place, _| places.push(*place))?;
        }
        for chunk in places.chunks(CHUNK) {
            let writes = chunk.iter().map(|place| Write { place: *place, value: None }).collect();
            self.engine.commit(writes, None, Durability::Relaxed)?;
        }
        Ok(places.len() as u64)
    }

    /// Removes slots of logs that the store has no record of; a crash in the middle of a deletion leaves them. Does
    /// nothing when a record is damaged: then the slots may be all that is left of a log.
    fn sweep_leftovers(&self) -> Result<u64, StorageError> {
        let Some(known) = self.sound_records()? else { return Ok(0) };
        let mut removed = 0;
        for id in self.engine.logs()? {
            if !known.contains_key(&id) {
                removed += self.remove_slots(id)?;
            }
        }
        Ok(removed)
    }

    fn sound_records(&self) -> Result<Option<HashMap<LogId, Record>>, StorageError> {
        let mut sound = true;
        let mut known = HashMap::new();
        let (first, end) = Place::registries();
        self.engine.survey(&first, &end, &mut |place, bytes| match bytes
            .and_then(|bytes| Record::decode(&bytes).ok())
        {
            Some(record) => drop(known.insert(place.log(), record)),
            None => sound = false,
        })?;
        Ok(sound.then_some(known))
    }

    /// Counts anew what logs hold that are not open; those that are keep count themselves.
    fn recount(&self) -> Result<(), StorageError> {
        let open: Vec<LogId> = self.all_open().iter().map(|shared| shared.id).collect();
        for (id, record) in self.records()?.into_iter().filter(|(id, _)| !open.contains(id)) {
            let mut held = 0;
            let (first, end) = Place::table(id, Table::Block);
            self.engine.places(&first, &end, &mut |_, size| held += size - crate::disk::OVERHEAD as u64)?;
            if held != record.held {
                crate::registry::put_record(&self.engine, id, &Record { held, ..record })?;
            }
        }
        Ok(())
    }
}
