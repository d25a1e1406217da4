use crate::Store;
use crate::disk::{LogId, Place, Write};
use crate::key::keyed_hash;
use crate::store::Inner;
use bytes::Bytes;
use cloudpal_log::{Durability, StorageError};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Numbered pages under a name: what somebody keeps beside logs and can make again from them. Sealed at rest as everything else,
/// and never sent to a peer. What is committed here and to logs survives a crash in the order in which it was committed.
#[derive(Clone)]
pub struct PageFile {
    inner: Arc<Inner>,
    id: LogId,
}

/// One change of pages.
#[derive(Debug, Clone)]
pub enum PageChange {
    /// Writes a page, whatever was there.
    Put(u64, Bytes),
    /// Removes the pages with these numbers.
    Delete(Range<u64>),
}

impl Store {
    /// The pages called `name`; there are none if nobody wrote any.
    pub fn pages(&self, name: &str) -> PageFile {
        let hash = keyed_hash(self.inner.index_key(), &[b"pages", name.as_bytes()]);
        let mut id = LogId::default();
        let len = id.len();
        id.copy_from_slice(&hash.expose()[..len]);
        PageFile { inner: Arc::clone(&self.inner), id }
    }
}

impl PageFile {
    /// A page, or none.
    pub fn get(&self, number: u64) -> Result<Option<Bytes>, StorageError> {
        self.inner.engine.get(&Place::page(self.id, number))
    }

    /// Makes all changes, in their order, or none. They last with the next sync.
    pub fn commit(&self, changes: Vec<PageChange>) -> Result<(), StorageError> {
        // One change for each place: an engine's batch has no order within.
        let mut writes: BTreeMap<Place, Option<Bytes>> = BTreeMap::new();
        for change in changes {
            match change {
                PageChange::Put(number, body) => {
                    writes.insert(Place::page(self.id, number), Some(body));
                }
                PageChange::Delete(numbers) => {
                    let (first, end) = self.ends(&numbers);
                    writes.range_mut(first..end).for_each(|(_, value)| *value = None);
                    self.inner.engine.places(&first, &end, &mut |place, _| {
                        writes.insert(*place, None);
                    })?;
                }
            }
        }
        let writes = writes.into_iter().map(|(place, value)| Write { place, value }).collect();
        self.inner.engine.commit(writes, None, Durability::Relaxed)
    }

    /// Visits the numbers of the pages there are in `numbers`, rising, until told to stop.
    pub fn list(
        &self,
        numbers: Range<u64>,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let (first, end) = self.ends(&numbers);
        let mut stopped = false;
        self.inner.engine.places(&first, &end, &mut |place, _| {
            stopped = stopped || visit(place.key()).is_break();
        })
    }

    /// Bytes that the pages take, as they are sealed.
    pub fn bytes(&self) -> Result<u64, StorageError> {
        let (first, end) = self.ends(&(0..u64::MAX));
        let mut bytes = 0;
        self.inner.engine.places(&first, &end, &mut |_, size| bytes += size)?;
        Ok(bytes)
    }

    fn ends(&self, numbers: &Range<u64>) -> (Place, Place) {
        (Place::page(self.id, numbers.start), Place::page(self.id, numbers.end.max(numbers.start)))
    }
}
