//! # Many logs on one disk, and their way to peers
//!
//! A [`Store`] keeps any number of [logs](cloudpal_log) in one folder: it turns names and namespaces into keys as npm
//! `corestore` 7 does, encrypts everything that touches the disk (block bodies, metadata and names), and remembers
//! in a second place how long each log was, so that damage is told and never taken for the truth. A [`Session`] is
//! one log in use, behind the [`Feed`](cloudpal_log::Feed) trait.
//!
//! It never writes a secret: the [`StoreKey`] comes in as an argument, and sealing it to the device is the caller's
//! affair ([`seal`] and [`unseal`] help). It is synchronous: calls block, and there is no runtime.
//!
//! ```
//! use bytes::Bytes;
//! use cloudpal_log::Feed;
//! use cloudpal_store::{Options, Store, StoreKey};
//!
//! let dir = tempfile::tempdir()?;
//! let key = StoreKey::random()?;
//! let store = Store::open(dir.path(), &key, Options::default())?;
//! let log = store.log("notes")?;
//! log.append(&[Bytes::from_static(b"hello"), Bytes::from_static(b"world")])?;
//! store.close()?;
//!
//! let store = Store::open(dir.path(), &key, Options::default())?;
//! assert_eq!(store.log("notes")?.get(1)?, "world");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod disk;
mod exchange;
mod fetch;
mod gc;
mod info;
mod key;
mod loss;
mod net;
mod open;
mod options;
mod pages;
mod pulse;
mod registry;
mod repair;
mod session;
mod shared;
mod store;
mod tend;
mod which;

pub use disk::FormatError;
pub use fetch::Fetch;
pub use gc::{DeleteError, LogUsage, Swept, Usage};
pub use info::Info;
pub use key::{Namespace, PrimaryKey, StoreKey, UnsealError, seal, unseal};
pub use loss::{Extent, Loss, Lossy};
pub use net::{
    Access, Carrier, ConnectError, Connection, FrameSink, FrameSource, HandshakeError, Offer, Server,
};
pub use open::OpenError;
pub use options::{Memory, Options};
pub use pages::{PageChange, PageFile};
pub use repair::{LogRepaired, Repaired, repair};
pub use session::Session;
pub use shared::OpenLogError;
pub use store::Store;
pub use which::{LogOptions, Which};
