use crate::bee::Shared;
use crate::diff::Diff;
use crate::history::Operations;
use crate::range::Walk;
use crate::reader::Reader;
use crate::{Difference, Entry, History, Operation, Range, ReadError, tree};
use std::sync::Arc;

/// One version of a bee (or of a sub-database), which stays as it is while the log grows.
///
/// A version within a batch is none: the blocks of a batch, but for its last, do not hold a whole tree.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) shared: Arc<Shared>,
    pub(crate) prefix: Arc<[u8]>,
    pub(crate) fork: u64,
    pub(crate) version: u64,
}

impl Snapshot {
    /// The length that the log had. 1 and below is an empty bee.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The fork of the log. A truncation begins a new one, and older snapshots can no longer be read.
    pub fn fork(&self) -> u64 {
        self.fork
    }

    /// The entry of `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, ReadError> {
        let key = key.as_ref();
        let mut reader = self.reader();
        let found = match self.prefix.len() {
            0 => tree::get(&mut reader, key)?,
            _ => tree::get(&mut reader, &[&self.prefix, key].concat())?,
        };
        Ok(found.map(|entry| unprefixed(entry, self.prefix.len())))
    }

    /// What block `seq` put: its key as it is, whatever sub-database this is.
    pub fn get_by_seq(&self, seq: u64) -> Result<Entry, ReadError> {
        let block = self.reader().block(seq)?;
        Ok(Entry { seq, key: block.key.clone(), value: block.value.clone() })
    }

    /// The first entry of `range`.
    pub fn peek(&self, range: Range) -> Result<Option<Entry>, ReadError> {
        self.range(range.limit(1)).next().transpose()
    }

    /// The entries of `range`. Ends after the first error.
    pub fn range(&self, range: Range) -> impl Iterator<Item = Result<Entry, ReadError>> + Send + use<> {
        let prefix = self.prefix.len();
        let walk = Walk::new(self.reader(), range.within(&self.prefix));
        walk.map(move |entry| entry.map(|entry| unprefixed(entry, prefix)))
    }

    /// The operations that led to this version; of a sub-database, those on its keys.
    pub fn history(
        &self,
        wanted: History,
    ) -> impl Iterator<Item = Result<Operation, ReadError>> + Send + use<> {
        Operations::new(self.reader(), self.prefix.to_vec(), wanted)
    }

    /// Keys of `range` whose entries are not the same in `other`, in order (a reversed range goes forward too). An
    /// entry put again with an equal value is not the same.
    pub fn diff(
        &self,
        other: &Snapshot,
        range: Range,
    ) -> impl Iterator<Item = Result<Difference, ReadError>> + Send + use<> {
        let prefix = self.prefix.len();
        let diff = Diff::new(self.reader(), other.reader(), range.forward().within(&self.prefix));
        diff.map(move |difference| {
            difference.map(|Difference { left, right }| Difference {
                left: left.map(|entry| unprefixed(entry, prefix)),
                right: right.map(|entry| unprefixed(entry, prefix)),
            })
        })
    }

    /// The sub-database `name` of this version. See [`Bee::sub`](crate::Bee::sub).
    pub fn sub(&self, name: impl AsRef<[u8]>) -> Snapshot {
        Snapshot { prefix: self.shared.sub_prefix(&self.prefix, name.as_ref()), ..self.clone() }
    }

    fn reader(&self) -> Reader {
        self.shared.reader(self.fork, self.version)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("fork", &self.fork)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

pub(crate) fn unprefixed(mut entry: Entry, prefix: usize) -> Entry {
    entry.key = entry.key.slice(prefix.min(entry.key.len())..);
    entry
}
