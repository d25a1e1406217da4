use cloudpal_core::Secret;
use hkdf::Hkdf;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Granularity at which zeros are skipped, in bytes: the guest's page.
pub const PAGE: usize = 4096;
/// Pages sealed together.
pub(super) const CHUNK_PAGES: usize = 64;
/// Bytes a tag adds.
pub(super) const TAG: usize = 16;
const MAGIC: [u8; 8] = *b"CPseal1\n";
const FIXED: usize = 81;
/// No part is larger, in bytes: what a false length may make us reserve a bitmap for.
const MAX_LENGTH: u64 = 1 << 40;

/// Which part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The guest's memory.
    Memory,
    /// The hypervisor's device state.
    State,
}

impl Part {
    const fn byte(self) -> u8 {
        match self {
            Part::Memory => 0,
            Part::State => 1,
        }
    }

    /// Name of the part's file.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Memory => "memory",
            Part::State => "state",
        }
    }
}

/// Makes a snapshot's keys its own; fresh randomness for each snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

/// Seals and opens one part of one snapshot.
pub struct PartKey {
    key: LessSafeKey,
    pub(super) salt: Salt,
    pub(super) part: Part,
    pub(super) binding: [u8; 32],
}

impl PartKey {
    /// From bytes of [`derive_bytes`], for the helper process that never sees the snapshot key.
    pub(crate) fn from_derived(bytes: &[u8; 32], salt: Salt, part: Part, binding: [u8; 32]) -> Self {
        let key = match UnboundKey::new(&AES_256_GCM, bytes) {
            Ok(key) => LessSafeKey::new(key),
            Err(_) => unreachable!("AES-256 takes 32 bytes"),
        };
        PartKey { key, salt, part, binding }
    }

    pub(super) fn seal_chunk(&self, number: u64, pages: &mut Vec<u8>) {
        if self.key.seal_in_place_append_tag(nonce(number), Aad::empty(), pages).is_err() {
            unreachable!("a chunk is far smaller than what AES-GCM may seal");
        }
    }

    pub(super) fn open_chunk<'a>(&self, number: u64, sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.key.open_in_place(nonce(number), Aad::empty(), sealed).ok()
    }

    fn header_tag(&self, header: &[u8]) -> [u8; TAG] {
        match self.key.seal_in_place_separate_tag(nonce(u64::MAX), Aad::from(header), &mut []) {
            Ok(tag) => {
                let mut bytes = [0; TAG];
                bytes.copy_from_slice(tag.as_ref());
                bytes
            }
            Err(_) => unreachable!("a header is far smaller than what AES-GCM may authenticate"),
        }
    }
}

/// The bytes behind a [`PartKey`].
pub(crate) fn derive_bytes(key: &Secret<32>, salt: Salt, part: Part, binding: [u8; 32]) -> [u8; 32] {
    let info = [b"cloudpal snapshot v1".as_slice(), &[part.byte()], &binding].concat();
    let mut bytes = [0; 32];
    if Hkdf::<Sha256>::new(Some(&salt.0), key.expose()).expand(&info, &mut bytes).is_err() {
        unreachable!("32 bytes are fewer than HKDF-SHA-256 can give");
    }
    bytes
}

/// Chunk numbers never reach `u64::MAX`, which is the header's.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The head of a part that was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Length of the plaintext in bytes.
    pub length: u64,
    /// One bit a page.
    pub bitmap: Vec<u8>,
}

/// A head that is not what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeaderError {
    /// Not this format, or cut short.
    #[error("it does not begin as a snapshot part of this version does")]
    Form,
    /// Sealed for something else.
    #[error("it belongs to another image, hypervisor, machine or life of the pal, or to another snapshot")]
    Binding,
    /// Changed, or sealed under another key.
    #[error("its head was changed, or it was sealed with another key")]
    Tag,
}

impl Header {
    /// Bytes of a head for `length` bytes of plaintext, tag included.
    pub const fn size(length: u64) -> u64 {
        FIXED as u64 + length.div_ceil(PAGE as u64).div_ceil(8) + TAG as u64
    }

    /// The pages that are present, in order.
    pub fn pages(&self) -> Vec<u64> {
        let bits = self.bitmap.iter().enumerate().flat_map(|(at, &byte)| {
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at as u64 * 8 + bit)
        });
        bits.collect()
    }

    pub fn encode(&self, key: &PartKey) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.bitmap.len() + TAG);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(key.part.byte());
        bytes.extend_from_slice(&key.salt.0);
        bytes.extend_from_slice(&key.binding);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.bitmap);
        let tag = key.header_tag(&bytes);
        bytes.extend_from_slice(&tag);
        bytes
    }

    /// Reads a head from the start of `bytes`, which may go on after it.
    pub fn decode(bytes: &[u8], key: &PartKey) -> Result<Self, HeaderError> {
        let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or(HeaderError::Form)?;
        let length = length_of(fixed).ok_or(HeaderError::Form)?;
        if fixed[8] != key.part.byte() || fixed[9..41] != key.salt.0 || fixed[41..73] != key.binding {
            return Err(HeaderError::Binding);
        }
        let head = bytes.get(..Self::size(length) as usize).ok_or(HeaderError::Form)?;
        let (body, tag) = head.split_at(head.len() - TAG);
        // Constant time does not matter: the tag is no secret and nobody can ask twice cheaply.
        if key.header_tag(body) != tag {
            return Err(HeaderError::Tag);
        }
        let header = Header { length, bitmap: body[FIXED..].to_vec() };
        let pages = length.div_ceil(PAGE as u64);
        // Authenticated, so only a bug of ours could set a bit past the end; still never trust it.
        if header.pages().last().is_some_and(|&page| page >= pages) {
            return Err(HeaderError::Form);
        }
        Ok(header)
    }

    /// How many bytes the head at the start of `fixed` has, without authenticating it.
    pub fn peek_size(fixed: &[u8]) -> Option<u64> {
        length_of(fixed.first_chunk()?).map(Self::size)
    }

    /// The salt in the head at the start of `fixed`, without authenticating it.
    pub fn peek_salt(fixed: &[u8]) -> Option<Salt> {
        let fixed: &[u8; FIXED] = fixed.first_chunk()?;
        length_of(fixed)?;
        fixed[9..41].try_into().ok().map(Salt)
    }

    /// Bytes to read before peeking.
    pub const PEEK: usize = FIXED;
}

fn length_of(fixed: &[u8; FIXED]) -> Option<u64> {
    let length = u64::from_le_bytes(*fixed.last_chunk()?);
    (fixed[..8] == MAGIC && length <= MAX_LENGTH).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(secret: [u8; 32], salt: u8, part: Part) -> PartKey {
        let salt = Salt([salt; 32]);
        PartKey::from_derived(&derive_bytes(&Secret::new(secret), salt, part, [3; 32]), salt, part, [3; 32])
    }

    fn key(salt: u8, part: Part) -> PartKey {
        derived([1; 32], salt, part)
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_refused() {
        let header = Header { length: 20 * PAGE as u64 - 5, bitmap: vec![0b1010_0001, 0xff, 0b11] };
        let bytes = header.encode(&key(2, Part::Memory));
        assert_eq!(Header::decode(&bytes, &key(2, Part::Memory)), Ok(header));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(Header::decode(&changed, &key(2, Part::Memory)).is_err(), "byte {at} bit {bit}");
            }
            assert!(Header::decode(&bytes[..at], &key(2, Part::Memory)).is_err(), "cut at {at}");
        }
        assert_eq!(Header::decode(&bytes, &key(9, Part::Memory)), Err(HeaderError::Binding));
        assert_eq!(Header::decode(&bytes, &key(2, Part::State)), Err(HeaderError::Binding));
        let other = derived([8; 32], 2, Part::Memory);
        assert_eq!(Header::decode(&bytes, &other), Err(HeaderError::Tag));
    }

    #[test]
    fn pages_come_in_order() {
        let header = Header { length: 0, bitmap: vec![0b1000_0001, 0, 0b10] };
        assert_eq!(header.pages(), [0, 7, 17]);
    }
}
