//! Sealing of entries under the key of an epoch, and of epoch keys to members.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). Nonces are 24 random bytes that the caller draws.

use blake2b_simd::Params;
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use cloudpal_core::{AgreementKey, AgreementSecret, Secret};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which key an entry is sealed under: a number that rises with every cut, and a hash of the key, so that two
/// epochs begun at the same time have different ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochId {
    /// Rises by one with every new epoch that its maker knew of.
    pub number: u32,
    /// The first bytes of a hash of the key.
    pub check: [u8; 8],
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} ({:016x})", self.number, u64::from_be_bytes(self.check))
    }
}

/// The key of an epoch: whoever holds it reads what was written in it.
#[derive(Clone)]
pub struct EpochKey(pub Secret<32>);

/// Bytes that sealing adds.
pub(super) const TAG: usize = 16;
/// Bytes of a nonce.
pub const NONCE: usize = 24;

impl EpochKey {
    /// Its id as the epoch `number`.
    pub fn id(&self, number: u32) -> EpochId {
        let hash = Params::new().hash_length(8).key(self.0.expose()).hash(b"cloudpal epoch id");
        let mut check = [0; 8];
        check.copy_from_slice(hash.as_bytes());
        EpochId { number, check }
    }

    /// Seals `text` in place, bound to `about`, and answers with the tag.
    pub(super) fn seal(&self, nonce: &[u8; NONCE], about: &[u8], text: &mut [u8]) -> [u8; TAG] {
        // It can fail only past 256 GiB.
        let tag = self.cipher().encrypt_in_place_detached(&XNonce::from(*nonce), about, text);
        tag.map(Into::into).unwrap_or_default()
    }

    /// Opens `text` in place. False if it is not what was sealed.
    pub(super) fn open(&self, nonce: &[u8; NONCE], about: &[u8], text: &mut [u8], tag: &[u8; TAG]) -> bool {
        let opened =
            self.cipher().decrypt_in_place_detached(&XNonce::from(*nonce), about, text, &Tag::from(*tag));
        opened.is_ok()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.0.expose()).into())
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey([redacted])")
    }
}

/// A key sealed to one member: an ephemeral X25519 key, then the key under what both agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey(Vec<u8>);

const SEALED: usize = 32 + 32 + TAG;

/// Seals `key` to `member`. `ephemeral` is 32 fresh random bytes, used once.
pub(crate) fn seal_key(key: &EpochKey, member: &AgreementKey, ephemeral: Secret<32>) -> SealedKey {
    let ephemeral = AgreementSecret::from_secret(&ephemeral);
    let mut text = *key.0.expose();
    let tag = agreed(&ephemeral, member, ephemeral.public().as_bytes(), member.as_bytes()).seal(
        &[0; NONCE],
        b"cloudpal epoch key",
        &mut text,
    );
    let mut sealed = Vec::with_capacity(SEALED);
    sealed.extend_from_slice(ephemeral.public().as_bytes());
    sealed.extend_from_slice(&text);
    sealed.extend_from_slice(&tag);
    SealedKey(sealed)
}

/// The key that was sealed to `me`; none if it was not.
pub(crate) fn open_key(sealed: &SealedKey, me: &AgreementSecret) -> Option<EpochKey> {
    let (ephemeral, rest) = sealed.0.split_first_chunk::<32>()?;
    let (text, tag) = rest.split_first_chunk::<32>()?;
    let tag: &[u8; TAG] = tag.try_into().ok()?;
    let peer = AgreementKey::from_bytes(*ephemeral);
    let mut text = *text;
    agreed(me, &peer, ephemeral, me.public().as_bytes())
        .open(&[0; NONCE], b"cloudpal epoch key", &mut text, tag)
        .then(|| EpochKey(Secret::new(text)))
}

/// A key for one message: the ephemeral key is never used again, so neither is this.
fn agreed(mine: &AgreementSecret, theirs: &AgreementKey, from: &[u8; 32], to: &[u8; 32]) -> EpochKey {
    let shared = mine.agree(theirs);
    let mut state = Params::new().hash_length(32).key(shared.expose()).to_state();
    state.update(from).update(to);
    let mut key = [0; 32];
    key.copy_from_slice(state.finalize().as_bytes());
    EpochKey(Secret::new(key))
}
