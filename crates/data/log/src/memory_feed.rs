use crate::{
    AppendError, Create, Durability, EncryptionKey, Feed, FeedError, KeyPair, Log, MemoryStorage, ReadError,
    Seek, StorageError, TruncateError,
};
use bytes::Bytes;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A log in memory behind the [`Feed`] trait. Clones are the same log.
#[derive(Clone)]
pub struct MemoryFeed {
    shared: Arc<Shared>,
}

struct Shared {
    log: Mutex<Log<MemoryStorage>>,
    changed: Condvar,
}

impl MemoryFeed {
    /// A new empty log that `key_pair` signs.
    pub fn create(key_pair: KeyPair) -> Self {
        MemoryFeed::new_log(Create::single(key_pair.public_key()), |log| log.with_key_pair(key_pair))
    }

    /// The same, encrypted.
    pub fn create_encrypted(key_pair: KeyPair, key: EncryptionKey) -> Self {
        MemoryFeed::new_log(Create::single(key_pair.public_key()), |log| {
            log.with_key_pair(key_pair).with_encryption(key)
        })
    }

    fn new_log(create: Create, open: impl FnOnce(Log<MemoryStorage>) -> Log<MemoryStorage>) -> Self {
        let log = Log::create(MemoryStorage::new(), create);
        MemoryFeed::over(open(log.expect("empty memory takes any log whose manifest has one signer")))
    }

    /// Over a log that exists.
    pub fn over(log: Log<MemoryStorage>) -> Self {
        MemoryFeed { shared: Arc::new(Shared { log: Mutex::new(log), changed: Condvar::new() }) }
    }

    /// The log itself, locked: for proofs, which the trait does not know.
    pub fn log(&self) -> MutexGuard<'_, Log<MemoryStorage>> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who wait for a change, after one was made by way of [`log`](Self::log).
    pub fn notify(&self) {
        self.shared.changed.notify_all();
    }
}

impl Feed for MemoryFeed {
    fn key(&self) -> [u8; 32] {
        *self.log().key()
    }

    fn discovery_key(&self) -> [u8; 32] {
        *self.log().discovery_key()
    }

    fn length(&self) -> u64 {
        self.log().length()
    }

    fn byte_length(&self) -> u64 {
        self.log().byte_length()
    }

    fn fork(&self) -> u64 {
        self.log().fork()
    }

    fn writable(&self) -> bool {
        self.log().writable()
    }

    fn get(&self, index: u64) -> Result<Bytes, FeedError> {
        self.get_local(index)?.ok_or(FeedError::Unavailable { index })
    }

    fn get_local(&self, index: u64) -> Result<Option<Bytes>, FeedError> {
        Ok(self.log().get(index)?)
    }

    fn append(&self, blocks: &[Bytes]) -> Result<u64, FeedError> {
        let appended = self.log().append(blocks, Durability::Relaxed)?;
        self.notify();
        Ok(appended.first)
    }

    fn truncate(&self, length: u64) -> Result<(), FeedError> {
        self.log().truncate(length, None, Durability::Relaxed)?;
        self.notify();
        Ok(())
    }

    fn clear(&self, blocks: Range<u64>) -> Result<(), FeedError> {
        self.log().clear(blocks, Durability::Relaxed).map_err(storage("clear blocks"))
    }

    fn seek(&self, byte: u64) -> Result<(u64, u64), FeedError> {
        let log = self.log();
        match log.seek(byte).map_err(storage("find a byte in the log"))? {
            Seek::Found { index, offset } => Ok((index, offset)),
            Seek::Within(blocks) => Err(FeedError::Unavailable { index: blocks.start }),
            Seek::Past => Err(FeedError::OutOfRange { index: log.length(), length: log.length() }),
        }
    }

    fn prefetch(&self, _blocks: Range<u64>) {}

    fn wait_change(&self, seen: (u64, u64), timeout: Duration) -> (u64, u64) {
        let now = |log: &Log<MemoryStorage>| (log.fork(), log.length());
        let (log, _) = self
            .shared
            .changed
            .wait_timeout_while(self.log(), timeout, |log| now(log) == seen)
            .unwrap_or_else(PoisonError::into_inner);
        now(&log)
    }

    fn user_data(&self, name: &str) -> Result<Option<Bytes>, FeedError> {
        self.log().user_data(name).map_err(storage("read user data of"))
    }

    fn set_user_data(&self, name: &str, value: Option<Bytes>) -> Result<(), FeedError> {
        let set = self.log().set_user_data(name, value, Durability::Relaxed);
        set.map_err(storage("keep user data of"))
    }
}

const fn storage(doing: &'static str) -> impl Fn(StorageError) -> FeedError {
    move |source| FeedError::Storage { doing, source }
}

impl From<ReadError> for FeedError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfRange { index, length } => FeedError::OutOfRange { index, length },
            ReadError::Storage { source, .. } => FeedError::Storage { doing: "read a block", source },
            ReadError::NotEncrypted { .. } => {
                FeedError::Refused { doing: "decrypt a block", source: error.into() }
            }
        }
    }
}

impl From<AppendError> for FeedError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NotWritable => FeedError::NotWritable,
            AppendError::Storage(source) => FeedError::Storage { doing: "append to the log", source },
            error => FeedError::Refused { doing: "append to the log", source: error.into() },
        }
    }
}

impl From<TruncateError> for FeedError {
    fn from(error: TruncateError) -> Self {
        match error {
            TruncateError::NotWritable => FeedError::NotWritable,
            TruncateError::Storage(source) => FeedError::Storage { doing: "truncate the log", source },
            error => FeedError::Refused { doing: "truncate the log", source: error.into() },
        }
    }
}
