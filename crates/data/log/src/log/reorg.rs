//! Going over to another fork: npm hypercore 11.37.1 `lib/merkle-tree.js`, `ReorgBatch`.
//!
//! ```text
//! proof of the whole other tree, signed, at a higher fork
//!   |  begin_reorg
//!   v
//! where do the trees part? -- want(): any leaf of these blocks, with that many parents
//!   |  advance_reorg, until want() is none
//!   v
//! finish_reorg: keep the blocks before that place, drop the rest, take the new roots
//! ```

use super::{Applied, Log, ProofError};
use crate::proof;
use crate::{Auth, BadProof, Durability, Manifest, Node, Proof, Storage, StorageError, Table, Tree, flat};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;

/// Another fork that is signed, and how much of it is known to be as here.
#[derive(Debug)]
pub struct Reorg {
    tree: Tree,
    signature: Bytes,
    auth: Auth,
    /// Of the other tree, all tied to its roots.
    nodes: HashMap<u64, Node>,
    /// The same, with sizes that are not certain.
    told: HashMap<u64, Node>,
    /// The lowest node known to differ; none when all blocks that both have are the same.
    differs: Option<Node>,
    /// The fork and length here when it began.
    base: (u64, u64),
    ancestors: u64,
    want: Option<ReorgWant>,
}

/// What brings a reorganisation on: [`HashRequest`](crate::HashRequest) of node `2 * block` for any one block of
/// `blocks`, with `nodes` parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReorgWant {
    /// Any of these will do.
    pub blocks: Range<u64>,
    /// How many parents.
    pub nodes: u64,
}

impl Reorg {
    /// The other fork.
    pub const fn fork(&self) -> u64 {
        self.tree.fork
    }

    /// The other fork's length.
    pub const fn length(&self) -> u64 {
        self.tree.length()
    }

    /// How many blocks from the start are known to be the same.
    pub const fn ancestors(&self) -> u64 {
        self.ancestors
    }

    fn node(&self, index: u64) -> Option<&Node> {
        self.nodes.get(&index).or_else(|| self.told.get(&index))
    }

    /// What to ask next; none when [`finish_reorg`](Log::finish_reorg) can be called.
    pub const fn want(&self) -> Option<&ReorgWant> {
        self.want.as_ref()
    }
}

impl<S: Storage> Log<S> {
    /// Begins to go over to the fork of `proof`, which must have an upgrade from 0 and a higher fork.
    pub fn begin_reorg(&self, proof: &Proof) -> Result<Reorg, ProofError> {
        if self.frozen {
            return Err(ProofError::Frozen);
        }
        if proof.fork <= self.tree.fork {
            return Err(ProofError::Fork { proof: proof.fork, log: self.tree.fork });
        }
        let Some(upgrade) = proof.upgrade.as_ref().filter(|upgrade| upgrade.start == 0) else {
            let start = proof.upgrade.as_ref().map_or(u64::MAX, |upgrade| upgrade.start);
            return Err(ProofError::Stale { start, length: 0 });
        };
        let (grown, auth, loose) = self.verify_whole(proof, upgrade)?;
        let by_index = |nodes: Vec<Node>| nodes.into_iter().map(|node| (node.index, node)).collect();
        let nodes = loose.nodes.into_iter().chain(grown.nodes).collect();
        let mut reorg = Reorg {
            ancestors: grown.tree.length().min(self.tree.length()),
            tree: grown.tree,
            signature: upgrade.signature.clone(),
            auth,
            nodes: by_index(nodes),
            told: by_index(loose.told),
            differs: None,
            base: (self.tree.fork, self.tree.length()),
            want: None,
        };
        for root in reorg.tree.roots().to_vec() {
            if !self.is_same(&root)? {
                reorg.differs = Some(root);
                break;
            }
        }
        self.refine(&mut reorg)?;
        Ok(reorg)
    }

    /// Takes an answer to [`Reorg::want`].
    pub fn advance_reorg(&self, reorg: &mut Reorg, proof: &Proof) -> Result<(), ProofError> {
        let (fork, length) = reorg.base;
        if proof.fork != reorg.tree.fork || (fork, length) != (self.tree.fork, self.tree.length()) {
            return Err(ProofError::Fork { proof: proof.fork, log: self.tree.fork });
        }
        let loose = proof::loose(proof, None)?;
        let Some(root) = loose.root else { return Ok(()) };
        let Some(known) = reorg.node(root.index) else {
            return Err(ProofError::Untied { index: root.index });
        };
        if known.hash != root.hash {
            return Err(ProofError::Hash { index: root.index });
        }
        reorg.nodes.extend(loose.nodes.into_iter().map(|node| (node.index, node)));
        reorg.told.extend(loose.told.into_iter().map(|node| (node.index, node)));
        self.refine(reorg)
    }

    /// Goes over to the other fork: blocks past [`Reorg::ancestors`] are dropped.
    pub fn finish_reorg(&mut self, reorg: Reorg, durability: Durability) -> Result<Applied, ProofError> {
        let (fork, length) = reorg.base;
        if reorg.want.is_some() || (fork, length) != (self.tree.fork, self.tree.length()) {
            return Err(ProofError::Stale { start: reorg.ancestors, length: self.tree.length() });
        }
        let mut draft = self.draft();
        self.stage_truncation(&mut draft, reorg.ancestors)?;
        draft.batch.delete_range(Table::Block, reorg.ancestors..length);
        for node in reorg.told.into_values() {
            self.stage_told(&mut draft, node)?;
        }
        let mut nodes: Vec<Node> = reorg.nodes.into_values().collect();
        nodes.sort_unstable_by_key(|node| std::cmp::Reverse(flat::depth(node.index)));
        for node in nodes {
            self.stage(&mut draft, node)?;
        }
        let applied = Applied {
            upgraded: Some((length, reorg.tree.length())),
            manifest: draft.auth.is_none(),
            ..Applied::default()
        };
        draft.auth = Some(draft.auth.unwrap_or(reorg.auth));
        draft.tree = reorg.tree;
        draft.signature = reorg.signature;
        self.held.remove(reorg.ancestors..u64::MAX);
        self.commit(draft, durability)?;
        Ok(applied)
    }

    /// Checks a proof that builds its whole tree: nothing but the log's key is trusted.
    pub(super) fn verify_whole(
        &self,
        proof: &Proof,
        upgrade: &crate::UpgradeProof,
    ) -> Result<(proof::Grown, Auth, proof::Loose), ProofError> {
        let loose = proof::loose(proof, None)?;
        let auth = match self
            .auth
            .clone()
            .map_or_else(|| self.auth_by(&self.draft(), proof), |auth| Ok(Some(auth)))?
        {
            Some(auth) => auth,
            None => Auth::new(self.key, Manifest::single(self.key)).ok_or(ProofError::Manifest)?,
        };
        let empty = Tree::empty(proof.fork);
        let grown = proof::upgrade(empty, upgrade, loose.root, Some(auth.manifest()))?;
        if let Some(root) = grown.unused {
            return Err(ProofError::Bad(BadProof::Gap { wanted: root.index }));
        }
        if !auth.verify(&grown.tree, &upgrade.signature) {
            return Err(ProofError::Signature);
        }
        Ok((grown, auth, loose))
    }

    fn is_same(&self, node: &Node) -> Result<bool, StorageError> {
        // What reaches past the end here cannot be stored here.
        if flat::right_span(node.index) >= 2 * self.tree.length() {
            return Ok(false);
        }
        Ok(self.stored_node(node.index)?.is_some_and(|stored| stored.hash == node.hash))
    }

    /// Goes down to the lowest node that differs, as far as the other tree is known.
    fn refine(&self, reorg: &mut Reorg) -> Result<(), ProofError> {
        reorg.want = None;
        let here = self.tree.length();
        let Some(mut differs) = reorg.differs else { return Ok(()) };
        while let Some((left, right)) = flat::children(differs.index) {
            let (Some(left), Some(right)) = (reorg.node(left), reorg.node(right)) else { break };
            differs = if self.is_same(left)? { *right } else { *left };
        }
        reorg.differs = Some(differs);
        let blocks = flat::blocks(differs.index);
        reorg.ancestors = blocks.start.min(here);
        let blocks = blocks.start..blocks.end.min(here);
        if differs.index & 1 == 1 && !blocks.is_empty() {
            reorg.want = Some(ReorgWant { blocks, nodes: u64::from(flat::depth(differs.index)) });
        }
        Ok(())
    }
}
