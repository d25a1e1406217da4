//! # One append-only log, as Hypercore has it
//!
//! A log is a list of blocks under a Merkle tree whose root its owner signs, so that a copy of any
//! part of it can be checked against nothing but the log's key. This crate speaks the formats of npm
//! `hypercore` 10 and 11: keys, manifests, hashes, signatures, encrypted blocks and proofs are equal
//! byte by byte.
//!
//! It never opens a file or socket, never reads a clock and never asks for randomness: what must
//! last goes through [`Storage`], and seeds come in as arguments. It never stores a secret: signing and
//! encryption keys are handed in again by whoever opens a log.
//!
//! ```
//! use bytes::Bytes;
//! use cloudpal_log::{Feed, KeyPair, MemoryFeed};
//!
//! let feed = MemoryFeed::create(KeyPair::from_seed(&[7; 32]));
//! feed.append(&[Bytes::from_static(b"hello"), Bytes::from_static(b"world")])?;
//! assert_eq!(feed.length(), 2);
//! assert_eq!(feed.get(1)?, "world");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod codec;
pub mod flat;
pub mod hash;
pub mod replicate;
pub mod wire;

mod encryption;
mod feed;
mod import;
mod keys;
mod log;
mod manifest;
mod memory;
mod memory_feed;
mod node;
mod proof;
mod storage;
mod tree;

pub use encryption::{Cipher, EncryptionKey};
pub use feed::{Feed, FeedError};
pub use import::{
    ImportError, Imported, OldFile, OldFiles, Oplog, OplogEntry, OplogHeader, OplogHeld, OplogState,
    OplogUpgrade,
};
pub use keys::KeyPair;
pub use log::{
    AppendError, Appended, Applied, Conflict, Create, Log, MAX_BLOCK, OpenError, ProofError, ReadError,
    Reorg, ReorgWant, Seek, TruncateError,
};
pub use manifest::{Auth, Manifest, ManifestError, PartialSignature, Prologue, SignError, Signer};
pub use memory::MemoryStorage;
pub use memory_feed::MemoryFeed;
pub use node::Node;
pub use proof::{
    BadProof, BlockProof, BlockRequest, HashProof, HashRequest, Proof, ProofRequest, RequestError, SeekProof,
    SeekRequest, UpgradeProof, UpgradeRequest,
};
pub use storage::{Batch, Change, Durability, Slot, Storage, StorageError, Table};
pub use tree::{Misplaced, Tree};
