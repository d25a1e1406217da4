//! Keys: the one that opens the store, and those derived from it.

mod corestore;
mod seal;

pub use corestore::{Namespace, PrimaryKey};
pub use seal::{UnsealError, seal, unseal};

use cloudpal_core::Secret;

/// The 32 bytes that open a store. How they are kept on the device is the caller's affair; [`seal`] helps.
///
/// ```
/// use cloudpal_store::StoreKey;
/// assert_eq!(format!("{:?}", StoreKey::new([7; 32])), "StoreKey([redacted])");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey(Secret<32>);

impl StoreKey {
    /// Takes the bytes over.
    pub const fn new(bytes: [u8; 32]) -> Self {
        StoreKey(Secret::new(bytes))
    }

    /// A new key from the operating system's generator.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_bytes().map(StoreKey::new)
    }

    /// The bytes, for sealing.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// An unrelated key for one purpose: BLAKE2b-256 of the purpose, keyed by this key.
    pub(crate) fn derive(&self, purpose: Purpose) -> Secret<32> {
        keyed_hash(self.expose(), &[purpose.label()])
    }
}

/// What a derived key is for. The labels are part of the store's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Encrypting records of the engine.
    Records,
    /// Turning discovery keys into ids on disk.
    Index,
    /// Encrypting the second place of the lengths.
    Lengths,
    /// Deriving the signing keys of named logs.
    Primary,
    /// The static key by which peers know this store.
    Network,
    /// Telling whether the right key was given.
    Check,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Purpose::Records => b"cloudpal/1/store/records",
            Purpose::Index => b"cloudpal/1/store/index",
            Purpose::Lengths => b"cloudpal/1/store/lengths",
            Purpose::Primary => b"cloudpal/1/store/primary",
            Purpose::Network => b"cloudpal/1/store/network",
            Purpose::Check => b"cloudpal/1/store/check",
        }
    }
}

/// BLAKE2b-256 of `parts` put end to end, keyed by `key`.
pub(crate) fn keyed_hash(key: &[u8; 32], parts: &[&[u8]]) -> Secret<32> {
    let mut state = blake2b_simd::Params::new().hash_length(32).key(key).to_state();
    for part in parts {
        state.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(state.finalize().as_bytes());
    Secret::new(out)
}

/// Bytes from the operating system's generator.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_gets_another_key() {
        let key = StoreKey::new([1; 32]);
        let all = [
            Purpose::Records,
            Purpose::Index,
            Purpose::Lengths,
            Purpose::Primary,
            Purpose::Network,
            Purpose::Check,
        ];
        for (i, one) in all.iter().enumerate() {
            for other in &all[..i] {
                assert_ne!(key.derive(*one), key.derive(*other));
            }
            assert_ne!(key.derive(*one), StoreKey::new([2; 32]).derive(*one));
        }
    }
}
