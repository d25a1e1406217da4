//! # A multi-writer database in use
//!
//! [`Database`] joins what [`cloudpal_db`] decides with a [`Store`](cloudpal_store::Store) that keeps logs and pages, sealed: this device's
//! log, copies of the other members' logs, the view. A thread of its own merges what peers send and tidies up. Writers that come at
//! the same time share one signature and one sync.
//!
//! - [`Database::create`], [`join`](Database::join), [`open`](Database::open): databases by name, in one store.
//! - [`Database::write`], [`snapshot`](Database::snapshot), [`changes`](Database::changes): what apps use.
//! - [`Database::request`], [`admit`](Database::admit), [`remove`](Database::remove): who belongs to it.
//! - [`Database::checkpoint`], [`forget`](Database::forget): beginning from a checkpoint, and letting go of history before it.
//!
//! It dials nobody and listens nowhere: whoever holds the store [connects](cloudpal_store::Store::connect) it, and what comes is merged.
//! Secrets of a database lie in the store, sealed, and are never printed.
//!
//! ```
//! use cloudpal_base::{Batch, Database, Durability, Kind, Sub};
//! use cloudpal_store::{Store, StoreKey};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Store::open(dir.path(), &StoreKey::random()?, Default::default())?;
//! let pantry = Database::create(&store, "pantry")?;
//! let notes = Sub::new("notes", Kind::Json)?;
//! let mut batch = Batch::new();
//! batch.put(&notes, "tea", r#"{"kind": "green", "grams": 100}"#);
//! pantry.write(batch, Durability::Durable)?;
//! let mut batch = Batch::new();
//! batch.patch(&notes, "tea", r#"{"grams": 80}"#);
//! pantry.write(batch, Durability::Relaxed)?;
//! assert_eq!(pantry.snapshot().get(&notes, b"tea")?.unwrap(), r#"{"grams":80,"kind":"green"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod catalogue;
mod checkpoint;
mod database;
mod error;
mod follow;
mod history;
mod logs;
mod members;
mod pages;
mod queue;
mod request;
mod resolve;

pub use checkpoint::{Forgotten, RETENTION};
pub use cloudpal_db::record::{Rights, Role};
pub use cloudpal_db::{
    Batch, Change, Checkpoint, ClientId, Conflict, Dot, Fault, Heads, Kind, Member, Order, Range, ReadError,
    Refusal, Span, Stamp, Sub, SubError, Terms, Unit, Version, WriteError, WriterId, Written, limits,
};
pub use cloudpal_log::Durability;
pub use database::{Database, Options, Snapshot, Standing};
pub use error::{CheckpointError, HistoryError, MemberError, OpenError, WriteFault};
pub use history::{Changes, Cursor, Did, Edited, Past, Undone};
pub use members::Progress;
pub use request::{ParseRequestError, Request};
pub use resolve::{Choice, Resolution, ResolveError};
