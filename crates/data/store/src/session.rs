use crate::disk::Mark;
use crate::shared::{Shared, State};
use crate::store::Inner;
use crate::{LogOptions, Loss};
use bytes::Bytes;
use cloudpal_log::{
    AppendError, Durability, Feed, FeedError, Manifest, ReadError, Seek, StorageError, TruncateError,
};
use std::ops::Range;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// A log of a store, in use. Clones and other sessions of the same log see each other's changes at once.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    durability: Durability,
    get_timeout: Duration,
}

/// A log in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The log's key.
    pub key: [u8; 32],
    /// What peers look for.
    pub discovery_key: [u8; 32],
    /// Number of blocks.
    pub length: u64,
    /// Bytes of all blocks, without padding.
    pub byte_length: u64,
    /// How often the log was truncated.
    pub fork: u64,
    /// All blocks below this are held here.
    pub contiguous: u64,
    /// How many blocks are held here.
    pub held: u64,
    /// Bytes of block bodies held here.
    pub held_bytes: u64,
    /// The hash that is signed.
    pub tree_hash: [u8; 32],
    /// Who may sign; none as long as only the key is known.
    pub manifest: Option<Manifest>,
    /// Whether it is a compat log.
    pub compat: bool,
    /// Whether it can be written here.
    pub writable: bool,
    /// What it had once and has no more.
    pub lost: Option<crate::Lossy>,
}

impl Session {
    pub(crate) fn new(inner: Arc<Inner>, shared: Arc<Shared>, options: &LogOptions) -> Self {
        let durability = options.durability.unwrap_or(inner.options.durability);
        let get_timeout = options.get_timeout.unwrap_or(inner.options.get_timeout);
        Session { inner, shared, durability, get_timeout }
    }

    /// This session with another durability. Others keep theirs.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// This session with another time that a missing block is waited for.
    #[must_use]
    pub fn with_get_timeout(mut self, timeout: Duration) -> Self {
        self.get_timeout = timeout;
        self
    }

    /// The log in numbers.
    pub fn info(&self) -> Info {
        let state = self.shared.lock();
        let log = state.log();
        Info {
            key: *log.key(),
            discovery_key: *log.discovery_key(),
            length: log.length(),
            byte_length: log.byte_length(),
            fork: log.fork(),
            contiguous: log.contiguous_length(),
            held: log.count_held(0..log.length()),
            held_bytes: self.shared.held(),
            tree_hash: log.tree_hash(),
            manifest: log.manifest().cloned(),
            compat: log.is_compat(),
            writable: log.writable() && state.lossy().is_none(),
            lost: state.lossy(),
        }
    }

    /// Whether the body of block `index` is held here.
    pub fn has(&self, index: u64) -> bool {
        self.shared.lock().log().has(index)
    }

    /// Block `index` as it is stored and sent, if it is held here.
    pub fn get_raw(&self, index: u64) -> Result<Option<Bytes>, FeedError> {
        self.state()?.log().get_raw(index).map_err(read_fault)
    }

    /// Returns when everything appended so far survives a loss of power.
    pub fn sync(&self) -> Result<(), FeedError> {
        self.inner.engine.sync().map_err(|source| FeedError::Storage { doing: "sync the log", source })
    }

    /// Gives up what was lost: the log is taken as it is now and can be written again. If any peer has the lost
    /// blocks, whatever is appended now is a second history that it will refuse.
    pub fn give_up_lost(&self) -> Result<Option<Loss>, FeedError> {
        let mut state = self.state()?;
        let Some(loss) = state.give_up() else { return Ok(None) };
        let mark = Mark { key: self.shared.key, fork: state.log().fork(), length: state.log().length() };
        self.inner
            .settle(self.shared.id, Some(mark))
            .map_err(|source| FeedError::Storage { doing: "give up what was lost", source })?;
        Ok(Some(loss))
    }

    /// The log, unless the store was closed.
    fn state(&self) -> Result<MutexGuard<'_, State>, FeedError> {
        if self.inner.is_closed() { Err(FeedError::Closed) } else { Ok(self.shared.lock()) }
    }

    /// The log, unless it must not be written.
    fn state_to_write(&self, doing: &'static str) -> Result<MutexGuard<'_, State>, FeedError> {
        let state = self.state()?;
        match state.lossy() {
            Some(lossy) => Err(FeedError::Refused { doing, source: Box::new(lossy) }),
            None => Ok(state),
        }
    }

    /// Makes what was just done last, if this session does so, after its lock was given free: sessions that write at
    /// the same time share one sync.
    fn settle(&self, doing: &'static str) -> Result<(), FeedError> {
        self.shared.wake();
        match self.durability {
            Durability::Relaxed => Ok(()),
            Durability::Durable => {
                self.inner.engine.sync().map_err(|source| FeedError::Storage { doing, source })
            }
        }
    }
}

impl Feed for Session {
    fn key(&self) -> [u8; 32] {
        self.shared.key
    }

    fn discovery_key(&self) -> [u8; 32] {
        self.shared.discovery_key
    }

    fn length(&self) -> u64 {
        self.shared.lock().log().length()
    }

    fn byte_length(&self) -> u64 {
        self.shared.lock().log().byte_length()
    }

    fn fork(&self) -> u64 {
        self.shared.lock().log().fork()
    }

    fn writable(&self) -> bool {
        let state = self.shared.lock();
        state.log().writable() && state.lossy().is_none()
    }

    fn get(&self, index: u64) -> Result<Bytes, FeedError> {
        let until = Instant::now() + self.get_timeout;
        let mut state = self.state()?;
        loop {
            if let Some(block) = state.log().get(index).map_err(read_fault)? {
                return Ok(block);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(FeedError::Unavailable { index });
            }
            state = self.shared.wait(state, left);
            if self.inner.is_closed() {
                return Err(FeedError::Closed);
            }
        }
    }

    fn get_local(&self, index: u64) -> Result<Option<Bytes>, FeedError> {
        self.state()?.log().get(index).map_err(read_fault)
    }

    fn append(&self, blocks: &[Bytes]) -> Result<u64, FeedError> {
        let doing = "append to the log";
        let mut state = self.state_to_write(doing)?;
        let appended = state.log_mut().append(blocks, Durability::Relaxed).map_err(|error| match error {
            AppendError::NotWritable => FeedError::NotWritable,
            AppendError::Storage(source) => FeedError::Storage { doing, source },
            other => FeedError::Refused { doing, source: Box::new(other) },
        })?;
        drop(state);
        self.settle(doing)?;
        Ok(appended.first)
    }

    fn truncate(&self, length: u64) -> Result<(), FeedError> {
        let doing = "truncate the log";
        let mut state = self.state_to_write(doing)?;
        state.log_mut().truncate(length, None, Durability::Relaxed).map_err(|error| match error {
            TruncateError::NotWritable => FeedError::NotWritable,
            TruncateError::Storage(source) => FeedError::Storage { doing, source },
            other => FeedError::Refused { doing, source: Box::new(other) },
        })?;
        drop(state);
        self.settle(doing)
    }

    fn clear(&self, blocks: Range<u64>) -> Result<(), FeedError> {
        let doing = "clear blocks";
        let mut state = self.state()?;
        state
            .log_mut()
            .clear(blocks, Durability::Relaxed)
            .map_err(|source| FeedError::Storage { doing, source })?;
        drop(state);
        self.settle(doing)
    }

    fn seek(&self, byte: u64) -> Result<(u64, u64), FeedError> {
        let doing = "find the byte";
        let state = self.state()?;
        let seek = state.log().seek(byte).map_err(|source| FeedError::Storage { doing, source })?;
        match seek {
            Seek::Found { index, offset } => Ok((index, offset)),
            Seek::Within(blocks) => Err(FeedError::Unavailable { index: blocks.start }),
            Seek::Past => {
                let log = state.log();
                Ok((log.length(), byte.saturating_sub(log.byte_length())))
            }
        }
    }

    fn prefetch(&self, _blocks: Range<u64>) {}

    fn wait_change(&self, seen: (u64, u64), timeout: Duration) -> (u64, u64) {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            let now = (state.log().fork(), state.log().length());
            let left = until.saturating_duration_since(Instant::now());
            if now != seen || left.is_zero() || self.inner.is_closed() {
                return now;
            }
            state = self.shared.wait(state, left);
        }
    }

    fn user_data(&self, name: &str) -> Result<Option<Bytes>, FeedError> {
        let doing = "read user data";
        self.state()?.log().user_data(name).map_err(|source| FeedError::Storage { doing, source })
    }

    fn set_user_data(&self, name: &str, value: Option<Bytes>) -> Result<(), FeedError> {
        let doing = "keep user data";
        let mut state = self.state()?;
        state
            .log_mut()
            .set_user_data(name, value, Durability::Relaxed)
            .map_err(|source| FeedError::Storage { doing, source })?;
        drop(state);
        self.settle(doing)
    }
}

fn read_fault(error: ReadError) -> FeedError {
    match error {
        ReadError::OutOfRange { index, length } => FeedError::OutOfRange { index, length },
        ReadError::Storage { source: StorageError::Closed, .. } => FeedError::Closed,
        ReadError::Storage { source, .. } => FeedError::Storage { doing: "read a block", source },
        other => FeedError::Refused { doing: "read a block", source: Box::new(other) },
    }
}
