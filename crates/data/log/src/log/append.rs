//! Writing.

use super::draft::Draft;
use super::{Log, MAX_BLOCK};
use crate::{Durability, Node, SignError, Slot, Storage, StorageError, Table, Tree, flat, hash};
use bytes::Bytes;

/// What an append made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Index of the first new block.
    pub first: u64,
    /// The log's length now.
    pub length: u64,
}

/// Why blocks cannot be appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No key pair that may sign.
    #[error("this log cannot be written here: open it with its signing key")]
    NotWritable,
    /// Two signed histories exist.
    #[error("this log is frozen: it has two signed histories. Start a new log")]
    Frozen,
    /// A block is too long.
    #[error("a block of {bytes} bytes is too long: {MAX_BLOCK} is the most that peers take. Cut it up")]
    TooLarge {
        /// Its length as stored.
        bytes: usize,
    },
    /// The log would be too long.
    #[error("the log cannot get any longer")]
    TooLong,
    /// Encrypted compat logs are read only: npm hypercore 11 cannot open them.
    #[error("an encrypted compat log can be read but not written: create a log that is not a compat log")]
    CompatEncrypted,
    /// The log would end inside its prologue.
    #[error("the log must begin with its prologue of {length} blocks: append all of it at once")]
    Prologue {
        /// The prologue's length.
        length: u64,
    },
    /// The key cannot sign.
    #[error("cannot sign the log")]
    Sign(#[from] SignError),
    /// A signature that was given is not right.
    #[error("the signature is not one of this log with these blocks")]
    Signature,
    /// The engine below; nothing was appended.
    #[error("cannot append to the log")]
    Storage(#[from] StorageError),
}

impl<S: Storage> Log<S> {
    /// Adds `blocks`, all or none, and signs. Blocks of an encrypted log are given plain.
    pub fn append(&mut self, blocks: &[Bytes], durability: Durability) -> Result<Appended, AppendError> {
        let Some(key_pair) = self.key_pair.clone() else { return Err(AppendError::NotWritable) };
        let mut draft = self.draft_append(blocks)?;
        if !blocks.is_empty() {
            let auth = self.auth.as_ref().ok_or(AppendError::NotWritable)?;
            draft.signature = auth.sign(&draft.tree, &key_pair)?.into();
        }
        self.commit_append(draft, durability)
    }

    /// Adds `blocks` with a signature made elsewhere, by several signers for example
    /// ([`PartialSignature`](crate::PartialSignature)) over [`tree_after`](Self::tree_after).
    pub fn append_signed(
        &mut self,
        blocks: &[Bytes],
        signature: Bytes,
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        let mut draft = self.draft_append(blocks)?;
        if !self.auth.as_ref().is_some_and(|auth| auth.verify(&draft.tree, &signature)) {
            return Err(AppendError::Signature);
        }
        draft.signature = signature;
        self.commit_append(draft, durability)
    }

    /// The tree that the log would have with `blocks` appended: what its signers sign.
    pub fn tree_after(&self, blocks: &[Bytes]) -> Result<Tree, AppendError> {
        Ok(self.draft_append(blocks)?.tree)
    }

    /// The nodes between the log's first `from` and `to` blocks, which a signer of the longer tree sends along
    /// ([`PartialSignature::nodes`](crate::PartialSignature::nodes)); none when they are not all held.
    pub fn patch(&self, from: u64, to: u64) -> Result<Option<Vec<Node>>, StorageError> {
        if to > self.length() {
            return Ok(None);
        }
        crate::proof::path(from, to).map(|index| self.stored_node(index)).collect()
    }

    fn draft_append(&self, blocks: &[Bytes]) -> Result<Draft, AppendError> {
        if self.frozen {
            return Err(AppendError::Frozen);
        }
        if self.encryption.is_some() && self.is_compat() {
            return Err(AppendError::CompatEncrypted);
        }
        let first = self.tree.length();
        if first + blocks.len() as u64 >= flat::LIMIT / 2 {
            return Err(AppendError::TooLong);
        }
        let stored = self.stored_form(first, blocks)?;
        let mut draft = self.draft();
        let hashes = hash::leaves(&stored);
        let mut leaves = Vec::with_capacity(blocks.len());
        for (index, (body, hash)) in (first..).zip(stored.into_iter().zip(hashes)) {
            leaves.push(Node { index: 2 * index, size: body.len() as u64, hash });
            draft.batch.put(Slot::new(Table::Block, index), body);
        }
        for node in draft.tree.extend(leaves).map_err(|_| AppendError::TooLong)? {
            self.stage(&mut draft, node)?;
        }
        let prologue = self.manifest().and_then(|manifest| manifest.prologue);
        match prologue.filter(|prologue| draft.tree.length() < prologue.length) {
            Some(prologue) => Err(AppendError::Prologue { length: prologue.length }),
            None => Ok(draft),
        }
    }

    fn stored_form(&self, first: u64, blocks: &[Bytes]) -> Result<Vec<Bytes>, AppendError> {
        let padding = self.padding() as usize;
        if let Some(block) = blocks.iter().find(|block| block.len() + padding > MAX_BLOCK) {
            return Err(AppendError::TooLarge { bytes: block.len() + padding });
        }
        Ok(match &self.cipher {
            None => blocks.to_vec(),
            Some(cipher) => {
                let fork = self.tree.fork;
                (first..).zip(blocks).map(|(index, block)| cipher.encrypt(index, fork, block)).collect()
            }
        })
    }

    fn commit_append(&mut self, draft: Draft, durability: Durability) -> Result<Appended, AppendError> {
        let (first, length) = (self.tree.length(), draft.tree.length());
        self.held.insert(first..length);
        self.commit(draft, durability)?;
        Ok(Appended { first, length })
    }
}
