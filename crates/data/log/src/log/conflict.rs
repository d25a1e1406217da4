//! Two signed histories of one log: its signer, or a thief of the key, signed two trees of one fork that differ.

use super::{Log, ProofError};
use crate::{Durability, Proof, Storage, StorageError, Tree};
use bytes::Bytes;

/// Evidence that a log has two signed histories. Anybody can check it with the log's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The fork that both are of.
    pub fork: u64,
    /// The first `length` blocks differ.
    pub length: u64,
    /// The tree here and its signature.
    pub ours: (Tree, Bytes),
    /// The peer's tree and its signature.
    pub theirs: (Tree, Bytes),
}

impl<S: Storage> Log<S> {
    /// Whether `proof`, an upgrade from 0 of the same fork, shows a history other than the one here. None when they
    /// agree as far as both go, or the proof is too old or too new to tell.
    pub fn check_conflict(&self, proof: &Proof) -> Result<Option<Conflict>, ProofError> {
        let Some(upgrade) = proof.upgrade.as_ref().filter(|upgrade| upgrade.start == 0) else {
            return Ok(None);
        };
        if proof.fork != self.tree.fork || upgrade.length > self.tree.length() || upgrade.length == 0 {
            return Ok(None);
        }
        let (grown, ..) = self.verify_whole(proof, upgrade)?;
        // The tree at the length asked for: the signed one may be longer.
        let mut theirs = Tree::empty(proof.fork);
        let mut nodes = grown.nodes.iter();
        while theirs.length() < upgrade.length {
            let start = theirs.length();
            let fits = |index| {
                let blocks = crate::flat::blocks(index);
                blocks.start == start
                    && blocks.end <= upgrade.length
                    && crate::flat::is_root(index, upgrade.length)
            };
            let Some(root) = nodes.find(|node| fits(node.index)) else { return Ok(None) };
            theirs.push(*root, |_| {}).map_err(crate::BadProof::from)?;
        }
        let ours = self.tree_of(upgrade.length)?;
        if ours.roots() == theirs.roots() {
            return Ok(None);
        }
        Ok(Some(Conflict {
            fork: proof.fork,
            length: upgrade.length,
            ours: (self.tree.clone(), self.head.signature.clone()),
            theirs: (grown.tree, upgrade.signature.clone()),
        }))
    }

    /// Stops the log for good: nothing is appended or taken from peers any more. Blocks can still be read.
    pub fn freeze(&mut self, durability: Durability) -> Result<(), StorageError> {
        let mut draft = self.draft();
        draft.frozen = true;
        self.commit(draft, durability)
    }
}
