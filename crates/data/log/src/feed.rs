use crate::StorageError;
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;

/// A log as the sorted map and the drive see it. Every method locks inside and may block.
pub trait Feed: Send + Sync {
    /// The log's public key: the hash of its manifest, or its signer's key in a compat log.
    fn key(&self) -> [u8; 32];
    /// What peers look for: tells who has the log without telling the key.
    fn discovery_key(&self) -> [u8; 32];
    /// Number of blocks, held here or not.
    fn length(&self) -> u64;
    /// Bytes of all blocks, without the padding of encryption.
    fn byte_length(&self) -> u64;
    /// How often the log was truncated.
    fn fork(&self) -> u64;
    /// Whether [`append`](Feed::append) can work.
    fn writable(&self) -> bool;
    /// Block `index`, decrypted. Asks peers when it is not held here, as long as the feed allows.
    fn get(&self, index: u64) -> Result<Bytes, FeedError>;
    /// Block `index` if it is held here; none if it is not.
    fn get_local(&self, index: u64) -> Result<Option<Bytes>, FeedError>;
    /// Adds blocks, all or none, and returns the index of the first.
    fn append(&self, blocks: &[Bytes]) -> Result<u64, FeedError>;
    /// Cuts the log to `length` blocks and makes a new fork.
    fn truncate(&self, length: u64) -> Result<(), FeedError>;
    /// Forgets the bodies of `blocks` here. They stay part of the log.
    fn clear(&self, blocks: Range<u64>) -> Result<(), FeedError>;
    /// The block that holds byte `byte` of all blocks put end to end, and the offset within it.
    fn seek(&self, byte: u64) -> Result<(u64, u64), FeedError>;
    /// Asks peers for `blocks` early. Returns at once.
    fn prefetch(&self, blocks: Range<u64>);
    /// Waits until (fork, length) is no longer `seen`, or `timeout` is over; returns what it is then.
    fn wait_change(&self, seen: (u64, u64), timeout: Duration) -> (u64, u64);
    /// A small value kept beside the log on this device; never replicated.
    fn user_data(&self, name: &str) -> Result<Option<Bytes>, FeedError>;
    /// Keeps, replaces or (with none) removes a small value beside the log.
    fn set_user_data(&self, name: &str, value: Option<Bytes>) -> Result<(), FeedError>;
}

/// Why a feed could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Nobody who has the block answered in time.
    #[error("block {index} is not on this device and no peer sent it in time: connect a peer that has it")]
    Unavailable {
        /// The block.
        index: u64,
    },
    /// The index lies past the end.
    #[error("the log has {length} blocks, so it has no block {index}")]
    OutOfRange {
        /// What was asked for.
        index: u64,
        /// What the log has.
        length: u64,
    },
    /// No key that may sign for this log.
    #[error("this log cannot be written here: open it with its signing key")]
    NotWritable,
    /// Anything else that makes the operation impossible.
    #[error("cannot {doing}")]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// Why it does not work.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk or engine below.
    #[error("cannot {doing}")]
    Storage {
        /// What was attempted.
        doing: &'static str,
        /// What the engine said.
        source: StorageError,
    },
    /// The session or store was closed.
    #[error("the log is closed: open it again")]
    Closed,
}
