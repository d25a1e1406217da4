use super::engine::{Engine, Write};
use super::lengths::{LogId, Mark};
use super::place::Place;
use crate::Extent;
use bytes::Bytes;
use cloudpal_log::codec::Reader;
use cloudpal_log::{Batch, Change, Durability, Slot, Storage, StorageError, Table};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One log's part of the engine.
pub(crate) struct LogStorage {
    engine: Arc<Engine>,
    id: LogId,
    key: [u8; 32],
    /// Bytes of block bodies held, for quotas and reports.
    held: Arc<AtomicU64>,
    /// How much `held` may come to.
    quota: u64,
}

impl LogStorage {
    /// For the log `key`, which takes at most `quota` bytes of bodies.
    pub(crate) fn new(
        engine: Arc<Engine>,
        id: LogId,
        key: [u8; 32],
        held: Arc<AtomicU64>,
        quota: u64,
    ) -> Self {
        LogStorage { engine, id, key, held, quota }
    }

    fn place(&self, slot: Slot) -> Place {
        Place::slot(self.id, slot)
    }

    fn ends(&self, table: Table, keys: &Range<u64>) -> (Place, Place) {
        (self.place(Slot::new(table, keys.start)), self.place(Slot::new(table, keys.end)))
    }

    /// At most one change for each place: an engine's batch has no order within.
    fn resolve(&self, batch: Batch) -> Result<(Vec<Write>, Sum), StorageError> {
        let mut writes: Vec<Write> = Vec::with_capacity(batch.changes().len());
        let mut sum = Sum::default();
        for change in batch.into_changes() {
            match change {
                Change::Put(slot, value) => {
                    if slot.table == Table::Block {
                        sum.grown += value.len() as u64;
                    }
                    if slot == HEAD {
                        let mark = |it: Extent| Mark { key: self.key, fork: it.fork, length: it.length };
                        sum.mark = peek(&value).map(mark);
                    }
                    writes.push(Write { place: self.place(slot), value: Some(value) });
                }
                Change::Delete(slot) => {
                    let place = self.place(slot);
                    let end = self.place(Slot::new(slot.table, slot.key.saturating_add(1)));
                    sum.shrunk += self.weigh(&place, &end, &mut |_| {})?;
                    writes.push(Write { place, value: None });
                }
                Change::DeleteRange(table, keys) => {
                    let (first, end) = self.ends(table, &keys);
                    let covered = |write: &&mut Write| first <= write.place && write.place < end;
                    for write in writes.iter_mut().filter(covered) {
                        write.value = None;
                    }
                    sum.shrunk += self.weigh(&first, &end, &mut |place| {
                        writes.push(Write { place: *place, value: None });
                    })?;
                }
            }
        }
        // The last of those with the same place counts; the sort keeps their order.
        writes.reverse();
        writes.sort_by_key(|write| write.place);
        writes.dedup_by_key(|write| write.place);
        Ok((writes, sum))
    }

    /// Bytes of block bodies from `first` to `end`, each place shown.
    fn weigh(&self, first: &Place, end: &Place, show: &mut dyn FnMut(&Place)) -> Result<u64, StorageError> {
        let mut bytes = 0;
        self.engine.places(first, end, &mut |place, size| {
            if place.in_table() == Some(Table::Block) {
                bytes += size.saturating_sub(super::crypt::OVERHEAD as u64);
            }
            show(place);
        })?;
        Ok(bytes)
    }
}

/// What a batch means for its log.
#[derive(Default)]
struct Sum {
    grown: u64,
    shrunk: u64,
    mark: Option<Mark>,
}

/// Where a log keeps what changes with every append.
const HEAD: Slot = Slot::new(Table::Head, 0);

/// Fork and length out of a log's head: version, fork, length, ...
pub(crate) fn peek(head: &[u8]) -> Option<Extent> {
    let mut reader = Reader::new(head);
    reader.byte().ok()?;
    Some(Extent { fork: reader.uint().ok()?, length: reader.uint().ok()? })
}

impl Storage for LogStorage {
    fn get(&self, slot: Slot) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(&self.place(slot))
    }

    fn range(
        &self,
        table: Table,
        keys: Range<u64>,
        visit: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let (first, end) = self.ends(table, &keys);
        self.engine.range(&first, &end, &mut |place, value| visit(place.key(), value))
    }

    fn commit(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        let (writes, sum) = self.resolve(batch)?;
        let held = self.held.load(Ordering::Relaxed);
        if sum.grown > 0 && held + sum.grown > self.quota {
            return Err(StorageError::Full);
        }
        let mark = sum.mark.map(|mark| (self.id, mark));
        self.engine.commit(writes, mark, durability)?;
        let held = self.held.load(Ordering::Relaxed);
        self.held.store((held + sum.grown).saturating_sub(sum.shrunk), Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.engine.sync()
    }
}
