//! Encrypted blocks: npm hypercore 11.37.1 `lib/default-encryption.js`, and the compat form of hypercore 10.
//!
//! An encrypted block is eight bytes longer than its plain form. Those bytes are the fork, blinded; together with
//! the index they are the nonce, so a block written again at the same index of another fork has another one.

use crate::hash;
use bytes::{Bytes, BytesMut};
use cloudpal_core::Secret;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};

/// What lets somebody read an encrypted log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncryptionKey {
    /// A key for any log; each log's block key follows from it and the log's key.
    Log(Secret<32>),
    /// The block key of one log itself: it opens that log and no other.
    Block(Secret<32>),
}

impl EncryptionKey {
    /// The block key of the log `key`, as `Hypercore.blockEncryptionKey(key, encryptionKey)`.
    pub fn block_key(&self, key: &[u8; 32]) -> Secret<32> {
        match self {
            EncryptionKey::Log(secret) => {
                Secret::new(hash::blake2b(&[&hash::DEFAULT_ENCRYPTION, key, secret.expose()]))
            }
            EncryptionKey::Block(secret) => secret.clone(),
        }
    }

    /// The block key of the compat log `key`.
    fn compat_block_key(&self, key: &[u8; 32]) -> Secret<32> {
        match self {
            EncryptionKey::Log(secret) => Secret::new(hash::blake2b_keyed(key, &[secret.expose()])),
            EncryptionKey::Block(secret) => secret.clone(),
        }
    }
}

/// Encrypts and decrypts the blocks of one log.
#[derive(Debug, Clone)]
pub struct Cipher {
    block: Secret<32>,
    blinding: Secret<32>,
}

impl Cipher {
    /// Bytes that encryption adds to a block.
    pub const PADDING: u64 = PADDING as u64;

    /// For the log `key`, which is not a compat log.
    pub fn new(key: &[u8; 32], encryption: &EncryptionKey) -> Self {
        Cipher::with_block_key(encryption.block_key(key))
    }

    /// For the compat log `key`. npm hypercore 10 makes such logs when it is told to encrypt; 11 cannot open them.
    pub fn compat(key: &[u8; 32], encryption: &EncryptionKey) -> Self {
        Cipher::with_block_key(encryption.compat_block_key(key))
    }

    fn with_block_key(block: Secret<32>) -> Self {
        let blinding = Secret::new(hash::blake2b(&[block.expose()]));
        Cipher { block, blinding }
    }

    /// Block `index` of fork `fork` as it is stored and sent.
    pub fn encrypt(&self, index: u64, fork: u64, plain: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(PADDING + plain.len());
        let mut padding = fork.to_le_bytes();
        apply(&self.blinding, &nonce(index, &[0; PADDING]), &mut padding);
        out.extend_from_slice(&padding);
        out.extend_from_slice(plain);
        apply(&self.block, &nonce(index, &padding), &mut out[PADDING..]);
        out.freeze()
    }

    /// The plain form of block `index`. None when it is too short to be encrypted. There is no check of the key: with
    /// a wrong one the bytes are noise.
    pub fn decrypt(&self, index: u64, stored: &Bytes) -> Option<Bytes> {
        let (padding, body) = stored.split_first_chunk::<PADDING>()?;
        let mut plain = BytesMut::from(body);
        apply(&self.block, &nonce(index, padding), &mut plain);
        Some(plain.freeze())
    }
}

const PADDING: usize = 8;

fn nonce(index: u64, padding: &[u8; PADDING]) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&index.to_le_bytes());
    nonce[8..16].copy_from_slice(padding);
    nonce
}

fn apply(key: &Secret<32>, nonce: &[u8; 24], data: &mut [u8]) {
    XSalsa20::new(key.expose().into(), nonce.into()).apply_keystream(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_comes_back() {
        let key = EncryptionKey::Log(Secret::new([3; 32]));
        for cipher in [Cipher::new(&[1; 32], &key), Cipher::compat(&[1; 32], &key)] {
            for len in [0, 1, 64, 1000] {
                let stored = cipher.encrypt(7, 2, &vec![9; len]);
                assert_eq!(stored.len(), len + 8);
                assert_eq!(cipher.decrypt(7, &stored).unwrap(), vec![9; len]);
                assert_ne!(stored, cipher.encrypt(7, 3, &vec![9; len]));
            }
            assert_eq!(cipher.decrypt(0, &Bytes::from_static(&[0; 7])), None);
        }
    }

    #[test]
    fn the_block_key_opens_its_log() {
        let key = EncryptionKey::Log(Secret::new([3; 32]));
        let only = EncryptionKey::Block(key.block_key(&[1; 32]));
        let stored = Cipher::new(&[1; 32], &key).encrypt(0, 0, b"hello");
        assert_eq!(Cipher::new(&[1; 32], &only).decrypt(0, &stored).unwrap(), "hello");
        assert_ne!(Cipher::new(&[2; 32], &key).decrypt(0, &stored).unwrap(), "hello");
    }
}
