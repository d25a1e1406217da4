use crate::blobs::BlobError;
use crate::entry::EntryError;
use crate::open::OpenError;
use crate::path::{PathError, shown};
use cloudpal_bee::{ReadError as MapReadError, WriteError as MapWriteError};
use cloudpal_log::FeedError;

/// Why something could not be read from a drive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The map below.
    #[error("cannot look up files in the drive")]
    Map(#[from] MapReadError),
    /// A key that is no file name. Listings go on after it.
    #[error(transparent)]
    Key(#[from] PathError),
    /// An entry that cannot be read. Listings go on after it.
    #[error("cannot read the entry of `{}`", shown(path))]
    Entry {
        /// Whose.
        path: String,
        /// What is wrong with it.
        source: EntryError,
    },
    /// Nothing there.
    #[error("the drive has no file `{}`", shown(path))]
    Missing {
        /// What was asked for.
        path: String,
    },
    /// A link that leads above the root, in a circle, or through more than sixteen links.
    #[error("the link `{}` leads nowhere: read its entry to see its target", shown(path))]
    Link {
        /// The link.
        path: String,
    },
    /// The blob log could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The content could not be read.
    #[error("cannot read the content of `{}`", shown(path))]
    Blob {
        /// Whose.
        path: String,
        /// Why not.
        source: BlobError,
    },
}

impl ReadError {
    /// Whether one faulty entry is to blame, so that a listing goes on after it.
    pub fn is_of_one_file(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Entry { .. })
    }
}

/// Why a drive could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The map below.
    #[error("cannot write the entry of `{}`", shown(path))]
    Map {
        /// Whose.
        path: String,
        /// Why not.
        source: MapWriteError,
    },
    /// The entries of a batch.
    #[error("cannot write the entries of the batch")]
    Flush(#[source] MapWriteError),
    /// What is there could not be read.
    #[error("cannot change the drive")]
    Read(#[from] ReadError),
    /// The blob log could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The content could not be stored.
    #[error("cannot store the content of `{}`", shown(path))]
    Blob {
        /// Whose.
        path: String,
        /// Why not.
        source: BlobError,
    },
    /// Blocks could not be freed.
    #[error("cannot free contents of the drive")]
    Free(#[source] BlobError),
    /// One of the logs could not be cut.
    #[error("cannot cut the drive back to an earlier version")]
    Truncate(#[source] FeedError),
    /// An earlier operation of the batch failed.
    #[error("an operation of this batch failed before: begin a new one")]
    Broken,
}
