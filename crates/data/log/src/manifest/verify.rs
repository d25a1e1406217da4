//! Signing and checking signatures: npm hypercore 11.37.1 `lib/verifier.js`.

use super::multi::{MultiSignature, Part};
use super::{Manifest, PartialSignature, Signer};
use crate::proof::grow;
use crate::{KeyPair, Node, Tree, hash, keys};

/// A log's key together with its manifest: who may sign it, and over what bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    key: [u8; 32],
    manifest: Manifest,
    compat: bool,
}

/// Why a key pair cannot sign a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// It is none of the log's signers.
    #[error("this key is not one of the log's signers")]
    NotSigner,
    /// One signature is not enough for this log.
    #[error("this log takes {quorum} signatures: sign in parts, assemble them and append with the result")]
    Several {
        /// How many it takes.
        quorum: u64,
    },
}

impl Auth {
    /// None when the log `key` cannot have `manifest`.
    pub fn new(key: [u8; 32], manifest: Manifest) -> Option<Self> {
        let compat = manifest.is_compat(&key);
        manifest.belongs_to(&key).then_some(Auth { key, manifest, compat })
    }

    /// The log's key.
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The log's manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether this is a compat log: its key is its signer's and its signatures are 64 bytes.
    pub const fn is_compat(&self) -> bool {
        self.compat
    }

    /// What a signer of `tree` signs.
    fn signs(&self, signer: &Signer, tree: &Tree, check: impl FnOnce(&[u8]) -> bool) -> bool {
        let (hash, length, fork) = (tree.hash(), tree.length(), tree.fork);
        if self.compat {
            return check(&hash::signable_compat(&hash, length, fork));
        }
        let context = if self.manifest.version == 0 { &signer.namespace } else { &self.key };
        check(&hash::signable(context, &hash, length, fork))
    }

    /// Whether one signature of 64 bytes is all that the log takes.
    fn takes_bare(&self) -> bool {
        let manifest = &self.manifest;
        self.compat || (manifest.version == 0 && !manifest.allow_patch && manifest.signers.len() == 1)
    }

    /// Signs `tree` alone.
    pub fn sign(&self, tree: &Tree, key_pair: &KeyPair) -> Result<Vec<u8>, SignError> {
        let bare = self.sign_part(tree, key_pair)?;
        if self.takes_bare() {
            return Ok(bare.signature.to_vec());
        }
        if self.manifest.quorum != 1 {
            return Err(SignError::Several { quorum: self.manifest.quorum });
        }
        Ok(self.manifest.assemble(&[bare]))
    }

    /// One signer's part of the signature over `tree`.
    pub fn sign_part(&self, tree: &Tree, key_pair: &KeyPair) -> Result<PartialSignature, SignError> {
        let public_key = key_pair.public_key();
        let place = self.manifest.signers.iter().position(|signer| signer.public_key == public_key);
        let place = place.ok_or(SignError::NotSigner)?;
        let mut signature = [0; 64];
        self.signs(&self.manifest.signers[place], tree, |signable| {
            signature = key_pair.sign(signable);
            true
        });
        Ok(PartialSignature { signer: place as u64, signature, patch: 0, nodes: Vec::new() })
    }

    /// Whether `signature` makes `tree` a state of this log.
    pub fn verify(&self, tree: &Tree, signature: &[u8]) -> bool {
        if self.takes_bare() {
            let [only] = self.manifest.signers.as_slice() else { return false };
            return signature.try_into().is_ok_and(|signature| {
                self.signs(only, tree, |signable| keys::verify(&only.public_key, signable, signature))
            });
        }
        match &self.manifest.prologue {
            Some(prologue) if self.manifest.version > 0 && tree.length() <= prologue.length => {
                tree.length() == prologue.length && tree.hash() == prologue.hash
            }
            _ => self.verify_several(tree, signature),
        }
    }

    fn verify_several(&self, tree: &Tree, signature: &[u8]) -> bool {
        let Ok(several) = MultiSignature::decode(self.manifest.version, signature) else { return false };
        let quorum = usize::try_from(self.manifest.quorum).unwrap_or(usize::MAX);
        if quorum == 0 || several.proofs.len() < quorum {
            return false;
        }
        let mut tried = vec![false; self.manifest.signers.len()];
        several.proofs[..quorum].iter().all(|part| {
            let Ok(place) = usize::try_from(part.signer) else { return false };
            let Some(signer) = self.manifest.signers.get(place) else { return false };
            !std::mem::replace(&mut tried[place], true)
                && self.verify_part(tree, signer, part, &several.patch)
        })
    }

    fn verify_part(&self, tree: &Tree, signer: &Signer, part: &Part, patch: &[Node]) -> bool {
        let check = |tree: &Tree| {
            self.signs(signer, tree, |signable| keys::verify(&signer.public_key, signable, &part.signature))
        };
        if part.patch == 0 || !self.manifest.allow_patch {
            return check(tree);
        }
        let mut longer = tree.clone();
        grow(&mut longer, part.patch, |index| patch.iter().rfind(|node| node.index == index).copied()).is_ok()
            && self.manifest.prologue.as_ref().is_none_or(|prologue| {
                tree.length() >= prologue.length || (tree.length() == 0 && part.patch >= prologue.length)
            })
            && check(&longer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::multi;
    use super::*;

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_seed(&[seed; 32])
    }

    fn tree(length: u64) -> Tree {
        let mut tree = Tree::empty(0);
        for block in 0..length {
            tree.push(Node::leaf(block, b"x"), |_| {}).unwrap();
        }
        tree
    }

    #[test]
    fn a_signature_is_for_one_tree_of_one_log() {
        let manifest = Manifest::single(pair(1).public_key());
        for key in [manifest.key(), pair(1).public_key()] {
            let auth = Auth::new(key, manifest.clone()).unwrap();
            let signature = auth.sign(&tree(3), &pair(1)).unwrap();
            assert!(auth.verify(&tree(3), &signature));
            assert!(!auth.verify(&tree(4), &signature));
            assert!(!auth.verify(&tree(3).at_fork(1), &signature));
            assert!(!auth.verify(&tree(3), &signature[..signature.len() - 1]));
            assert_eq!(auth.sign(&tree(3), &pair(2)), Err(SignError::NotSigner));
        }
        assert_eq!(Auth::new([9; 32], manifest), None);
    }

    #[test]
    fn a_quorum_needs_different_signers() {
        for version in 0..=3 {
            let signers = (1..=3).map(|seed| Signer {
                namespace: hash::DEFAULT_NAMESPACE,
                public_key: pair(seed).public_key(),
            });
            let manifest = Manifest { version, ..Manifest::quorum(2, signers.collect()) };
            let auth = Auth::new(manifest.key(), manifest.clone()).unwrap();
            let tree = tree(5);
            assert!(matches!(auth.sign(&tree, &pair(1)), Err(SignError::Several { quorum: 2 })));
            let part = |seed| auth.sign_part(&tree, &pair(seed)).unwrap();
            assert!(auth.verify(&tree, &manifest.assemble(&[part(3), part(1)])));
            assert!(!auth.verify(&tree, &manifest.assemble(&[part(1)])));
            assert!(!auth.verify(&tree, &manifest.assemble(&[part(1), part(1)])));
            let stranger = PartialSignature { signer: 3, ..part(1) };
            assert!(!auth.verify(&tree, &manifest.assemble(&[part(1), stranger])));
        }
    }

    #[test]
    fn no_signatures_are_never_enough() {
        let manifest = Manifest::quorum(0, Vec::new());
        let auth = Auth::new(manifest.key(), manifest).unwrap();
        assert!(!auth.verify(&tree(1), &multi::assemble(&[])));
    }
}
