//! Logs that several sign: whoever appends brings the quorum's signatures along.

use super::Session;
use bytes::Bytes;
use cloudpal_log::{AppendError, Auth, Durability, FeedError, Tree, TruncateError};

impl Session {
    /// Adds `blocks` with the signature that `sign` gives for the tree they make; returns the index of the first. The
    /// log does not change meanwhile, so `sign` must not use it.
    pub fn append_signed(
        &self,
        blocks: &[Bytes],
        sign: impl FnOnce(&Auth, &Tree) -> Vec<u8>,
    ) -> Result<u64, FeedError> {
        let doing = "append to the log";
        let fault = |error| match error {
            AppendError::NotWritable => FeedError::NotWritable,
            AppendError::Storage(source) => FeedError::Storage { doing, source },
            other => FeedError::Refused { doing, source: Box::new(other) },
        };
        let mut state = self.state_to_write(doing)?;
        let (log, exchange) = state.both();
        let tree = log.tree_after(blocks).map_err(fault)?;
        let signature = sign(log.auth().ok_or(FeedError::NotWritable)?, &tree);
        let appended = log.append_signed(blocks, signature.into(), Durability::Relaxed).map_err(fault)?;
        exchange.appended(appended.first, log);
        state.untold = self.inner.engine.newest();
        drop(state);
        self.settle(doing)?;
        Ok(appended.first)
    }

    /// Cuts the log to `length` blocks with the signature that `sign` gives for what is left. The log does not
    /// change meanwhile, so `sign` must not use it.
    pub fn truncate_signed(
        &self,
        length: u64,
        sign: impl FnOnce(&Auth, &Tree) -> Vec<u8>,
    ) -> Result<(), FeedError> {
        let doing = "truncate the log";
        let fault = |error| match error {
            TruncateError::NotWritable => FeedError::NotWritable,
            TruncateError::Storage(source) => FeedError::Storage { doing, source },
            other => FeedError::Refused { doing, source: Box::new(other) },
        };
        let mut state = self.state_to_write(doing)?;
        let (log, exchange) = state.both();
        let from = log.length();
        let tree = log.tree_at(length, None).map_err(fault)?;
        let signature = sign(log.auth().ok_or(FeedError::NotWritable)?, &tree);
        log.truncate_signed(length, None, signature.into(), Durability::Relaxed).map_err(fault)?;
        exchange.truncated(from, log);
        state.untold = self.inner.engine.newest();
        drop(state);
        self.settle(doing)
    }
}
