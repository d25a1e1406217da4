use crate::limits::{MAX_ENTRY, MAX_KEY, MAX_VALUE};
use crate::{ClientId, Sub};
use cloudpal_log::codec::CodecError;

/// Why something could not be read from the view.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The pages below.
    #[error("cannot read the database's view")]
    View(#[from] cloudpal_sorted::ReadError),
    /// A row that was never written so.
    #[error("a row of the database's view is damaged: rebuild the view from the logs")]
    Row(#[from] CodecError),
    /// A text that cannot be put together.
    #[error("the text at this key cannot be put together: {0}")]
    Text(String),
    /// What is asked for lies in a part of the logs that is not here any more.
    #[error("this lies further back than the history that is kept here (block {position} of {client})")]
    History {
        /// Whose log.
        client: ClientId,
        /// Which block.
        position: u64,
    },
    /// The logs below.
    #[error("cannot read a log of the database")]
    Logs(#[from] LogsError),
}

/// What the caller's logs say when they cannot answer.
#[derive(Debug, thiserror::Error)]
#[error("block {position} of the log of {client} cannot be read")]
pub struct LogsError {
    /// Whose log.
    pub client: ClientId,
    /// Which block.
    pub position: u64,
    /// What they say.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why the state of a replica could not be opened or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The pages below could not be opened.
    #[error("cannot open the database's view")]
    Open(#[from] cloudpal_sorted::OpenError),
    /// The pages below could not be written.
    #[error("cannot write the database's view")]
    Write(#[from] cloudpal_sorted::WriteError),
    /// Reading on the way.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a batch was not written. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A key is too long.
    #[error("a key has {0} bytes, at most {MAX_KEY} are possible")]
    Key(usize),
    /// A value is too long.
    #[error(
        "the value of a key has {0} bytes, at most {MAX_VALUE} are possible: larger things belong into a drive"
    )]
    Value(usize),
    /// The batch is too large.
    #[error("the batch takes {0} bytes, at most {MAX_ENTRY} are possible: split it")]
    Batch(usize),
    /// Too many changes at once.
    #[error("the batch has more than {} changes: split it", crate::wire::MAX_OPS)]
    Changes,
    /// The value is none for this kind of sub-database.
    #[error("{sub} cannot take this value: {why}")]
    Unfit {
        /// Where.
        sub: Sub,
        /// Why.
        why: String,
    },
    /// This change is not one of this kind of sub-database.
    #[error("{sub} has no such change: {change}")]
    Change {
        /// Where.
        sub: Sub,
        /// What was wanted.
        change: &'static str,
    },
    /// A condition does not hold.
    #[error("the value at a key of {sub} is not the expected one: read it again")]
    Condition {
        /// Where.
        sub: Sub,
        /// Which key.
        key: bytes::Bytes,
    },
    /// A conflict is not the one that was seen.
    #[error(
        "what was written at a key of {sub} at the same time is not what was seen: look at its conflicts again"
    )]
    Versions {
        /// Where.
        sub: Sub,
        /// Which key.
        key: bytes::Bytes,
    },
    /// This device may not write there.
    #[error("this device may not write to {sub}: ask the owner of the database for the right")]
    Rights {
        /// Where.
        sub: Sub,
    },
    /// This device is no member, or none any more.
    #[error(
        "this device is not admitted to the database: send its request (`cloudpal db members`) to the owner"
    )]
    NotAdmitted,
    /// Its log was cut.
    #[error("this device was removed from the database: what it wrote last was not accepted")]
    Cut,
    /// The log here is shorter than it was.
    #[error(
        "this copy of the database is older than what others have seen of it: join again as a new writer"
    )]
    RolledBack,
    /// Somebody says to have seen more of its log than is here.
    #[error(
        "this device's log is shorter than block {position} of {client} says: if the device was restored, join again as a new \
         writer; if not, that writer says what is not true"
    )]
    SeenMore {
        /// Who.
        client: ClientId,
        /// In which block of its log.
        position: u64,
    },
    /// Its own log was not read to its end.
    #[error(
        "what this device wrote before waits for something that is not here: connect it to another device"
    )]
    Waiting,
    /// No key of an epoch.
    #[error("this device has no key of the database yet: connect it to a device that is a member")]
    NoKey,
    /// Only the owner or a manager can.
    #[error("only the owner's devices and managers can do this")]
    NotManager,
    /// Only the owner can.
    #[error("only a device with the database's owner key can do this: the one that created it")]
    NotOwner,
    /// Nothing is known of it.
    #[error("there is no such member")]
    NoMember,
    /// The short ids of two writers are equal.
    #[error("this device's id is taken: let it join with a new log")]
    ClientTaken,
    /// Reading what there is.
    #[error(transparent)]
    Read(#[from] ReadError),
}
