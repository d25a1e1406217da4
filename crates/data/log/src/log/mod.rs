//! A log over storage. What it keeps in memory: its roots, which blocks it holds, and a few tree records.

mod append;
mod apply;
mod conflict;
mod draft;
mod group;
mod head;
mod held;
mod open;
mod prove;
mod read;
mod reorg;
mod repair;
mod truncate;
mod user;

pub use append::{AppendError, Appended};
pub use apply::{Applied, ProofError};
pub use conflict::Conflict;
pub use open::{Create, OpenError};
pub use read::{ReadError, Seek};
pub use reorg::{Reorg, ReorgWant};
pub use truncate::TruncateError;

use crate::{Auth, Cipher, EncryptionKey, KeyPair, Manifest, Storage, Tree, hash};
use bytes::Bytes;
use group::Cache;
use head::Head;
use held::Held;
use std::cell::RefCell;
use std::ops::Range;

/// The longest block, in bytes as stored: npm hypercore refuses more.
pub const MAX_BLOCK: usize = 15 * 1024 * 1024;

/// One log.
///
/// Every change is one atomic batch of the storage: it happened whole, or the log is as before, in memory too.
pub struct Log<S> {
    storage: S,
    key: [u8; 32],
    discovery_key: [u8; 32],
    auth: Option<Auth>,
    frozen: bool,
    tree: Tree,
    /// As it is on disk.
    head: Head,
    held: Held,
    cache: RefCell<Cache>,
    key_pair: Option<KeyPair>,
    cipher: Option<Cipher>,
    encryption: Option<EncryptionKey>,
}

impl<S: Storage> Log<S> {
    /// Lets this log be written: with a key pair that may sign it alone. Other key pairs are not kept.
    #[must_use]
    pub fn with_key_pair(mut self, key_pair: KeyPair) -> Self {
        let signs = |auth: &Auth| auth.sign(&Tree::empty(0), &key_pair).is_ok();
        self.key_pair = self.auth.as_ref().is_some_and(signs).then_some(key_pair);
        self
    }

    /// Lets the blocks of an encrypted log be read, and encrypts what is appended.
    #[must_use]
    pub fn with_encryption(mut self, key: EncryptionKey) -> Self {
        self.encryption = Some(key);
        self.choose_cipher();
        self
    }

    /// Which cipher it is can only be told once the manifest is known.
    fn choose_cipher(&mut self) {
        self.cipher = self.encryption.as_ref().zip(self.auth.as_ref()).map(|(key, auth)| {
            if auth.is_compat() { Cipher::compat(&self.key, key) } else { Cipher::new(&self.key, key) }
        });
    }

    /// The log's key.
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// What peers look for.
    pub const fn discovery_key(&self) -> &[u8; 32] {
        &self.discovery_key
    }

    /// Who may sign; none as long as only the key is known.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.auth.as_ref().map(Auth::manifest)
    }

    /// Key and manifest together.
    pub const fn auth(&self) -> Option<&Auth> {
        self.auth.as_ref()
    }

    /// Whether this is a compat log, as far as is known.
    pub fn is_compat(&self) -> bool {
        self.auth.as_ref().is_some_and(Auth::is_compat)
    }

    /// Number of blocks, held or not.
    pub const fn length(&self) -> u64 {
        self.tree.length()
    }

    /// Bytes of all blocks, without padding.
    pub const fn byte_length(&self) -> u64 {
        self.tree.byte_length().saturating_sub(self.padding() * self.tree.length())
    }

    /// Bytes of padding in each block: 8 when a key for encryption was given, else 0.
    pub const fn padding(&self) -> u64 {
        if self.encryption.is_some() { Cipher::PADDING } else { 0 }
    }

    /// How often the log was truncated.
    pub const fn fork(&self) -> u64 {
        self.tree.fork
    }

    /// The roots with what follows from them.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The hash that is signed.
    pub const fn tree_hash(&self) -> [u8; 32] {
        self.head.tree_hash
    }

    /// The signature of the present state; empty before the first block, and in a prologue.
    pub const fn signature(&self) -> &Bytes {
        &self.head.signature
    }

    /// Whether [`append`](Self::append) can work.
    pub const fn writable(&self) -> bool {
        self.key_pair.is_some() && !self.frozen
    }

    /// Whether two signed histories were seen; such a log takes nothing more.
    pub const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The storage below, for what the log itself does not do.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Gives the storage back.
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// All blocks below this are held.
    pub const fn contiguous_length(&self) -> u64 {
        self.held.contiguous()
    }

    /// Whether the body of block `index` is held.
    pub fn has(&self, index: u64) -> bool {
        self.held.contains(index)
    }

    /// The first run of held blocks at or after `index`, cut to begin no earlier than `index`.
    pub fn next_held(&self, index: u64) -> Option<Range<u64>> {
        self.held.next_held(index)
    }

    /// The last run of blocks that are held.
    pub fn last_held(&self) -> Range<u64> {
        self.held.last()
    }

    /// The first block at or after `index` that is not held; it may lie past the end.
    pub fn next_missing(&self, index: u64) -> u64 {
        self.held.next_missing(index)
    }

    /// How many of `blocks` are held.
    pub fn count_held(&self, blocks: Range<u64>) -> u64 {
        self.held.count(blocks)
    }

    /// The bits of `words` words of 32 blocks from block `32 * first_word` on, lowest bit first.
    pub fn held_words(&self, first_word: u64, words: usize) -> Vec<u32> {
        let mut bits = vec![0_u32; words];
        let first = first_word * 32;
        let end = first + 32 * words as u64;
        let mut at = first;
        while let Some(run) = self.held.next_held(at).filter(|run| run.start < end) {
            for (word, bit) in (run.start..run.end.min(end)).map(|block| ((block - first) / 32, block % 32)) {
                bits[word as usize] |= 1 << bit;
            }
            at = run.end;
        }
        bits
    }
}

impl<S> std::fmt::Debug for Log<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |key: &[u8; 32]| key[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        f.debug_struct("Log")
            .field("discovery_key", &short(&self.discovery_key))
            .field("fork", &self.tree.fork)
            .field("length", &self.tree.length())
            .field("contiguous", &self.held.contiguous())
            .finish_non_exhaustive()
    }
}

/// The tree hash of an empty log.
fn empty_hash() -> [u8; 32] {
    hash::tree(&[])
}
