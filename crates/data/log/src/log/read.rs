//! Reading blocks and finding bytes.

use super::Log;
use crate::proof::{byte_offset, unpadded};
use crate::{Slot, Storage, StorageError, Table, flat};
use bytes::Bytes;
use std::ops::Range;

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It lies past the end.
    #[error("the log has {length} blocks, so it has no block {index}")]
    OutOfRange {
        /// What was asked for.
        index: u64,
        /// What the log has.
        length: u64,
    },
    /// It is too short to be encrypted.
    #[error("block {index} is not encrypted, though a key was given: open the log without one")]
    NotEncrypted {
        /// The block.
        index: u64,
    },
    /// The engine below.
    #[error("cannot read block {index}")]
    Storage {
        /// The block.
        index: u64,
        /// What the engine said.
        source: StorageError,
    },
}

/// Where a byte of the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seek {
    /// In this block, that many bytes from its start.
    Found {
        /// The block; the log's length for the byte just past the end.
        index: u64,
        /// The offset in it.
        offset: u64,
    },
    /// In one of these blocks; a peer can say in which.
    Within(Range<u64>),
    /// Past the end of the log as it is known here.
    Past,
}

impl<S: Storage> Log<S> {
    /// Block `index`, decrypted; none when its body is not held.
    pub fn get(&self, index: u64) -> Result<Option<Bytes>, ReadError> {
        let Some(stored) = self.get_raw(index)? else { return Ok(None) };
        match &self.cipher {
            None => Ok(Some(stored)),
            Some(cipher) => cipher.decrypt(index, &stored).map(Some).ok_or(ReadError::NotEncrypted { index }),
        }
    }

    /// Block `index` as it is stored and sent; none when its body is not held.
    pub fn get_raw(&self, index: u64) -> Result<Option<Bytes>, ReadError> {
        let length = self.tree.length();
        if index >= length {
            return Err(ReadError::OutOfRange { index, length });
        }
        if !self.held.contains(index) {
            return Ok(None);
        }
        let slot = Slot::new(Table::Block, index);
        let lost = StorageError::Damaged { slot, detail: "the block is missing" };
        match self.storage.get(slot) {
            Ok(Some(body)) => Ok(Some(body)),
            Ok(None) => Err(ReadError::Storage { index, source: lost }),
            Err(source) => Err(ReadError::Storage { index, source }),
        }
    }

    /// Where byte `byte` of all blocks put end to end is, without padding.
    ///
    /// As long as the block that was found is not held, a lying peer may have led there: no hash covers how the bytes
    /// of a parent are shared out between two children of which neither is known. Get the block, then seek again:
    /// when that finds the same block it is the right one.
    pub fn seek(&self, byte: u64) -> Result<Seek, StorageError> {
        let padding = self.padding();
        let mut left = byte;
        if left == 0 {
            return Ok(Seek::Found { index: 0, offset: 0 });
        }
        for root in self.tree.roots() {
            let size = unpadded(root, padding);
            if left == size {
                return Ok(Seek::Found { index: flat::blocks(root.index).end, offset: 0 });
            }
            if left < size {
                return self.seek_below(root.index, left);
            }
            left -= size;
        }
        Ok(Seek::Past)
    }

    fn seek_below(&self, root: u64, byte: u64) -> Result<Seek, StorageError> {
        let (mut at, mut left) = (root, byte);
        while let Some((low, high)) = flat::children(at) {
            let Some(node) = self.stored_node(low)? else { return Ok(Seek::Within(flat::blocks(at))) };
            let size = unpadded(&node, self.padding());
            if left == size {
                return Ok(Seek::Found { index: flat::blocks(low).end, offset: 0 });
            }
            if left < size {
                at = low;
            } else {
                left -= size;
                at = high;
            }
        }
        Ok(Seek::Found { index: at / 2, offset: left })
    }

    /// The bytes of all blocks before `index`, without padding; none when nodes that it takes are not held.
    pub fn byte_offset(&self, index: u64) -> Result<Option<u64>, StorageError> {
        if index >= self.tree.length() {
            return Ok(Some(self.byte_length()));
        }
        let offset = byte_offset(&self.tree, self, 2 * index)?;
        Ok(offset.map(|offset| offset.saturating_sub(self.padding() * index)))
    }

    /// How many parents up from the tree node `index` the first one is that is held: what a request must ask for.
    pub fn missing_nodes(&self, index: u64) -> Result<u64, StorageError> {
        let length = self.tree.length();
        if index >= flat::LIMIT || flat::right_span(index) >= 2 * length {
            return Ok(0);
        }
        let mut at = index;
        let mut missing = 0;
        while !flat::contains(at, 2 * length) && self.stored_node(at)?.is_none() {
            missing += 1;
            at = flat::parent(at);
        }
        Ok(missing)
    }
}
