use crate::PrimaryKey;
use cloudpal_log::Durability;
use std::time::Duration;

/// How a store behaves. The defaults suit a small machine of 96 MiB.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory that the engine may take for caches and unwritten data, in bytes.
    pub memory: Memory,
    /// Bytes of the file system that stay free. Writes that would take them are refused with "disk full", and
    /// replication stops asking for blocks.
    pub keep_free: u64,
    /// Bytes on disk that the store takes at most; none is no limit.
    pub quota: Option<u64>,
    /// How soon an append must survive a loss of power.
    pub durability: Durability,
    /// What is not durable at once is made so after this long.
    pub sync_every: Duration,
    /// The primary key of a corestore that moves in; none derives one from the store's key.
    pub primary_key: Option<PrimaryKey>,
    /// How long [`Feed::get`](cloudpal_log::Feed::get) waits for a peer.
    pub get_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            memory: Memory::default(),
            keep_free: 32 << 20,
            quota: None,
            durability: Durability::Relaxed,
            sync_every: Duration::from_secs(1),
            primary_key: None,
            get_timeout: Duration::from_secs(20),
        }
    }
}

/// Memory for the engine, in bytes: a quarter caches what is read, the rest holds what is not yet in tables. A batch
/// larger than that takes what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(u64);

impl Memory {
    /// From bytes; at least 4 MiB.
    pub fn bytes(bytes: u64) -> Self {
        Memory(bytes.max(4 << 20))
    }

    pub(crate) fn cache(self) -> u64 {
        self.0 / 4
    }

    /// What one of two rooms gathers before it is flushed. Meanwhile up to twice as much may gather.
    pub(crate) fn buffer(self) -> u64 {
        self.0 / 8
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory(64 << 20)
    }
}
