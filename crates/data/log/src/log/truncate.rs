//! Cutting a log short, and forgetting bodies.

use super::Log;
use crate::{Durability, SignError, Slot, Storage, StorageError, Table, Tree, flat};
use bytes::Bytes;
use std::ops::Range;

/// Why a log cannot be cut.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// No key pair that may sign.
    #[error("this log cannot be written here: open it with its signing key")]
    NotWritable,
    /// Two signed histories exist.
    #[error("this log is frozen: it has two signed histories. Start a new log")]
    Frozen,
    /// It is not that long.
    #[error("cannot truncate to {asked} blocks: the log has {length}")]
    Longer {
        /// The length asked for.
        asked: u64,
        /// The length it has.
        length: u64,
    },
    /// The new fork is not after the present one.
    #[error("cannot truncate to fork {asked}: the log is at fork {fork}")]
    Fork {
        /// The fork asked for.
        asked: u64,
        /// The fork it has.
        fork: u64,
    },
    /// It must keep its prologue.
    #[error("the log must keep its prologue of {length} blocks")]
    Prologue {
        /// The prologue's length.
        length: u64,
    },
    /// The key cannot sign.
    #[error("cannot sign the log")]
    Sign(#[from] SignError),
    /// A signature that was given is not right.
    #[error("the signature is not one of this log at that length")]
    Signature,
    /// The engine below; nothing was cut.
    #[error("cannot truncate the log")]
    Storage(#[from] StorageError),
}

impl<S: Storage> Log<S> {
    /// Cuts the log to its first `length` blocks, at fork `fork` or the next one, and signs.
    pub fn truncate(
        &mut self,
        length: u64,
        fork: Option<u64>,
        durability: Durability,
    ) -> Result<(), TruncateError> {
        let Some(key_pair) = self.key_pair.clone() else { return Err(TruncateError::NotWritable) };
        let tree = self.tree_at(length, fork)?;
        let auth = self.auth.as_ref().ok_or(TruncateError::NotWritable)?;
        let signature = auth.sign(&tree, &key_pair)?.into();
        Ok(self.cut(tree, signature, durability)?)
    }

    /// Cuts the log with a signature made elsewhere over [`tree_at`](Self::tree_at).
    pub fn truncate_signed(
        &mut self,
        length: u64,
        fork: Option<u64>,
        signature: Bytes,
        durability: Durability,
    ) -> Result<(), TruncateError> {
        let tree = self.tree_at(length, fork)?;
        if !self.auth.as_ref().is_some_and(|auth| auth.verify(&tree, &signature)) {
            return Err(TruncateError::Signature);
        }
        Ok(self.cut(tree, signature, durability)?)
    }

    /// The tree that the log would have when cut to `length` blocks.
    pub fn tree_at(&self, length: u64, fork: Option<u64>) -> Result<Tree, TruncateError> {
        let fork = fork.unwrap_or(self.tree.fork + 1);
        if self.frozen {
            return Err(TruncateError::Frozen);
        }
        if length > self.tree.length() {
            return Err(TruncateError::Longer { asked: length, length: self.tree.length() });
        }
        if fork <= self.tree.fork {
            return Err(TruncateError::Fork { asked: fork, fork: self.tree.fork });
        }
        let prologue = self.manifest().and_then(|manifest| manifest.prologue);
        if let Some(prologue) = prologue.filter(|prologue| length < prologue.length) {
            return Err(TruncateError::Prologue { length: prologue.length });
        }
        Ok(self.tree_of(length)?.at_fork(fork))
    }

    /// The hash that is or would be signed for the first `length` blocks; none if the log is shorter.
    pub fn hash_at(&self, length: u64) -> Result<Option<[u8; 32]>, StorageError> {
        if length > self.tree.length() { Ok(None) } else { Ok(Some(self.tree_of(length)?.hash())) }
    }

    /// The tree over the log's first `length` blocks, which it must have.
    pub(super) fn tree_of(&self, length: u64) -> Result<Tree, StorageError> {
        let mut tree = Tree::empty(self.tree.fork);
        for index in flat::roots(length) {
            let slot = Slot::new(Table::Tree, super::group::group_of(index));
            let lost = || StorageError::Damaged { slot, detail: "a root of the tree is missing" };
            tree.push(self.stored_node(index)?.ok_or_else(lost)?, |_| {}).map_err(|_| lost())?;
        }
        Ok(tree)
    }

    fn cut(&mut self, tree: Tree, signature: Bytes, durability: Durability) -> Result<(), StorageError> {
        let mut draft = self.draft();
        let (from, to) = (self.tree.length(), tree.length());
        self.stage_truncation(&mut draft, to)?;
        draft.batch.delete_range(Table::Block, to..from);
        draft.tree = tree;
        draft.signature = signature;
        self.held.remove(to..u64::MAX);
        self.commit(draft, durability)
    }

    /// Forgets the bodies of `blocks` on this device. They stay part of the log, and a peer can send them again.
    pub fn clear(&mut self, blocks: Range<u64>, durability: Durability) -> Result<(), StorageError> {
        let blocks = blocks.start..blocks.end.min(self.tree.length());
        if self.held.next_held(blocks.start).is_none_or(|run| run.start >= blocks.end) {
            return Ok(());
        }
        let mut draft = self.draft();
        if blocks.end - blocks.start == 1 {
            draft.batch.delete(Slot::new(Table::Block, blocks.start));
        } else {
            draft.batch.delete_range(Table::Block, blocks.clone());
        }
        self.held.remove(blocks);
        self.commit(draft, durability)
    }
}
