//! # An ordered map on pages that someone else keeps
//!
//! Keys and values are bytes; keys are in bytewise order. What is written lies in memory until a *flush* makes a sorted
//! *run* of it, and *compaction* makes few runs of many (a log-structured merge tree). Runs are cut into pages of about
//! 16 KiB, and the pages go to a keeper behind the trait [`Pages`], which seals each whole: so everything at rest is
//! encrypted, keys too, and no single key or value costs a sealing.
//!
//! **There is no journal.** What was not flushed is gone after a crash, and the caller applies it again from where it came:
//! the writers' logs. So that it knows from where, each flush takes a *mark* and commits it together with the run.
//!
//! ```
//! use cloudpal_sorted::{Batch, MemoryPages, Options, Order, Progress, Sorted};
//! use std::ops::{Bound, ControlFlow};
//!
//! let pages = MemoryPages::new();
//! let map = Sorted::open(pages.clone(), Options::default())?;
//! let mut batch = Batch::new();
//! batch.put("pear", "green");
//! batch.put("plum", "blue");
//! map.write(batch);
//!
//! let before = map.snapshot();
//! let mut batch = Batch::new();
//! batch.delete("plum");
//! map.write(batch);
//! assert_eq!(map.get(b"plum")?, None);
//! assert_eq!(before.get(b"plum")?.as_deref(), Some(&b"blue"[..]));
//!
//! let mut keys = Vec::new();
//! before.scan((Bound::Included(&b"p"[..]), Bound::Unbounded), Order::Descending, &mut |key, _| {
//!     keys.push(key.to_vec());
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(keys, [&b"plum"[..], b"pear"]);
//!
//! map.flush("two batches".into())?;
//! while map.compact()? == Progress::More {}
//! let again = Sorted::open(pages, Options::default())?;
//! assert_eq!(again.mark().as_deref(), Some(&b"two batches"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ## On pages
//!
//! A run is a row of *segments* of about 4 MiB. Segment *n* has the pages from *n* · 2³² on: its blocks, then its index
//! with a Bloom filter. Page 0 is the manifest: which segments there are, in which order of age, and the mark. A commit
//! that contains the manifest is the moment at which anything changes; pages that no manifest names are removed at opening.
//!
//! A merge goes on in steps, each of which writes one segment of the new run and moves a *fence*: up to it the new run
//! counts, above it the old ones. So a step is short, a crash loses one step at most, and room is given back on the way.
//!
//! ## What it costs
//!
//! Four runs of one tier become one of the next, and the oldest run takes up the others when they are as large as it
//! together. So a map of a thousand flushes has written each byte 5.4 times if keys come in random order (4.1 and 5.0 times
//! in two runs of 10^7 entries of 116 bytes with 16 MiB of memory); segments of keys that come in their order are moved,
//! not written again. A lookup asks a filter per run and then reads one block; at rest there are three runs a tier at most,
//! 13 after a thousand flushes. Dead bytes take about as much room as live ones at most, and somewhat more while a merge
//! goes on.
//!
//! It never opens a file, starts a thread or reads a clock; it knows nothing of what its keys and values mean, and it
//! checks no authenticity: a page is what the keeper says, as long as it can be read at all.

mod batch;
mod codec;
mod compact;
mod cursor;
mod error;
mod filter;
mod flush;
mod load;
mod lock;
mod manifest;
mod memory;
mod merge;
mod options;
mod pages;
mod policy;
mod run;
mod segment;
mod shared;
mod snapshot;
mod sorted;
mod table;
mod version;

pub use batch::{Batch, MAX_KEY, MAX_VALUE};
pub use compact::Progress;
pub use cursor::Cursor;
pub use error::{OpenError, ReadError, WriteError};
pub use memory::MemoryPages;
pub use options::Options;
pub use pages::{Change, Pages, PagesError};
pub use snapshot::{Bounds, Order, Snapshot};
pub use sorted::{Sorted, Usage};
