use crate::key::{keyed_hash, random_bytes};
use bytes::{Bytes, BytesMut};
use cloudpal_core::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Bytes that sealing adds: salt 16, counter 8, tag 16.
pub(crate) const OVERHEAD: usize = HEADER + TAG;
const SALT: usize = 16;
const HEADER: usize = SALT + 8;
const TAG: usize = 16;
/// Keys of earlier openings kept ready. One costs 60 bytes; a store is opened some times a day.
const READY: usize = 1024;

type Salt = [u8; SALT];

/// Seals records so that each opens only in its own place: AES-256-GCM of ring, the fastest where a processor helps.
///
/// A nonce never repeats under a key, whatever happens to the folder: every opening of the store draws a salt of 16
/// random bytes, encrypts under a key derived from it, and counts nonces from zero in memory only. Two copies of a
/// folder, or one after a crash, draw different salts. Record: salt, counter (u64 LE), ciphertext, tag; the place is
/// the associated data. Whoever may write the disk can still put back an older record of the same place.
pub(crate) struct Crypt {
    master: Secret<32>,
    salt: Salt,
    sealing: LessSafeKey,
    counter: AtomicU64,
    earlier: RwLock<HashMap<Salt, LessSafeKey>>,
}

impl Crypt {
    /// For one opening of a store.
    pub(crate) fn new(master: Secret<32>) -> Result<Self, getrandom::Error> {
        let salt = random_bytes()?;
        let sealing = session_cipher(&master, &salt);
        Ok(Crypt { master, salt, sealing, counter: AtomicU64::new(0), earlier: RwLock::default() })
    }

    /// `plain` sealed for `place`.
    pub(crate) fn seal(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(OVERHEAD + plain.len());
        self.seal_behind(&mut out, place, plain);
        out
    }

    /// Puts `plain`, sealed for `place`, behind what is in `out`.
    pub(crate) fn seal_behind(&self, out: &mut Vec<u8>, place: &[u8], plain: &[u8]) {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let start = out.len() + HEADER;
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&counter.to_le_bytes());
        out.extend_from_slice(plain);
        #[expect(clippy::expect_used, reason = "the cipher refuses only what is longer than 64 GiB")]
        let tag = self
            .sealing
            .seal_in_place_separate_tag(nonce(counter), Aad::from(place), &mut out[start..])
            .expect("a record is shorter than 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// What was sealed for `place`; none when it was not sealed for it with this key, or was changed since. Copied
    /// only when someone else holds `sealed` too.
    pub(crate) fn open(&self, place: &[u8], sealed: Bytes) -> Option<Bytes> {
        let mut sealed = sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        if sealed.len() < OVERHEAD {
            return None;
        }
        let header = sealed.split_to(HEADER);
        let (salt, counter) = header.split_at(SALT);
        let salt: Salt = salt.try_into().ok()?;
        let counter = u64::from_le_bytes(counter.try_into().ok()?);
        let mut open = |cipher: &LessSafeKey| {
            let len = cipher.open_in_place(nonce(counter), Aad::from(place), &mut sealed).ok()?.len();
            sealed.truncate(len);
            Some(())
        };
        if salt == self.salt {
            open(&self.sealing)?;
        } else if let Some(cipher) = self.earlier.read().unwrap_or_else(PoisonError::into_inner).get(&salt) {
            open(cipher)?;
        } else {
            let cipher = session_cipher(&self.master, &salt);
            open(&cipher)?;
            self.remember(salt, cipher);
        }
        Some(sealed.freeze())
    }

    fn remember(&self, salt: Salt, cipher: LessSafeKey) {
        let mut earlier = self.earlier.write().unwrap_or_else(PoisonError::into_inner);
        if earlier.len() >= READY {
            earlier.clear();
        }
        earlier.insert(salt, cipher);
    }
}

fn session_cipher(master: &Secret<32>, salt: &Salt) -> LessSafeKey {
    let key = keyed_hash(master.expose(), &[salt]);
    #[expect(clippy::expect_used, reason = "the only fault is a key of another length")]
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("a key of 32 bytes");
    LessSafeKey::new(key)
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crypt() -> Crypt {
        Crypt::new(Secret::new([5; 32])).unwrap()
    }

    #[test]
    fn opens_in_its_place_only_and_after_reopening() {
        let (one, later) = (crypt(), crypt());
        let sealed = Bytes::from(one.seal(b"place", b"words"));
        for reader in [&one, &later] {
            assert_eq!(reader.open(b"place", sealed.clone()).as_deref(), Some(&b"words"[..]));
            assert_eq!(reader.open(b"elsewhere", sealed.clone()), None);
        }
        assert_eq!(Crypt::new(Secret::new([6; 32])).unwrap().open(b"place", sealed), None);
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let crypt = crypt();
        let sealed = crypt.seal(b"place", b"some words");
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(crypt.open(b"place", bad.into()), None, "byte {at}");
            assert_eq!(crypt.open(b"place", sealed[..at].to_vec().into()), None, "cut at {at}");
        }
    }

    #[test]
    fn salt_and_counter_never_repeat_over_openings_and_threads() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..20 {
            let crypt = crypt();
            let headers = std::thread::scope(|scope| {
                let seal = || (0..50).map(|_| crypt.seal(b"p", b"x")[..HEADER].to_vec()).collect::<Vec<_>>();
                let threads = [scope.spawn(seal), scope.spawn(seal)];
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            for header in headers {
                assert!(seen.insert(header));
            }
        }
        assert_eq!(seen.len(), 2000);
    }
}
