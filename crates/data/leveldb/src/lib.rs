//! # LevelDB folders: reading what is there, writing new ones
//!
//! For taking databases out of programs made with LevelDB (npm's `level` and `classic-level` among them) and back. It reads the folder
//! as it is on the disk, also one whose program was killed, and knows the format by itself, so that nothing passes unseen:
//! LevelDB's own recovery leaves out what is damaged and writes to what it opens.
//!
//! - [`Folder`]: one that is there. Its lock is taken for reading, so that no program changes it meanwhile.
//! - [`Writer`]: a new one, of keys that come in order; whole or not there at all.
//! - [`format`]: the small parsers of the bytes, none of which trusts a length.
//!
//! It never writes to a folder that it reads, never guesses at damage (file and offset are told, and it ends), and never holds
//! more in memory than the logs of a folder, which LevelDB keeps small, and a block for each level.
//!
//! ```
//! use cloudpal_leveldb::{Folder, Writer};
//! use std::ops::ControlFlow;
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("pantry");
//! let mut writer = Writer::create(&path)?;
//! writer.put(b"beans", b"3 tins")?;
//! writer.put(b"tea", b"green")?;
//! writer.finish()?;
//!
//! let mut keys = Vec::new();
//! Folder::open(&path)?.visit(&mut |key, _| {
//!     keys.push(String::from_utf8_lossy(key).into_owned());
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(keys, ["beans", "tea"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod format;

mod error;
mod folder;
mod merge;
mod table;
mod writer;

pub use error::{OpenError, ReadError, WriteError};
pub use folder::{Folder, Unfinished, Visit};
pub use table::{Stored, Table, TableCursor, TableFault};
pub use writer::{Writer, Written};
