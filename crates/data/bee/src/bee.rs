use crate::block::{Header, Metadata};
use crate::cache::{Cache, KeyBytes};
use crate::draft::{Draft, Duplicates};
use crate::lock::{WriterGuard, WriterLock};
use crate::reader::Reader;
use crate::snapshot::unprefixed;
use crate::watch::Watcher;
use crate::{
    Batch, ClearError, Difference, Entry, History, Operation, Range, ReadError, Snapshot, WriteError,
};
use bytes::Bytes;
use cloudpal_log::Feed;
use std::sync::Arc;

/// JS refuses blocks beyond this, so none is made.
const MAX_BLOCK_BYTES: usize = 15 * 1024 * 1024;

/// How often a read begins again when the log is truncated under it.
const TRUNCATIONS_BORNE: usize = 8;

/// How a bee behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Written into the header when the bee is new.
    pub metadata: Option<Metadata>,
    /// Most memory for decoded blocks and keys, in bytes.
    pub cache_bytes: usize,
    /// What to do when a key is put with the value it has.
    pub duplicates: Duplicates,
    /// Follows the name of a sub-database in its keys.
    pub separator: Vec<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Options { metadata: None, cache_bytes: 32 << 20, duplicates: Duplicates::Append, separator: vec![0] }
    }
}

/// A sorted map on a log, or a sub-database of one. Clones are the same map and share one cache and one writer lock.
#[derive(Clone)]
pub struct Bee {
    pub(crate) shared: Arc<Shared>,
    pub(crate) prefix: Arc<[u8]>,
}

pub(crate) struct Shared {
    feed: Arc<dyn Feed>,
    cache: Arc<Cache>,
    lock: Arc<WriterLock>,
    options: Options,
}

impl Bee {
    /// The bee on `feed`. Reads and writes nothing yet.
    pub fn new(feed: Arc<dyn Feed>, options: Options) -> Self {
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let shared = Arc::new(Shared { feed, cache, lock: Arc::default(), options });
        Bee { shared, prefix: Arc::from([]) }
    }

    /// The log below.
    pub fn feed(&self) -> &Arc<dyn Feed> {
        &self.shared.feed
    }

    /// The header; none while the log is empty.
    pub fn header(&self) -> Result<Option<Header>, ReadError> {
        if self.shared.feed.length() == 0 {
            return Ok(None);
        }
        let block = self.shared.feed.get(0).map_err(|source| ReadError::Block { seq: 0, source })?;
        let header = Header::parse(&block).filter(Header::is_bee);
        header.map(Some).ok_or(ReadError::Malformed { seq: 0, what: "it is not the header of a bee" })
    }

    /// Writes the header if the log is empty, as the first operation would.
    pub fn ensure_header(&self) -> Result<(), WriteError> {
        self.shared.begin().map(drop)
    }

    /// The version that is read now: the log's length, at least 1.
    pub fn version(&self) -> u64 {
        self.shared.feed.length().max(1)
    }

    /// This version, to be read for as long as the log is not truncated.
    pub fn snapshot(&self) -> Snapshot {
        let (fork, length) = self.shared.now();
        Snapshot { shared: self.shared.clone(), prefix: self.prefix.clone(), fork, version: length.max(1) }
    }

    /// The map as it was when the log had `version` blocks.
    pub fn checkout(&self, version: u64) -> Result<Snapshot, ReadError> {
        let now = self.snapshot();
        if version > now.version {
            return Err(ReadError::Ahead { version, length: now.version });
        }
        Ok(Snapshot { version: version.max(1), ..now })
    }

    /// The sub-database `name`: the keys that begin with the name and the separator, without these. It may have
    /// sub-databases in turn. Unlike JS, listing shows its keys "" and "\0" too.
    pub fn sub(&self, name: impl AsRef<[u8]>) -> Bee {
        let prefix = self.shared.sub_prefix(&self.prefix, name.as_ref());
        Bee { shared: self.shared.clone(), prefix }
    }

    /// The entry of `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, ReadError> {
        self.steadily(|snapshot| snapshot.get(&key))
    }

    /// What block `seq` put.
    pub fn get_by_seq(&self, seq: u64) -> Result<Entry, ReadError> {
        self.steadily(|snapshot| snapshot.get_by_seq(seq))
    }

    /// The first entry of `range`.
    pub fn peek(&self, range: Range) -> Result<Option<Entry>, ReadError> {
        self.steadily(|snapshot| snapshot.peek(range.clone()))
    }

    /// The entries of `range` as they are now.
    pub fn range(&self, range: Range) -> impl Iterator<Item = Result<Entry, ReadError>> + Send + use<> {
        self.snapshot().range(range)
    }

    /// The operations up to now.
    pub fn history(
        &self,
        wanted: History,
    ) -> impl Iterator<Item = Result<Operation, ReadError>> + Send + use<> {
        self.snapshot().history(wanted)
    }

    /// What is not as it was in `other`.
    pub fn diff(
        &self,
        other: &Snapshot,
        range: Range,
    ) -> impl Iterator<Item = Result<Difference, ReadError>> + Send + use<> {
        self.snapshot().diff(other, range)
    }

    /// Watches the keys of `range` from now on.
    pub fn watch(&self, range: Range) -> Watcher {
        Watcher::new(self.clone(), range)
    }

    /// Puts `value` at `key`. Returns the block, or none if the same value was there and duplicates are skipped.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Option<u64>, WriteError> {
        self.once(|batch| batch.put(key, value))
    }

    /// Puts `key` without a value, as JS does with `null`.
    pub fn put_null(&self, key: impl AsRef<[u8]>) -> Result<Option<u64>, WriteError> {
        self.once(|batch| batch.put_null(key))
    }

    /// Puts `value` at `key` if `condition` says so, told the entry that is there and the one to come; nobody writes
    /// in between. (JS does not ask its `cas` about a missing key: answer true for it to write the same.)
    pub fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        condition: impl FnMut(Option<&Entry>, &Entry) -> bool,
    ) -> Result<Option<u64>, WriteError> {
        self.once(|batch| batch.put_if(key, value, condition))
    }

    /// Deletes `key`. Returns the block, or none if the key is not there.
    pub fn del(&self, key: impl AsRef<[u8]>) -> Result<Option<u64>, WriteError> {
        self.once(|batch| batch.del(key))
    }

    /// Deletes `key` if it is there and `condition` says so.
    pub fn del_if(
        &self,
        key: impl AsRef<[u8]>,
        condition: impl FnMut(&Entry) -> bool,
    ) -> Result<Option<u64>, WriteError> {
        self.once(|batch| batch.del_if(key, condition))
    }

    /// Operations that are appended together. Other writers wait from the first one until the batch is flushed or
    /// dropped.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Clears, here, every block that the present version does not need, and with them older versions and history;
    /// returns how many. Writers wait. On a copy that is not whole, what is needed is fetched.
    pub fn clear_unlinked(&self) -> Result<u64, ClearError> {
        self.shared.clear_unlinked()
    }

    fn once<T>(&self, write: impl FnOnce(&mut Batch) -> Result<T, WriteError>) -> Result<T, WriteError> {
        let mut batch = self.batch();
        let written = write(&mut batch)?;
        batch.flush()?;
        Ok(written)
    }

    fn steadily<T>(&self, read: impl Fn(&Snapshot) -> Result<T, ReadError>) -> Result<T, ReadError> {
        for _ in 0..TRUNCATIONS_BORNE {
            match read(&self.snapshot()) {
                Err(ReadError::Truncated { .. }) => {}
                answer => return answer,
            }
        }
        read(&self.snapshot())
    }

    pub(crate) fn full_key(&self, key: &[u8]) -> KeyBytes {
        if self.prefix.is_empty() { key.into() } else { [&self.prefix, key].concat().into() }
    }

    pub(crate) fn unprefixed(&self, entry: Entry) -> Entry {
        unprefixed(entry, self.prefix.len())
    }
}

impl Shared {
    pub fn reader(&self, fork: u64, version: u64) -> Reader {
        Reader::new(self.feed.clone(), self.cache.clone(), fork, version)
    }

    pub fn sub_prefix(&self, prefix: &[u8], name: &[u8]) -> Arc<[u8]> {
        [prefix, name, &self.options.separator].concat().into()
    }

    /// Fork and length that belong together.
    pub fn now(&self) -> (u64, u64) {
        loop {
            let (fork, length) = (self.feed.fork(), self.feed.length());
            if self.feed.fork() == fork {
                return (fork, length);
            }
        }
    }

    pub fn feed(&self) -> &dyn Feed {
        &*self.feed
    }

    /// Keeps writers out.
    pub fn lock(&self) -> Result<WriterGuard, ClearError> {
        self.lock.lock().ok_or(ClearError::BatchOpen)
    }

    /// Waits for the lock and begins a draft on what is there.
    pub fn begin(&self) -> Result<(WriterGuard, Draft), WriteError> {
        let guard = self.lock.lock().ok_or(WriteError::BatchOpen)?;
        if !self.feed.writable() {
            return Err(WriteError::ReadOnly);
        }
        if self.feed.length() == 0 {
            let header = Header::new(self.options.metadata.clone()).encode();
            self.feed.append(&[header]).map_err(WriteError::Append)?;
        }
        let (fork, length) = self.now();
        Ok((guard, Draft::new(self.reader(fork, length), self.options.duplicates)))
    }

    /// Appends what was drafted.
    pub fn commit(&self, draft: Draft) -> Result<std::ops::Range<u64>, WriteError> {
        let expected = draft.base();
        if draft.len() == 0 {
            return Ok(expected..expected);
        }
        let (reader, blocks) = draft.into_blocks();
        let found = self.feed.length();
        if found != expected {
            return Err(WriteError::Interleaved { expected, found });
        }
        let found = self.feed.append(&blocks).map_err(WriteError::Append)?;
        if found != expected {
            return Err(WriteError::Interleaved { expected, found });
        }
        reader.remember(&blocks);
        Ok(expected..expected + blocks.len() as u64)
    }
}

/// Refuses what would not fit into a block with its index.
pub(crate) fn check_size(key: &[u8], value: Option<&Bytes>) -> Result<(), WriteError> {
    let (bytes, limit) =
        (key.len() + value.map_or(0, Bytes::len), MAX_BLOCK_BYTES - crate::block::MAX_INDEX_BYTES);
    if bytes > limit { Err(WriteError::TooLarge { bytes, limit }) } else { Ok(()) }
}

impl std::fmt::Debug for Bee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bee").field("version", &self.version()).finish_non_exhaustive()
    }
}
