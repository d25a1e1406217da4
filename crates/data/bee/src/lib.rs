//! # A sorted map on a log, as Hyperbee has it
//!
//! A [`Bee`] is a B-tree on one append-only log. Each block is one operation with the tree nodes that it changed,
//! so every version of the map can still be read, two versions are compared without reading what they share, and
//! a copy of the log is a copy of the map. The same operations make the same blocks as npm `hyperbee` 2.27, byte by
//! byte, batches included. [`trie`] reads what npm `hypertrie` 5 left behind.
//!
//! It sees a log only through [`cloudpal_log::Feed`] and never opens a file or socket. Keys and values are bytes;
//! whoever wants text or JSON says so on the [`Entry`]. It trusts no block: whatever a log holds gives an answer or
//! an error, never a panic, an endless walk or more memory than the blocks ask for.
//!
//! ```
//! use cloudpal_bee::{Bee, History, Options, Range};
//! use cloudpal_log::{KeyPair, MemoryFeed};
//! use std::sync::Arc;
//!
//! let feed = MemoryFeed::create(KeyPair::from_seed(&[7; 32]));
//! let bee = Bee::new(Arc::new(feed), Options::default());
//! bee.put("beans", "3 tins")?;
//! let monday = bee.snapshot();
//!
//! let mut batch = bee.batch();
//! batch.put("rice", "1 bag")?;
//! batch.del("beans")?;
//! batch.flush()?;
//!
//! let keys: Vec<_> = bee.range(Range::all()).map(|entry| entry.map(|entry| entry.key)).collect::<Result<_, _>>()?;
//! assert_eq!(keys, ["rice"]);
//! assert_eq!(monday.get("beans")?.unwrap().value_str(), Some("3 tins"));
//! assert_eq!(bee.history(History::all()).count(), 3);
//! assert_eq!(bee.diff(&monday, Range::all()).count(), 2);
//!
//! let first = bee.put_if("rice", "2 bags", |old, _new| old.is_none())?;
//! assert_eq!(first, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod block;
pub mod trie;

mod batch;
mod bee;
mod cache;
mod clear;
mod cursor;
mod diff;
mod draft;
mod entry;
mod error;
mod history;
mod lock;
mod proto;
mod range;
mod reader;
mod snapshot;
mod tree;
mod watch;

pub use batch::Batch;
pub use bee::{Bee, Options};
pub use diff::Difference;
pub use draft::Duplicates;
pub use entry::{Entry, json};
pub use error::{ClearError, ImportError, ReadError, WriteError};
pub use history::{Action, History, Operation};
pub use range::Range;
pub use snapshot::Snapshot;
pub use watch::{Change, Watcher};
