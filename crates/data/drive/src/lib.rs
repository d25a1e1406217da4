//! Hyperdrive 13: files on a sorted map and a blob log.

pub mod blobs;
pub mod folder;
pub mod mirror;

mod batch;
mod checkout;
mod dedup;
mod drive;
mod entry;
mod error;
mod key;
mod list;
mod open;
mod path;
mod pins;
mod reclaim;
mod watch;

pub use batch::Batch;
pub use checkout::{Checkout, Difference, FileEntry};
pub use dedup::ReadSeek;
pub use drive::{About, Dedup, Drive, Options};
pub use entry::{BlobId, Entry, EntryError, Metadata};
pub use error::{ReadError, WriteError};
pub use list::{Child, Children, Ignore};
pub use open::{BlobLog, Logs, OpenError, content_manifest};
pub use path::{DrivePath, Folder, PathError};
pub use reclaim::Freed;
pub use watch::{Change, Watcher};
