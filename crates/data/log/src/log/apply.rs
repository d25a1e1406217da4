//! Taking what peers answer, once it is checked.

use super::Log;
use super::draft::{Draft, View};
use crate::proof::{self, Nodes as _};
use crate::{
    Auth, BadProof, Durability, Manifest, Node, Proof, Slot, Storage, StorageError, Table, Tree, hash,
};
use bytes::Bytes;

/// What a proof brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// The length before and after, when the log became longer.
    pub upgraded: Option<(u64, u64)>,
    /// The block whose body is held now.
    pub block: Option<u64>,
    /// Whether the manifest became known by it.
    pub manifest: bool,
}

/// Why a proof was not taken. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The proof contradicts itself.
    #[error("the proof cannot be true")]
    Bad(#[from] BadProof),
    /// A hash is not the one that is known to be right.
    #[error("the proof's hash for tree node {index} is wrong")]
    Hash {
        /// The node.
        index: u64,
    },
    /// The signature is not the log's.
    #[error("the proof's signature is not one of this log's signers")]
    Signature,
    /// The manifest is not the log's.
    #[error("the proof's manifest is not this log's")]
    Manifest,
    /// It is about another fork.
    #[error("the proof is about fork {proof}, the log is at fork {log}")]
    Fork {
        /// What it is about.
        proof: u64,
        /// What the log is at.
        log: u64,
    },
    /// It continues a length that is no longer, or not yet, the log's.
    #[error("the proof continues {start} blocks, the log has {length}")]
    Stale {
        /// What it continues.
        start: u64,
        /// What the log has.
        length: u64,
    },
    /// It ends at a node that is not known here: asked for with too few parents, or before a reorganisation.
    #[error("the proof ends at tree node {index}, which is not known here")]
    Untied {
        /// The node.
        index: u64,
    },
    /// The log takes nothing more.
    #[error("the log is frozen: it has two signed histories")]
    Frozen,
    /// The engine below: not the peer's fault.
    #[error("cannot keep what the proof brought")]
    Storage(#[from] StorageError),
}

impl ProofError {
    /// Whether no honest peer can have sent it. A late answer of an honest one ends in another error.
    pub const fn blames_peer(&self) -> bool {
        matches!(
            self,
            ProofError::Bad(_) | ProofError::Hash { .. } | ProofError::Signature | ProofError::Manifest
        )
    }
}

/// A proof that is right.
struct Checked {
    nodes: Vec<Node>,
    /// Nodes whose sizes are not certain.
    told: Vec<Node>,
    tree: Option<(Tree, Bytes)>,
    auth: Option<Auth>,
}

impl<S: Storage> Log<S> {
    /// Checks `proof` and keeps what it brings.
    pub fn apply(&mut self, proof: &Proof, durability: Durability) -> Result<Applied, ProofError> {
        let mut draft = self.draft();
        let applied = self.take(&mut draft, proof, None);
        if applied.is_ok() {
            self.commit(draft, durability)?;
        }
        applied
    }

    /// Checks `proofs` one after the other and keeps what the right ones bring in a single commit: much faster than
    /// one by one. Fails as a whole only when nothing could be kept.
    pub fn apply_all(
        &mut self,
        proofs: &[Proof],
        durability: Durability,
    ) -> Result<Vec<Result<Applied, ProofError>>, StorageError> {
        self.apply_hashed(proofs, vec![None; proofs.len()], durability)
    }

    /// As [`apply_all`](Self::apply_all), with the hash of each proof's body where that is known already.
    pub(crate) fn apply_hashed(
        &mut self,
        proofs: &[Proof],
        mut leaves: Vec<Option<[u8; 32]>>,
        durability: Durability,
    ) -> Result<Vec<Result<Applied, ProofError>>, StorageError> {
        let bodies = proofs.iter().map(|proof| proof.block.as_ref().map(|block| &block.value));
        let (places, bodies): (Vec<_>, Vec<_>) = leaves
            .iter_mut()
            .zip(bodies)
            .filter(|(leaf, _)| leaf.is_none())
            .filter_map(|(leaf, body)| Some((leaf, body?)))
            .unzip();
        for (place, hash) in places.into_iter().zip(hash::leaves(&bodies)) {
            *place = Some(hash);
        }
        let mut draft = self.draft();
        let each = proofs.iter().zip(leaves);
        let applied = each.map(|(proof, leaf)| self.take(&mut draft, proof, leaf)).collect();
        self.commit(draft, durability)?;
        Ok(applied)
    }

    /// Checks `proof` without keeping anything.
    pub fn verify(&self, proof: &Proof) -> Result<(), ProofError> {
        self.check(&self.draft(), proof, None).map(|_| ())
    }

    /// Checks a proof, with the hash of its body if that is known, and adds what it brings to the draft.
    fn take(
        &mut self,
        draft: &mut Draft,
        proof: &Proof,
        body: Option<[u8; 32]>,
    ) -> Result<Applied, ProofError> {
        let checked = self.check(draft, proof, body)?;
        let mut applied = Applied { manifest: checked.auth.is_some(), ..Applied::default() };
        // Reads come before the first change, so that a failing one leaves the draft whole.
        self.load_groups(draft, &checked.nodes)?;
        self.load_groups(draft, &checked.told)?;
        for node in checked.told {
            self.stage_told(draft, node)?;
        }
        for node in checked.nodes {
            self.stage(draft, node)?;
        }
        if let Some(auth) = checked.auth {
            draft.auth = Some(auth);
        }
        if let Some((tree, signature)) = checked.tree {
            applied.upgraded = Some((draft.tree.length(), tree.length()));
            draft.tree = tree;
            draft.signature = signature;
        }
        if let Some(block) = &proof.block {
            applied.block = Some(block.index);
            if !self.held.contains(block.index) {
                draft.batch.put(Slot::new(Table::Block, block.index), block.value.clone());
                self.held.insert(block.index..block.index + 1);
            }
        }
        Ok(applied)
    }

    fn check(&self, draft: &Draft, proof: &Proof, body: Option<[u8; 32]>) -> Result<Checked, ProofError> {
        if draft.frozen {
            return Err(ProofError::Frozen);
        }
        if proof.fork != draft.tree.fork {
            return Err(ProofError::Fork { proof: proof.fork, log: draft.tree.fork });
        }
        let proof::Loose { mut nodes, told, mut root } = proof::loose(proof, body)?;
        let mut auth = self.auth_by(draft, proof)?;
        let mut tree = None;
        if let Some(upgrade) = &proof.upgrade {
            let length = draft.tree.length();
            if upgrade.start != length {
                return Err(ProofError::Stale { start: upgrade.start, length });
            }
            let by = match auth.take().or_else(|| draft.auth.clone()) {
                Some(auth) => auth,
                // A compat log's manifest follows from its key, so old peers do not send it.
                None => Auth::new(self.key, Manifest::single(self.key)).ok_or(ProofError::Manifest)?,
            };
            let grown = proof::upgrade(draft.tree.clone(), upgrade, root.take(), Some(by.manifest()))?;
            if !by.verify(&grown.tree, &upgrade.signature) {
                return Err(ProofError::Signature);
            }
            nodes.extend(grown.nodes);
            root = grown.unused;
            tree = Some((grown.tree, upgrade.signature.clone()));
            auth = draft.auth.is_none().then_some(by);
        }
        if let Some(root) = root {
            let view = View { log: self, draft };
            let known = view.node(root.index)?.ok_or(ProofError::Untied { index: root.index })?;
            if known.hash != root.hash {
                return Err(ProofError::Hash { index: root.index });
            }
        }
        Ok(Checked { nodes, told, tree, auth })
    }

    /// What the proof's manifest makes known; none when it brings none or it is known already.
    pub(super) fn auth_by(&self, draft: &Draft, proof: &Proof) -> Result<Option<Auth>, ProofError> {
        match &proof.manifest {
            Some(manifest) if draft.auth.is_none() => {
                Auth::new(self.key, manifest.clone()).map(Some).ok_or(ProofError::Manifest)
            }
            _ => Ok(None),
        }
    }
}
