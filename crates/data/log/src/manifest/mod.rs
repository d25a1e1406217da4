//! Who may sign a log. The log's key is the hash of its manifest, so a manifest can come from anyone.

mod codec;
mod multi;
mod verify;

pub use multi::PartialSignature;
pub use verify::{Auth, SignError};

use crate::codec::{CodecError, Reader};
use crate::hash;

/// Who signs a log, how many of them it takes, and what it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// 0 to 3. Version 0 signs with a namespace in place of the key; user data and linked keys need 2; npm
    /// hypercore 10 takes 0 and 1 only.
    pub version: u8,
    /// Whether a signer may have signed a longer tree; the nodes between then come with the signature.
    pub allow_patch: bool,
    /// How many of the signers must sign.
    pub quorum: u64,
    /// Those who may.
    pub signers: Vec<Signer>,
    /// What the log begins with, unsigned.
    pub prologue: Option<Prologue>,
    /// Keys of logs that belong to this one.
    pub linked: Option<Vec<[u8; 32]>>,
    /// Anything that the maker of the log says once and for ever.
    pub user_data: Option<Vec<u8>>,
}

/// One who may sign, with Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// Tells logs of the same signer apart.
    pub namespace: [u8; 32],
    /// The signer's key.
    pub public_key: [u8; 32],
}

/// Blocks that are part of a log from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prologue {
    /// Hash of the tree over them.
    pub hash: [u8; 32],
    /// How many there are.
    pub length: u64,
}

/// A manifest that no log can have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// The bytes are no manifest.
    #[error("cannot read the manifest: {0}")]
    Codec(#[from] CodecError),
    /// More signatures asked for than there are signers.
    #[error("the manifest asks for {quorum} signatures but names {signers} signers")]
    Quorum {
        /// Asked for.
        quorum: u64,
        /// Named.
        signers: usize,
    },
    /// User data or linked keys in a version that has none.
    #[error("a manifest of version {0} has no user data or linked keys: use version 2 or 3")]
    Version(u8),
}

impl Manifest {
    /// The manifest that npm hypercore makes for a log with one signer: version 1, default namespace.
    pub fn single(public_key: [u8; 32]) -> Self {
        Manifest::quorum(1, vec![Signer { namespace: hash::DEFAULT_NAMESPACE, public_key }])
    }

    /// Version 1 with `quorum` out of `signers`.
    pub const fn quorum(quorum: u64, signers: Vec<Signer>) -> Self {
        Manifest {
            version: 1,
            allow_patch: false,
            quorum,
            signers,
            prologue: None,
            linked: None,
            user_data: None,
        }
    }

    /// The key of the log that has this manifest.
    pub fn key(&self) -> [u8; 32] {
        hash::blake2b(&[&hash::MANIFEST, &self.encode()])
    }

    /// From bytes; all of them must be the manifest's.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(bytes);
        let manifest = Manifest::read(&mut reader)?;
        reader.finish()?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether a log can have it; the bytes of a message can say anything.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.quorum > self.signers.len() as u64 {
            return Err(ManifestError::Quorum { quorum: self.quorum, signers: self.signers.len() });
        }
        if self.version < 2 && (self.user_data.is_some() || self.linked.is_some()) {
            return Err(ManifestError::Version(self.version));
        }
        Ok(())
    }

    /// Whether a log of this key may have it: its hash is the key, or (a compat log) its only signer is.
    pub fn belongs_to(&self, key: &[u8; 32]) -> bool {
        self.check().is_ok() && (self.key() == *key || self.is_compat(key))
    }

    /// Whether the log `key` is a compat log: its key is its only signer's.
    pub fn is_compat(&self, key: &[u8; 32]) -> bool {
        matches!(self.signers.as_slice(), [only] if only.public_key == *key)
    }
}
