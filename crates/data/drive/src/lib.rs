//! # Files on a log, as Hyperdrive has them
//!
//! A [`Drive`] is two logs: a sorted map of paths, and a log of contents cut into blocks of 65,536 bytes. One key opens
//! both, for the second follows from the first. The same operations make the same blocks as npm `hyperdrive` 13, and drives
//! that JS wrote read the same here: compat and version 0 logs, encrypted ones, contents stored as lists of blocks.
//!
//! What JS does not do: equal files share one content ([`Dedup`]), [`Drive::clear`] and [`Drive::reclaim`] free only what no
//! other file uses, and a [mirror](mirror) to a folder writes nothing outside of it, whatever links the drive holds.
//!
//! This crate never opens a socket, reads no clock but to end a wait, and knows logs only through [`cloudpal_log::Feed`]: whoever
//! owns the logs hands in the first and opens the second ([`Logs`]). It touches files only through a
//! [`LocalFolder`](folder::LocalFolder) that it was given. It trusts no entry: offsets, lengths, names and links are
//! checked before they are used, and a faulty file is an error of that file only.
//!
//! ```
//! use cloudpal_drive::{About, BlobLog, Drive, DrivePath, Folder, Logs, Options};
//! use cloudpal_log::{Feed, FeedError, KeyPair, Manifest, MemoryFeed};
//! use std::sync::Arc;
//!
//! struct InMemory;
//! impl Logs for InMemory {
//!     fn manifest(&self) -> Option<Manifest> {
//!         Some(Manifest::single(KeyPair::from_seed(&[7; 32]).public_key()))
//!     }
//!     fn blobs(&self, _which: BlobLog) -> Result<Arc<dyn Feed>, FeedError> {
//!         Ok(Arc::new(MemoryFeed::create(KeyPair::from_seed(&[8; 32]))))
//!     }
//! }
//!
//! let map = MemoryFeed::create(KeyPair::from_seed(&[7; 32]));
//! let drive = Drive::open(Arc::new(map), InMemory, Options::default())?;
//! let note = DrivePath::new("/notes/monday.txt")?;
//! drive.put(&note, "buy beans", About::default())?;
//! let monday = drive.now();
//! drive.put(&note, "buy rice", About::default())?;
//!
//! assert_eq!(drive.get(&note)?.unwrap(), "buy rice");
//! assert_eq!(monday.get(&note)?.unwrap(), "buy beans");
//! assert_eq!(drive.now().diff(&monday, &Folder::root()).count(), 1);
//! let paths: Vec<_> = drive.now().list(&Folder::root()).map(|file| file.map(|file| file.path)).collect::<Result<_, _>>()?;
//! assert_eq!(paths, [note]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
