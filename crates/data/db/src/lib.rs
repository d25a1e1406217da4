//! # The multi-writer database: every device a writer, no leader
//!
//! Each device appends atomic batches to a log of its own; every device reads all logs and comes to the same view. The view is a
//! pure function of the batches that members wrote: order of arrival, repeats and partitions do not matter. What two devices wrote
//! without knowing of each other is merged by [`Kind`]: registers (the later wins, the other stays as a [`Conflict`]), JSON documents
//! field by field, sets, counters and text. `docs/database.md` says what holds.
//!
//! - [`Batch`], [`Sub`], [`Kind`]: what is written where.
//! - [`Replica`]: one copy of a database, a state machine: blocks to append come out, logs come in through the trait [`Logs`].
//! - [`View`]: the database at one moment, for reading.
//! - [`record`], [`Members`]: who may write what, by signed records.
//! - [`wire`]: the blocks of a log.
//!
//! It has no file, socket, clock, thread or generator of randomness: time and random bytes come in as arguments, the view lies on
//! [pages](cloudpal_sorted::Pages) that the caller keeps, logs are the caller's. It never truncates a log.
//!
//! ```
//! use cloudpal_core::{AgreementSecret, Secret, SigningKey};
//! use cloudpal_db::{Batch, Identity, Logs, LogsError, Replica, Sub, WriterId};
//! use cloudpal_sorted::{MemoryPages, Options, Sorted};
//!
//! struct One(Vec<bytes::Bytes>);
//! impl Logs for One {
//!     fn length(&self, _: &WriterId) -> u64 {
//!         self.0.len() as u64
//!     }
//!     fn block(&self, _: &WriterId, position: u64) -> Result<Option<bytes::Bytes>, LogsError> {
//!         Ok(self.0.get(position as usize).cloned())
//!     }
//! }
//!
//! // A real caller takes these from the operating system's generator, and the writer's id from its log.
//! let mut random = 0;
//! let mut secret = || {
//!     random += 1;
//!     Secret::new([random; 32])
//! };
//! let owner = SigningKey::from_secret(&secret());
//! let me = Identity {
//!     writer: WriterId([7; 32]),
//!     agreement: AgreementSecret::from_secret(&secret()),
//!     signer: SigningKey::from_secret(&secret()),
//!     owner: Some(owner.clone()),
//! };
//! let mut log = One(Replica::<MemoryPages>::found(&me, &owner, 1_000, &mut secret));
//! let sorted = Sorted::open(MemoryPages::default(), Options::default())?;
//! let mut replica = Replica::open(me.writer, me, sorted)?;
//! replica.advance(&log, 1_000)?;
//!
//! let mut batch = Batch::new();
//! batch.put(&Sub::root(), "tea", "green");
//! let prepared = replica.prepare(&[batch], log.0.len() as u64, 1_000, &mut || [9; 24])?;
//! log.0.extend(prepared.blocks.clone());
//! replica.commit(prepared);
//! assert_eq!(replica.view().get(&Sub::root(), b"tea")?.unwrap(), "green");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod limits;
pub mod record;
pub mod wire;

mod batch;
mod cell;
mod clock;
mod derive;
mod error;
mod heads;
mod id;
mod index;
mod json;
mod members;
mod merge;
mod replica;
mod row;
mod rows;
mod sub;
mod text;
mod valid;
mod value;
mod view;

pub use batch::{Batch, Span, Unit};
pub use cell::Version;
pub use clock::{PATIENCE_MS, Stamp};
pub use cloudpal_sorted::Order;
pub use error::{KeepError, LogsError, ReadError, WriteError};
pub use heads::Heads;
pub use id::{ClientId, Dot, WriterId};
pub use members::{Member, Members};
pub use replica::{
    Advanced, Checkpoint, Identity, Logs, Prepared, Refusal, Replica, Standing, Writing, Written,
    checkpoint_manifest,
};
pub use sub::{Kind, MAX_NAME, ParseKindError, Sub, SubError};
pub use valid::Fault;
pub use view::{Change, Conflict, Range, Terms, View};
