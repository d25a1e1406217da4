use std::fmt;

/// Blocks that are not on this disk any more.
///
/// If they were surely acknowledged, the log refuses to be written, since other blocks in their place would be a second
/// history. It heals by itself once a peer has sent it as long as it was.
/// [`Session::give_up_lost`](crate::Session::give_up_lost) ends the wait. What a crash cut short is only told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The log.
    pub key: [u8; 32],
    /// How long it was, and at which fork.
    pub had: Extent,
    /// How long it is now.
    pub has: Extent,
    /// Whether the blocks were surely acknowledged. If not, they were being written when the machine stopped, and no peer
    /// has heard of them.
    pub certain: bool,
}

/// A log's fork and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Extent {
    /// How often it was truncated.
    pub fork: u64,
    /// Blocks.
    pub length: u64,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocks at fork {}", self.length, self.fork)
    }
}

/// Why a damaged log takes no blocks.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("this log had {had} and has {has}: connect a peer that has the rest, or give it up")]
pub struct Lossy {
    /// What it had.
    pub had: Extent,
    /// What it has.
    pub has: Extent,
}
