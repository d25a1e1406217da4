use crate::format::Damage;
use std::io;
use std::path::PathBuf;

/// Why a folder could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no LevelDB.
    #[error("{} is no LevelDB folder: it has no file CURRENT", .0.display())]
    Missing(PathBuf),
    /// Another program has it open.
    #[error("{} is in use by another program: close it there first", .0.display())]
    Locked(PathBuf),
    /// Its keys are in an order of a program's own.
    #[error("{} sorts its keys by {name}, not by their bytes; only its own program can read it", .folder.display())]
    Comparator {
        /// Which folder.
        folder: PathBuf,
        /// What it calls its order.
        name: String,
    },
    /// A log is larger than what is taken into memory.
    #[error(
        "{} has {bytes} bytes, at most {limit} are read: open and close the folder once with its own program, which sorts them in",
        .file.display()
    )]
    Log {
        /// Which file.
        file: PathBuf,
        /// How long it is.
        bytes: u64,
        /// How long it may be.
        limit: u64,
    },
    /// Reading what it says.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file system.
    #[error("{} cannot be read", .file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Bytes are not what they were.
    #[error("{} is damaged", .file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// Where, and how.
        source: Damage,
    },
    /// Compressed in a way that is not known here.
    #[error("{} has a block at byte {offset} that is compressed in way {way}, and only Snappy is known here", .file.display())]
    Compression {
        /// Which file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// LevelDB's number for it.
        way: u8,
    },
}

/// Why a folder was not written. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Something is there.
    #[error("{} is there already; a LevelDB folder is written to a place where nothing is", .0.display())]
    Exists(PathBuf),
    /// Something is there from a time when this did not come to its end.
    #[error("{} is there, as of an export that was stopped: delete it first", .0.display())]
    Leftover(PathBuf),
    /// Keys out of order, or one twice.
    #[error("keys come in rising order, each once")]
    Order,
    /// A key or value is longer than the format can say.
    #[error("a key or value has {0} bytes, which LevelDB has no number for")]
    Length(usize),
    /// The file system.
    #[error("{} cannot be written", .file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
}
