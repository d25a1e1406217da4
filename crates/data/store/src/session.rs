mod cosign;
#[cfg(test)]
mod misled;

use crate::disk::Mark;
use crate::shared::{Shared, State};
use crate::store::Inner;
use crate::{Fetch, Info, LogOptions, Loss};
use bytes::Bytes;
use cloudpal_log::replicate::{Order, WantId};
use cloudpal_log::{AppendError, Durability, Feed, FeedError, ReadError, Seek, StorageError, TruncateError};
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
            conflict: log.is_frozen() || state.exchange.conflict(),
            peers: state.exchange.peers(),
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

    /// The hash that was or would be signed for the first `length` blocks; none if the tree up to there is not held.
    pub fn tree_hash_at(&self, length: u64) -> Result<Option<[u8; 32]>, FeedError> {
        let hash = self.state()?.log().hash_at(length);
        hash.map_err(|source| FeedError::Storage { doing: "read the log's tree", source })
    }

    /// Returns when everything appended so far survives a loss of power.
    pub fn sync(&self) -> Result<(), FeedError> {
        self.inner.engine.sync().map_err(|source| FeedError::Storage { doing: "sync the log", source })
    }

    /// Asks peers for `blocks`; an end of `u64::MAX` follows the log for ever. Dropping the answer takes it back.
    pub fn fetch(&self, blocks: Range<u64>) -> Result<Fetch, FeedError> {
        let mut state = self.state()?;
        let (log, exchange) = state.both();
        let want = exchange.want(blocks, Order::Linear, log);
        exchange.watch(want);
        drop(state);
        self.shared.wake();
        Ok(Fetch { inner: Arc::clone(&self.inner), shared: Arc::clone(&self.shared), want })
    }

    /// Waits until a peer is there and none has more of the log than is here, at most for `timeout`; whether it is so.
    pub fn wait_current(&self, timeout: Duration) -> bool {
        self.wait_until(timeout, |state| state.exchange.peers() > 0 && state.exchange.is_current(state.log()))
    }

    /// The first block from `index` on that is not held here.
    pub fn next_missing(&self, index: u64) -> u64 {
        self.shared.lock().log().next_missing(index)
    }

    /// How many peers say to hold all blocks that are held here, from block `from` on up to the first that is not.
    pub fn holders(&self, from: u64) -> usize {
        let state = self.shared.lock();
        state.exchange.holders(state.log(), from)
    }

    /// How many peers have the log open too.
    pub fn peers(&self) -> usize {
        self.shared.lock().exchange.peers()
    }

    fn wait_until(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> bool {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if done(&state) || left.is_zero() || self.inner.is_closed() {
                return done(&state);
            }
            state = self.shared.wait(state, left);
        }
    }

    /// Waits until what `want` asks for is here, at most until `until`.
    fn wait_answer<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        want: WantId,
        until: Instant,
    ) -> MutexGuard<'a, State> {
        while !state.exchange.is_answered(want) && !self.inner.is_closed() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.shared.wait(state, left);
        }
        state
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
        let mut state = self.state()?;
        if let Some(block) = read_or_forget(&mut state, index)? {
            return Ok(block);
        }
        let (log, exchange) = state.both();
        let want = exchange.want_block(index, log);
        let until = Instant::now() + self.get_timeout;
        let block = loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(FeedError::Unavailable { index });
            }
            state = self.shared.wait(state, left);
            if self.inner.is_closed() {
                break Err(FeedError::Closed);
            }
            if let Some(block) = state.log().get(index).map_err(read_fault).transpose() {
                break block;
            }
        };
        state.exchange.unwant(want);
        block
    }

    fn get_local(&self, index: u64) -> Result<Option<Bytes>, FeedError> {
        let mut state = self.state()?;
        read_or_forget(&mut state, index)
    }

    fn append(&self, blocks: &[Bytes]) -> Result<u64, FeedError> {
        let doing = "append to the log";
        let mut state = self.state_to_write(doing)?;
        let (log, exchange) = state.both();
        let appended = log.append(blocks, Durability::Relaxed).map_err(|error| match error {
            AppendError::NotWritable => FeedError::NotWritable,
            AppendError::Storage(source) => FeedError::Storage { doing, source },
            other => FeedError::Refused { doing, source: Box::new(other) },
        })?;
        exchange.appended(appended.first, log);
        state.untold = self.inner.engine.newest();
        drop(state);
        self.settle(doing)?;
        Ok(appended.first)
    }

    fn truncate(&self, length: u64) -> Result<(), FeedError> {
        let doing = "truncate the log";
        let mut state = self.state_to_write(doing)?;
        let (log, exchange) = state.both();
        let from = log.length();
        log.truncate(length, None, Durability::Relaxed).map_err(|error| match error {
            TruncateError::NotWritable => FeedError::NotWritable,
            TruncateError::Storage(source) => FeedError::Storage { doing, source },
            other => FeedError::Refused { doing, source: Box::new(other) },
        })?;
        exchange.truncated(from, log);
        state.untold = self.inner.engine.newest();
        drop(state);
        self.settle(doing)
    }

    fn clear(&self, blocks: Range<u64>) -> Result<(), FeedError> {
        let doing = "clear blocks";
        let mut state = self.state()?;
        let (log, exchange) = state.both();
        log.clear(blocks.clone(), Durability::Relaxed)
            .map_err(|source| FeedError::Storage { doing, source })?;
        exchange.cleared(blocks, log);
        drop(state);
        self.settle(doing)
    }

    /// Sizes that a peer told may be a lie as long as the block that they lead to is not held, so that is fetched and
    /// looked for again, until it stays the same.
    fn seek(&self, byte: u64) -> Result<(u64, u64), FeedError> {
        let until = Instant::now() + self.get_timeout;
        let mut state = self.state()?;
        loop {
            let (log, exchange) = state.both();
            let doing = "find the byte";
            let (want, wanted) =
                match log.seek(byte).map_err(|source| FeedError::Storage { doing, source })? {
                    Seek::Past => return Ok((log.length(), byte.saturating_sub(log.byte_length()))),
                    // The sizes of a log that is written here are its own.
                    Seek::Found { index, offset }
                        if log.has(index) || index >= log.length() || log.writable() =>
                    {
                        return Ok((index, offset));
                    }
                    Seek::Found { index, .. } => (exchange.want_block(index, log), index),
                    Seek::Within(blocks) => (exchange.want_byte(byte, log), blocks.start),
                };
            exchange.watch(want);
            self.shared.wake();
            state = self.wait_answer(state, want, until);
            let answered = state.exchange.is_answered(want);
            state.exchange.unwant(want);
            if self.inner.is_closed() {
                return Err(FeedError::Closed);
            }
            if !answered {
                return Err(FeedError::Unavailable { index: wanted });
            }
        }
    }

    fn prefetch(&self, blocks: Range<u64>) {
        let mut state = self.shared.lock();
        let (log, exchange) = state.both();
        exchange.want(blocks, Order::Linear, log);
    }

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

/// Reads a block. One that is damaged is noted as not held, so that the next reading asks peers for it.
fn read_or_forget(state: &mut State, index: u64) -> Result<Option<Bytes>, FeedError> {
    match state.log().get(index) {
        Err(ReadError::Storage { source: source @ StorageError::Damaged { .. }, .. }) => {
            tracing::warn!(index, "a block is damaged; peers will be asked for it");
            let (log, exchange) = state.both();
            let doing = "read a block";
            log.clear(index..index + 1, Durability::Relaxed)
                .map_err(|source| FeedError::Storage { doing, source })?;
            exchange.cleared(index..index + 1, log);
            if exchange.peers() > 0 { Ok(None) } else { Err(FeedError::Storage { doing, source }) }
        }
        other => other.map_err(read_fault),
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
