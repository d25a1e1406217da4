//! Proofs: what one peer asks of another to have a part of a log, and the answer that shows it to be true.
//!
//! The types are the wire's messages `request` and `data` without their request ids.

mod create;
mod path;
mod verify;

pub use create::RequestError;
pub(crate) use create::{Nodes, byte_offset, create, unpadded};
pub(crate) use path::{grow, path};
pub use verify::BadProof;
pub(crate) use verify::{Grown, Loose, loose, upgrade};

use crate::{Manifest, Node};
use bytes::Bytes;

/// What a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProofRequest {
    /// The fork that it knows.
    pub fork: u64,
    /// A block with its body.
    pub block: Option<BlockRequest>,
    /// A tree node without a body. Not together with a block.
    pub hash: Option<HashRequest>,
    /// The way to a byte.
    pub seek: Option<SeekRequest>,
    /// A longer tree.
    pub upgrade: Option<UpgradeRequest>,
    /// The manifest too.
    pub manifest: bool,
}

/// Asks for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRequest {
    /// The block.
    pub index: u64,
    /// How many parents up the first node is that the asker has.
    pub nodes: u64,
}

/// Asks for a tree node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashRequest {
    /// The node's index.
    pub index: u64,
    /// How many parents up the first node is that the asker has.
    pub nodes: u64,
}

/// Asks for the way to a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeekRequest {
    /// The byte, counted without padding.
    pub bytes: u64,
    /// Bytes of padding in each block: 8 in an encrypted log, else 0.
    pub padding: u64,
}

/// Asks for a longer tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The asker's length.
    pub start: u64,
    /// How many blocks more.
    pub length: u64,
}

/// What a peer answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// The fork that it is about.
    pub fork: u64,
    /// A block.
    pub block: Option<BlockProof>,
    /// A tree node.
    pub hash: Option<HashProof>,
    /// The way to a byte.
    pub seek: Option<SeekProof>,
    /// A longer tree.
    pub upgrade: Option<UpgradeProof>,
    /// Who may sign.
    pub manifest: Option<Manifest>,
}

/// A block with what ties it to a known node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    /// The block.
    pub index: u64,
    /// Its body as stored: encrypted in an encrypted log.
    pub value: Bytes,
    /// The siblings on the way up.
    pub nodes: Vec<Node>,
}

/// A tree node with what ties it to a known node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashProof {
    /// The node's index.
    pub index: u64,
    /// The node, then the siblings on the way up.
    pub nodes: Vec<Node>,
}

/// The way to a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeekProof {
    /// The byte.
    pub bytes: u64,
    /// A node, then the siblings on the way up.
    pub nodes: Vec<Node>,
}

/// A longer tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeProof {
    /// The length that it starts at.
    pub start: u64,
    /// How many blocks more were asked for.
    pub length: u64,
    /// The nodes that make the tree up to there.
    pub nodes: Vec<Node>,
    /// The nodes that make the tree as long as the signature is for.
    pub additional_nodes: Vec<Node>,
    /// The signature; empty when a prologue needs none.
    pub signature: Bytes,
}
