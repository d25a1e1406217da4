//! Reading the feed of a hypertrie 5, the map that Hyperbee replaced: its keys are paths, and lie in a trie of their
//! hashes. No peer of today writes one, so neither does this crate.
//!
//! ```no_run
//! use bytes::Bytes;
//! use cloudpal_bee::trie::{Hypertrie, stored_blocks};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let feed = cloudpal_log::MemoryFeed::create(cloudpal_log::KeyPair::from_seed(&[7; 32]));
//! # let bee = cloudpal_bee::Bee::new(std::sync::Arc::new(feed), cloudpal_bee::Options::default());
//! let read = |name| std::fs::read(format!("old-trie/{name}"));
//! let trie = Hypertrie::from_blocks(stored_blocks(&read("tree")?, &Bytes::from(read("data")?))?);
//! println!("{} keys", trie.import_into(&bee)?);
//! # Ok(())
//! # }
//! ```

mod node;
mod stored;
mod walk;

pub use node::{TrieHeader, TrieNode};
pub use stored::{StoredError, stored_blocks};

use crate::{Bee, ImportError, ReadError};
use bytes::Bytes;
use cloudpal_log::Feed;
use std::sync::Arc;
use walk::List;

/// A hypertrie, or a version of one.
#[derive(Clone)]
pub struct Hypertrie {
    blocks: Blocks,
    version: u64,
}

#[derive(Clone)]
enum Blocks {
    Feed(Arc<dyn Feed>),
    Memory(Arc<[Bytes]>),
}

/// A key of a hypertrie with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrieEntry {
    /// Index of the block.
    pub seq: u64,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Option<Bytes>,
    /// What the writer noted beside it: for a drive, whether it is a mount and the like.
    pub flags: u64,
    /// Whether the key is hidden from those who do not ask for hidden ones.
    pub hidden: bool,
}

/// Which of the two sets of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Those that everyone sees.
    #[default]
    Shown,
    /// Those put with the option `hidden`.
    Hidden,
}

/// Operations that an import appends at once.
const IMPORTED_AT_ONCE: usize = 1000;

impl Hypertrie {
    /// The trie on `feed` as it is now.
    pub fn from_feed(feed: Arc<dyn Feed>) -> Self {
        let version = feed.length();
        Hypertrie { blocks: Blocks::Feed(feed), version }
    }

    /// The trie whose feed has these blocks.
    pub fn from_blocks(blocks: impl IntoIterator<Item = Bytes>) -> Self {
        let blocks: Arc<[Bytes]> = blocks.into_iter().collect();
        Hypertrie { version: blocks.len() as u64, blocks: Blocks::Memory(blocks) }
    }

    /// The header; none while the feed is empty.
    pub fn header(&self) -> Result<Option<TrieHeader>, ReadError> {
        if self.version == 0 {
            return Ok(None);
        }
        let header = TrieHeader::parse(&self.block(0)?).filter(|header| header.kind == "hypertrie");
        header.map(Some).ok_or(ReadError::Malformed { seq: 0, what: "it is not the header of a hypertrie" })
    }

    /// The number of blocks that are looked at.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The trie as it was with `version` blocks.
    pub fn checkout(&self, version: u64) -> Result<Hypertrie, ReadError> {
        if version > self.version {
            return Err(ReadError::Ahead { version, length: self.version });
        }
        Ok(Hypertrie { version, ..self.clone() })
    }

    /// The entry of `key`. A slash at its beginning makes no difference.
    pub fn get(&self, key: &str, visibility: Visibility) -> Result<Option<TrieEntry>, ReadError> {
        let wanted = node::Path::new(key, visibility.digit());
        let found = walk::find(self, &wanted, wanted.len())?;
        Ok(found.map(|(seq, node)| TrieEntry::new(seq, &node)))
    }

    /// The keys below `prefix` (whole parts of the path), in the order in which hypertrie lists them.
    pub fn list(
        &self,
        prefix: &str,
        visibility: Visibility,
    ) -> impl Iterator<Item = Result<TrieEntry, ReadError>> + Send + use<> {
        List::new(self.clone(), prefix, visibility.digit())
    }

    /// What each block put, oldest first. A block that a deletion wrote puts the nearest key once more; one that
    /// deleted the last key is passed over.
    pub fn history(&self) -> impl Iterator<Item = Result<TrieEntry, ReadError>> + Send + use<> {
        let trie = self.clone();
        (1..self.version).filter_map(move |seq| {
            let found = trie.node(seq).transpose()?;
            Some(found.map(|(seq, node)| TrieEntry::new(seq, &node)))
        })
    }

    /// Puts every shown key into `bee`, in batches; returns how many. Keys whose value is there already are put
    /// only if the bee wants duplicates.
    pub fn import_into(&self, bee: &Bee) -> Result<u64, ImportError> {
        let mut entries = self.list("", Visibility::Shown).peekable();
        let mut imported = 0;
        while entries.peek().is_some() {
            let mut batch = bee.batch();
            for entry in entries.by_ref().take(IMPORTED_AT_ONCE) {
                let entry = entry.map_err(ImportError::Trie)?;
                let put = match &entry.value {
                    Some(value) => batch.put(&entry.key, value),
                    None => batch.put_null(&entry.key),
                };
                put.map_err(ImportError::Bee)?;
                imported += 1;
            }
            batch.flush().map_err(ImportError::Bee)?;
        }
        Ok(imported)
    }

    fn head(&self) -> Result<Option<walk::Found>, ReadError> {
        if self.version < 2 { Ok(None) } else { self.node(self.version - 1) }
    }

    /// The node in block `seq`, unless it says that the trie is empty.
    fn node(&self, seq: u64) -> Result<Option<walk::Found>, ReadError> {
        let malformed = ReadError::Malformed { seq, what: "it is no node of a hypertrie" };
        let node = TrieNode::parse(&self.block(seq)?, seq).ok_or(malformed)?;
        Ok((!node.is_reset()).then(|| (seq, Arc::new(node))))
    }

    fn block(&self, seq: u64) -> Result<Bytes, ReadError> {
        let missing = ReadError::Malformed { seq, what: "it lies past the end" };
        match &self.blocks {
            Blocks::Feed(feed) => feed.get(seq).map_err(|source| ReadError::Block { seq, source }),
            Blocks::Memory(blocks) => blocks.get(seq as usize).cloned().ok_or(missing),
        }
    }
}

impl Visibility {
    fn digit(self) -> u64 {
        match self {
            Visibility::Shown => 0,
            Visibility::Hidden => 1,
        }
    }
}

impl TrieEntry {
    fn new(seq: u64, node: &TrieNode) -> Self {
        let (key, value) = (node.key.clone(), node.value.clone());
        TrieEntry { seq, key, value, flags: node.flags >> 8, hidden: node.hidden() }
    }
}
