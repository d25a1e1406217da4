use cloudpal_db::{KeepError, ReadError, WriteError};
use cloudpal_log::FeedError;
use cloudpal_store::OpenLogError;

/// Why a database could not be opened, made or joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is one of that name.
    #[error("there is a database called {0:?} here already")]
    Exists(String),
    /// There is none of that name.
    #[error("there is no database called {0:?} here: `create` makes one, `join` joins somebody else's")]
    Missing(String),
    /// No name for a database.
    #[error("a database's name has 1 to 255 bytes")]
    Name,
    /// The list of databases cannot be read.
    #[error("the list of databases in this store is damaged")]
    Catalogue(#[source] postcard::Error),
    /// A log of the database.
    #[error("cannot open a log of the database")]
    Log(#[from] OpenLogError),
    /// Reading or writing a log of the database.
    #[error("cannot use a log of the database")]
    Feed(#[from] FeedError),
    /// The view.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// No thread.
    #[error("cannot start a thread for the database")]
    Thread(#[source] std::io::Error),
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFault {
    /// The database does not take it.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// The log does not take it; nothing of the batch was kept.
    #[error("cannot write to this device's log of the database")]
    Log(#[source] FeedError),
    /// It is written, but whether it would survive a loss of power is not known.
    #[error("the batch was written, but the disk did not confirm it")]
    Unconfirmed(#[source] FeedError),
    /// The view could not be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// It was closed.
    #[error("the database is closed: open it again")]
    Closed,
}

/// Why a member could not be admitted or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The database does not allow it.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// Writing the record.
    #[error(transparent)]
    Write(#[from] WriteFault),
    /// Nobody of that name or key.
    #[error("there is no member {0:?}")]
    Unknown(String),
    /// Several of that name.
    #[error("several members are called {0:?}: name its key")]
    Ambiguous(String),
    /// Reading a log.
    #[error("cannot read the member's log")]
    Log(#[from] FeedError),
    /// Opening this device's new log.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why the past could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The view or a log.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What restores it could not be written.
    #[error(transparent)]
    Write(#[from] WriteFault),
    /// The view could not be built.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// History that a reader of the change feed has not read was forgotten.
    #[error("changes behind this cursor are no longer kept: read what there is, and go on from now")]
    Gone,
    /// There is no such batch.
    #[error("there is no batch {position} of {client} here")]
    Unknown {
        /// Whose.
        client: cloudpal_db::ClientId,
        /// Which block.
        position: u64,
    },
}

/// Why a checkpoint could not be made, or history not forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The database does not allow it.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// The view could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The view could not be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// A log could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log of checkpoints, or one whose history is to be forgotten.
    #[error("cannot write to the log of checkpoints, or clear a log")]
    Log(#[from] FeedError),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// There is none.
    #[error(
        "there is no checkpoint yet, and history can be forgotten only before one: the device that created the database makes it"
    )]
    None,
    /// Its contents are not here.
    #[error("the checkpoint is not all here yet: connect this device to one that has it")]
    NotHeld,
}
