use crate::bee::check_size;
use crate::draft::Draft;
use crate::lock::WriterGuard;
use crate::range::Walk;
use crate::{Bee, Entry, Range, ReadError, WriteError, tree};
use bytes::Bytes;
use std::sync::Arc;

/// Operations that are appended together: all or none, and readers see all or none. See [`Bee::batch`].
pub struct Batch {
    bee: Bee,
    state: State,
}

enum State {
    /// Nothing was written, nobody waits.
    Idle,
    /// Others wait until this is flushed or dropped.
    Open(Box<(WriterGuard, Draft)>),
    /// An operation failed half way.
    Broken,
}

impl Batch {
    pub(crate) fn new(bee: Bee) -> Self {
        Batch { bee, state: State::Idle }
    }

    /// Goes on with the keys of `sub`, another sub-database of the same bee (or the whole), so that one batch changes
    /// several. Both must come from one [`Bee::new`].
    ///
    /// ```
    /// # use cloudpal_bee::{Bee, Options};
    /// # use cloudpal_log::{KeyPair, MemoryFeed};
    /// # let feed = MemoryFeed::create(KeyPair::from_seed(&[7; 32]));
    /// # let bee = Bee::new(std::sync::Arc::new(feed), Options::default());
    /// let (people, by_city) = (bee.sub("people"), bee.sub("by-city"));
    /// let mut batch = people.batch();
    /// batch.put("ada", "London")?;
    /// batch.select(&by_city)?;
    /// batch.put("London/ada", "")?;
    /// batch.flush()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select(&mut self, sub: &Bee) -> Result<(), WriteError> {
        if !Arc::ptr_eq(&self.bee.shared, &sub.shared) {
            return Err(WriteError::OtherBee);
        }
        self.bee = sub.clone();
        Ok(())
    }

    /// Puts `value` at `key`; returns the block it will be in. See [`Bee::put`].
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Option<u64>, WriteError> {
        self.put_value(key.as_ref(), Some(Bytes::copy_from_slice(value.as_ref())), None)
    }

    /// Puts `key` without a value.
    pub fn put_null(&mut self, key: impl AsRef<[u8]>) -> Result<Option<u64>, WriteError> {
        self.put_value(key.as_ref(), None, None)
    }

    /// Puts `value` at `key` if `condition` says so. See [`Bee::put_if`].
    pub fn put_if(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        mut condition: impl FnMut(Option<&Entry>, &Entry) -> bool,
    ) -> Result<Option<u64>, WriteError> {
        let bee = self.bee.clone();
        let mut unprefixed = |old: Option<&Entry>, new: &Entry| {
            let old = old.map(|entry| bee.unprefixed(entry.clone()));
            condition(old.as_ref(), &bee.unprefixed(new.clone()))
        };
        self.put_value(key.as_ref(), Some(Bytes::copy_from_slice(value.as_ref())), Some(&mut unprefixed))
    }

    /// Deletes `key`. Returns the block that will say so, or none if the key is not there.
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> Result<Option<u64>, WriteError> {
        let key = self.bee.full_key(key.as_ref());
        self.attempt(|draft| draft.delete(key, None))
    }

    /// Deletes `key` if it is there and `condition` says so.
    pub fn del_if(
        &mut self,
        key: impl AsRef<[u8]>,
        mut condition: impl FnMut(&Entry) -> bool,
    ) -> Result<Option<u64>, WriteError> {
        let (key, bee) = (self.bee.full_key(key.as_ref()), self.bee.clone());
        let mut unprefixed = |old: &Entry| condition(&bee.unprefixed(old.clone()));
        self.attempt(|draft| draft.delete(key, Some(&mut unprefixed)))
    }

    /// The entry of `key` as this batch leaves it.
    pub fn get(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, ReadError> {
        let State::Open(open) = &mut self.state else { return self.bee.get(key) };
        let found = tree::get(&mut &mut open.1, &self.bee.full_key(key.as_ref()))?;
        Ok(found.map(|entry| self.bee.unprefixed(entry)))
    }

    /// The entries of `range` as this batch leaves them.
    pub fn range(&mut self, range: Range) -> Box<dyn Iterator<Item = Result<Entry, ReadError>> + '_> {
        let State::Open(open) = &mut self.state else { return Box::new(self.bee.range(range)) };
        let bee = &self.bee;
        let walk = Walk::new(&mut open.1, range.within(&bee.prefix));
        Box::new(walk.map(|entry| entry.map(|entry| bee.unprefixed(entry))))
    }

    /// Number of operations that will be appended.
    pub fn len(&self) -> usize {
        match &self.state {
            State::Open(open) => open.1.len(),
            _ => 0,
        }
    }

    /// Whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends all operations; returns their blocks.
    pub fn flush(self) -> Result<std::ops::Range<u64>, WriteError> {
        match self.state {
            State::Idle => {
                let version = self.bee.version();
                Ok(version..version)
            }
            State::Broken => Err(WriteError::BatchBroken),
            State::Open(open) => {
                let (guard, draft) = *open;
                let written = self.bee.shared.commit(draft);
                drop(guard);
                written
            }
        }
    }

    fn put_value(
        &mut self,
        key: &[u8],
        value: Option<Bytes>,
        condition: Option<crate::draft::PutCondition<'_>>,
    ) -> Result<Option<u64>, WriteError> {
        let key = self.bee.full_key(key);
        check_size(&key, value.as_ref())?;
        self.attempt(|draft| draft.put(key, value, condition))
    }

    /// Does an operation on the draft. One that fails may have left the draft half changed, so nothing of it is used.
    fn attempt<T>(
        &mut self,
        operation: impl FnOnce(&mut Draft) -> Result<T, ReadError>,
    ) -> Result<T, WriteError> {
        if let State::Idle = self.state {
            self.state = State::Open(Box::new(self.bee.shared.begin()?));
        }
        let State::Open(open) = &mut self.state else { return Err(WriteError::BatchBroken) };
        let result = operation(&mut open.1);
        if result.is_err() {
            self.state = State::Broken;
        }
        Ok(result?)
    }
}
