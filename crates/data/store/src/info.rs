use crate::Lossy;
use cloudpal_log::Manifest;

/// A log in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The log's key.
    pub key: [u8; 32],
    /// What peers look for.
    pub discovery_key: [u8; 32],
    /// Number of blocks.
    pub length: u64,
    /// Bytes of all blocks, without padding.
    pub byte_length: u64,
    /// How often the log was truncated.
    pub fork: u64,
    /// All blocks below this are held here.
    pub contiguous: u64,
    /// How many blocks are held here.
    pub held: u64,
    /// Bytes of block bodies held here.
    pub held_bytes: u64,
    /// The hash that is signed.
    pub tree_hash: [u8; 32],
    /// Who may sign; none as long as only the key is known.
    pub manifest: Option<Manifest>,
    /// Whether it is a compat log.
    pub compat: bool,
    /// Whether it can be written here.
    pub writable: bool,
    /// What it had once and has no more.
    pub lost: Option<Lossy>,
    /// Whether its owner was seen to have signed two histories: it takes nothing more.
    pub conflict: bool,
    /// How many peers have it open too.
    pub peers: usize,
}
