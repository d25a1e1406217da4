use ed25519_dalek::Signer as _;
use std::fmt;

/// An Ed25519 key pair that signs a log. Redacted when printed, zeroed when dropped.
#[derive(Clone)]
pub struct KeyPair(ed25519_dalek::SigningKey);

impl KeyPair {
    /// From 32 secret bytes, as `crypto.keyPair(seed)` of npm `hypercore-crypto` does.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        KeyPair(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("secret", &"[redacted]").finish_non_exhaustive()
    }
}

/// Whether `signature` is that of `public_key` over `message`. Like libsodium it refuses keys of small order.
pub(crate) fn verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok())
}
