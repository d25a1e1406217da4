use crate::StorageError;
use bytes::Bytes;
use std::ops::Range;

/// A peer of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(crate) u64);

/// Something that was asked of the [`Replicator`](super::Replicator) and is not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WantId(pub(crate) u64);

/// What happened to a log by its peers.
#[derive(Debug)]
pub enum Event {
    /// These blocks are held now.
    Received {
        /// Which.
        blocks: Range<u64>,
    },
    /// The log grew, or was cut and went on in another fork.
    Upgraded {
        /// Its fork now.
        fork: u64,
        /// Its length now.
        length: u64,
        /// Blocks from here on are no longer those of before; the old length when it only grew.
        since: u64,
    },
    /// All that a want asked for is held.
    Done {
        /// Which.
        want: WantId,
    },
    /// Where a byte is.
    Found {
        /// Which want.
        want: WantId,
        /// The block.
        index: u64,
        /// The byte within it.
        offset: u64,
    },
    /// A message for an extension.
    Extension {
        /// From whom.
        peer: PeerId,
        /// Whose.
        name: String,
        /// What.
        message: Bytes,
    },
    /// A peer sent a proof that is not true, or does not keep to the protocol. It is not asked any more, or not for a
    /// while.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// What it did.
        what: Misbehaviour,
    },
    /// The owner signed two different logs of one fork. The log can no longer be trusted and asks for nothing more.
    Conflict {
        /// Who showed it.
        peer: PeerId,
    },
    /// The peer has been told all that there is to say: close its channel.
    Finished {
        /// Who.
        peer: PeerId,
    },
    /// Blocks could not be stored, so nothing more is asked for until [`resume`](super::Replicator::resume).
    Halted {
        /// What the engine said.
        error: StorageError,
    },
}

/// What a peer did that it should not. After all but the first it is not asked again, and its channel is best closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A proof that does not fit the log's tree or key. Copies that were overtaken can send such by mistake, so the peer is
    /// asked again after a while, a longer one each time.
    #[error("it sent a proof that is not true: {0}")]
    BadProof(String),
    /// An answer to something else than it was asked.
    #[error("it sent something else than it was asked for")]
    WrongAnswer,
    /// Requests that nobody could answer.
    #[error("it sent {0} requests that cannot be answered")]
    BadRequests(u64),
    /// More requests than a peer may have waiting.
    #[error("it sent more requests than may wait")]
    TooManyRequests,
}
