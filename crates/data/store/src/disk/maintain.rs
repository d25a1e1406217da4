//! What an engine does now and then: give space back, and bring back what damage had cut off.

use super::engine::{Engine, State};
use super::fault::{engine_fault, file_fault, guarded};
use super::journal::{self, Batch};
use super::lengths::LogId;
use super::place::Place;
use super::rooms::Rooms;
use cloudpal_log::{StorageError, Table};
use fjall::PersistMode;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Engine {
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
                    open.reserve().map_err(|error| self.stop("compact", error.into()))?;
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
        journal::empty(&self.folder).map_err(|error| file_fault("write to", error))?;
        let open =
            guarded(|| Rooms::new(&self.folder, self.memory)).map_err(|error| engine_fault("open", error))?;
        *state = State::Open(open);
        self.stopped.store(false, Ordering::Release);
        Ok(())
    }

    /// All logs that have anything here.
    pub(crate) fn logs(&self) -> Result<BTreeSet<LogId>, StorageError> {
        let mut logs = BTreeSet::new();
        for table in Table::ALL {
            let (mut at, end) = Place::tables(table);
            loop {
                let mut found = None;
                self.scan(&at, &end, &mut |place, _| {
                    found = Some(*place);
                    Ok(ControlFlow::Break(()))
                })?;
                let Some(place) = found else { break };
                logs.insert(place.log());
                at = place.log_end();
            }
        }
        Ok(logs)
    }

    /// Brings back what was cut off the journal behind damage: batches that were whole, record by record, each only if
    /// it opens in its place. Returns how many batches.
    pub(crate) fn restore(&self, batches: &[Batch]) -> Result<usize, StorageError> {
        let state = self.alive()?;
        let open = state.open()?;
        for Batch { items, .. } in batches {
            let mut batch = open.db.batch();
            for item in items {
                let room = [&open.small, &open.bodies].into_iter().find(|room| room.id() == item.keyspace);
                let (Some(room), Some(place)) = (room, Place::from_bytes(&item.key)) else { continue };
                match &item.value {
                    None => batch.remove(room, &item.key[..]),
                    Some(sealed) if self.crypt.open(place.as_bytes(), sealed.clone().into()).is_some() => {
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
}
