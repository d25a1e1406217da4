//! libsodium's `crypto_secretstream_xchacha20poly1305`, in place and without copies.
//!
//! A message is one encrypted byte of tag, the ciphertext, and 16 bytes of authentication. The nonce is a counter
//! (u32 LE) and 8 bytes that are mixed with each authentication tag; when the counter wraps, the key moves on.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::{ChaCha20, R20, hchacha};
use poly1305::universal_hash::{KeyInit, UniversalHash};
use poly1305::{Block, Poly1305};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of the header that starts a stream.
pub(crate) const HEADER: usize = 24;
/// Bytes that a message grows by, before it.
pub(crate) const BEFORE: usize = 1;
/// Bytes that a message grows by, behind it.
pub(crate) const BEHIND: usize = 16;

const TAG_REKEY: u8 = 2;

/// One direction of a stream.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Direction {
    key: [u8; 32],
    nonce: [u8; 12],
}

impl Direction {
    /// From the key of the handshake and the sender's header.
    pub(crate) fn new(key: &[u8; 32], header: &[u8; HEADER]) -> Self {
        let (mut input, mut nonce) = ([0; 16], [0; 12]);
        input.copy_from_slice(&header[..16]);
        nonce[0] = 1;
        nonce[4..].copy_from_slice(&header[16..]);
        Direction { key: hchacha::<R20>(key.into(), &input.into()).into(), nonce }
    }

    /// Encrypts `message` in place: one byte for the tag, the text, 16 bytes for authentication.
    pub(crate) fn push(&mut self, message: &mut [u8]) {
        let end = message.len() - BEHIND;
        let (body, mac_place) = message.split_at_mut(end);
        let (tag, text) = body.split_at_mut(BEFORE);
        let (mut cipher, poly) = self.begin();
        let mut block = [0; 64];
        cipher.apply_keystream(&mut block);
        tag[0] = block[0];
        cipher.apply_keystream(text);
        let mac = authenticate(poly, &block, text);
        mac_place.copy_from_slice(&mac);
        self.advance(&mac, 0);
    }

    /// Decrypts `message` in place; its text lies between the first byte and the last 16. None when it was not sent so.
    #[must_use]
    pub(crate) fn pull(&mut self, message: &mut [u8]) -> Option<()> {
        let end = message.len().checked_sub(BEHIND).filter(|end| *end >= BEFORE)?;
        let (body, mac) = message.split_at_mut(end);
        let (tag, text) = body.split_at_mut(BEFORE);
        let (mut cipher, poly) = self.begin();
        let mut block = [0; 64];
        block[0] = tag[0];
        cipher.apply_keystream(&mut block);
        let plain_tag = std::mem::replace(&mut block[0], tag[0]);
        let expected = authenticate(poly, &block, text);
        if !bool::from(expected.ct_eq(mac)) {
            return None;
        }
        cipher.apply_keystream(text);
        self.advance(&expected, plain_tag);
        Some(())
    }

    /// The cipher behind its first block, which keys the authentication.
    fn begin(&self) -> (ChaCha20, Poly1305) {
        let mut cipher = ChaCha20::new((&self.key).into(), (&self.nonce).into());
        let mut block = [0; 64];
        cipher.apply_keystream(&mut block);
        let poly = Poly1305::new(poly1305::Key::from_slice(&block[..32]));
        block.zeroize();
        (cipher, poly)
    }

    fn advance(&mut self, mac: &[u8; 16], tag: u8) {
        for (byte, mac) in self.nonce[4..].iter_mut().zip(mac) {
            *byte ^= mac;
        }
        let [a, b, c, d, ..] = self.nonce;
        let counter = u32::from_le_bytes([a, b, c, d]).wrapping_add(1);
        self.nonce[..4].copy_from_slice(&counter.to_le_bytes());
        if counter == 0 || tag & TAG_REKEY != 0 {
            self.rekey();
        }
    }

    /// The key and the mixed part of the nonce, encrypted by themselves, are the next ones.
    fn rekey(&mut self) {
        let mut both = [0; 40];
        both[..32].copy_from_slice(&self.key);
        both[32..].copy_from_slice(&self.nonce[4..]);
        ChaCha20::new((&self.key).into(), (&self.nonce).into()).apply_keystream(&mut both);
        self.key.copy_from_slice(&both[..32]);
        self.nonce[4..].copy_from_slice(&both[32..]);
        self.nonce[..4].copy_from_slice(&1_u32.to_le_bytes());
        both.zeroize();
    }
}

/// Poly1305 over the tag's block, the ciphertext, padding and lengths. libsodium pads by the length itself modulo 16,
/// not by what is missing to 16; the streams of the world depend on it.
fn authenticate(mut poly: Poly1305, block: &[u8; 64], text: &[u8]) -> [u8; 16] {
    for part in block.chunks_exact(16) {
        poly.update(&[*Block::from_slice(part)]);
    }
    let (whole, rest) = text.split_at(text.len() / 16 * 16);
    poly.update_padded(whole);
    let mut tail = Vec::with_capacity(48);
    tail.extend_from_slice(rest);
    tail.resize(rest.len() * 2, 0);
    tail.extend_from_slice(&0_u64.to_le_bytes());
    tail.extend_from_slice(&(64 + text.len() as u64).to_le_bytes());
    poly.compute_unpadded(&tail).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use peeroxide_dht::secretstream::{Pull, Push};

    fn sealed(direction: &mut Direction, text: &[u8]) -> Vec<u8> {
        let mut message = [&[0], text, &[0; BEHIND]].concat();
        direction.push(&mut message);
        message
    }

    #[test]
    fn equals_another_implementation_both_ways() {
        let (key, header) = ([7; 32], [9; HEADER]);
        let (mut ours, mut ours_back) = (Direction::new(&key, &header), Direction::new(&key, &header));
        let (mut theirs, mut theirs_back) = (Push::with_header(&key, &header), Pull::new(&key, &header));
        for len in (0..130).chain([1000, 65_535, 65_536, 65_537]) {
            let text: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            let message = sealed(&mut ours, &text);
            assert_eq!(theirs_back.next(&message).unwrap().0, text, "{len}");
            let mut message = theirs.next(&text);
            ours_back.pull(&mut message).unwrap();
            assert_eq!(message[BEFORE..message.len() - BEHIND], text, "{len}");
        }
        // The other side may ask for a new key at any time.
        let mut message = theirs.push(b"then", None, TAG_REKEY);
        ours_back.pull(&mut message).unwrap();
        let mut message = theirs.next(b"now");
        ours_back.pull(&mut message).unwrap();
        assert_eq!(&message[1..4], b"now");
    }

    #[test]
    fn every_flip_and_every_repetition_is_refused() {
        let (key, header) = ([1; 32], [2; HEADER]);
        let message = sealed(&mut Direction::new(&key, &header), b"some words");
        for at in 0..message.len() {
            let mut bad = message.clone();
            bad[at] ^= 4;
            assert!(Direction::new(&key, &header).pull(&mut bad).is_none(), "byte {at}");
            let mut cut = message[..at].to_vec();
            assert!(Direction::new(&key, &header).pull(&mut cut).is_none(), "cut at {at}");
        }
        let mut reader = Direction::new(&key, &header);
        assert!(reader.pull(&mut message.clone()).is_some());
        assert!(reader.pull(&mut message.clone()).is_none());
    }
}
