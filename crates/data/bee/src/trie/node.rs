//! Blocks of a hypertrie as bytes, and the paths that keys take.

use crate::proto::{Fields, Value, slice_of, take_varint};
use bytes::Bytes;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Block 0 of a hypertrie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrieHeader {
    /// `hypertrie`, unless something else lies there.
    pub kind: String,
    /// What the creator kept beside.
    pub metadata: Option<Bytes>,
    /// What the trie was used for: `hyperdrive` for the drives of its time.
    pub subtype: Option<String>,
}

impl TrieHeader {
    /// Reads block 0; none if it is no header.
    pub fn parse(block: &Bytes) -> Option<TrieHeader> {
        let (mut kind, mut metadata, mut subtype) = (None, None, None);
        for field in Fields::new(block) {
            match field? {
                (1, Value::Bytes(name)) => kind = Some(text(name)?),
                (2, Value::Bytes(data)) => metadata = Some(slice_of(block, data)),
                (3, Value::Bytes(name)) => subtype = Some(text(name)?),
                (1..=3, _) => return None,
                _ => {}
            }
        }
        Some(TrieHeader { kind: kind?, metadata, subtype })
    }
}

/// Any other block of a hypertrie.
#[derive(Debug, Clone)]
pub struct TrieNode {
    /// The key that was put, without the slash that it may have begun with. After a deletion the key nearest to the
    /// deleted one is put again; an empty key without a value is what the last deletion leaves.
    pub key: String,
    /// Its value.
    pub value: Option<Bytes>,
    /// The lowest bit hides the key from those who do not ask for hidden ones; from bit 8 on they are the writer's.
    pub flags: u64,
    path: Path,
    buckets: Vec<Bucket>,
    numbers: Vec<u64>,
}

/// Blocks named for one position of the path, by their digit there; those past 4 share digits and collide.
#[derive(Debug, Clone)]
struct Bucket {
    position: u64,
    slots: u32,
    start: usize,
}

impl TrieNode {
    /// Reads block `seq`; none if it is no node or names a block that was not there yet.
    pub fn parse(block: &Bytes, seq: u64) -> Option<TrieNode> {
        let (mut key, mut value, mut trie, mut flags) = (None, None, &[][..], 0);
        for field in Fields::new(block) {
            match field? {
                (1, Value::Bytes(bytes)) => key = Some(text(bytes)?),
                (2, Value::Bytes(bytes)) => value = Some(slice_of(block, bytes)),
                (3, Value::Bytes(bytes)) => trie = bytes,
                (5, Value::Number(number)) => flags = number,
                (1..=3 | 5, _) => return None,
                _ => {}
            }
        }
        let mut key: String = key?;
        if key.starts_with('/') {
            key.remove(0);
        }
        let (buckets, numbers) = parse_trie(trie, seq)?;
        Some(TrieNode { path: Path::new(&key, flags & 1), key, value, flags, buckets, numbers })
    }

    /// Whether the key is hidden.
    pub fn hidden(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Whether this says that nothing is left.
    pub(super) fn is_reset(&self) -> bool {
        self.key.is_empty() && self.value.is_none()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The blocks named at `position` for `digit`: one, or several that collide.
    pub(super) fn named(&self, position: u64, digit: u64) -> impl Iterator<Item = u64> + '_ {
        // A later bucket of the same position replaces an earlier one, as it does in JS.
        let end = self.buckets.partition_point(|bucket| bucket.position <= position);
        let bucket = self.buckets[..end].last().filter(|bucket| bucket.position == position);
        bucket.into_iter().flat_map(move |bucket| {
            let slots = (digit..32).step_by(5).filter(|slot| bucket.slots >> slot & 1 == 1);
            slots.map(|slot| {
                self.numbers[bucket.start + (bucket.slots & ((1 << slot) - 1)).count_ones() as usize]
            })
        })
    }
}

fn parse_trie(mut bytes: &[u8], seq: u64) -> Option<(Vec<Bucket>, Vec<u64>)> {
    let (mut buckets, mut numbers) = (Vec::new(), Vec::new());
    if bytes.is_empty() {
        return Some((buckets, numbers));
    }
    let _positions = take_varint(&mut bytes)?;
    while !bytes.is_empty() {
        let position = take_varint(&mut bytes)?;
        let slots = u32::try_from(take_varint(&mut bytes)?).ok()?;
        buckets.push(Bucket { position, slots, start: numbers.len() });
        for _ in 0..slots.count_ones() {
            let number = take_varint(&mut bytes)?;
            if number == 0 || number >= seq {
                return None;
            }
            numbers.push(number);
        }
    }
    buckets.sort_by_key(|bucket| bucket.position);
    Some((buckets, numbers))
}

fn text(bytes: &[u8]) -> Option<String> {
    Some(str::from_utf8(bytes).ok()?.to_owned())
}

/// The way to a key: one digit for being hidden, then 32 of two bits for each part of the key (its SipHash-2-4 under
/// a key of zeros), then a 4 that ends it.
#[derive(Debug, Clone)]
pub(super) struct Path {
    hidden: u64,
    hashes: Vec<u64>,
    parts: Vec<String>,
    key: String,
}

/// Digits of one part of a key.
pub(super) const PART_DIGITS: u64 = 32;

impl Path {
    pub fn new(key: &str, hidden: u64) -> Self {
        let key = key.strip_prefix('/').unwrap_or(key);
        let mut parts: Vec<String> = key.split('/').map(str::to_owned).collect();
        if parts.first().is_some_and(String::is_empty) {
            parts.remove(0);
        }
        if parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        let hashes = parts.iter().map(|part| hash(part)).collect();
        Path { hidden, hashes, parts, key: key.to_owned() }
    }

    /// Number of digits.
    pub fn len(&self) -> u64 {
        self.hashes.len() as u64 * PART_DIGITS + 2
    }

    pub fn digit(&self, position: u64) -> u64 {
        let Some(i) = position.checked_sub(1) else { return self.hidden };
        match self.hashes.get((i / PART_DIGITS) as usize) {
            Some(hash) => hash >> (2 * (i % PART_DIGITS)) & 3,
            None => 4,
        }
    }

    /// Whether `other`, which has the same digits up to `position`, has them by accident: parts are compared where
    /// each ends.
    pub fn collides(&self, other: &Path, position: u64) -> bool {
        if position == 0 {
            return false;
        }
        if position == self.len() - 1 {
            return self.key != other.key;
        }
        let i = ((position - 1) / PART_DIGITS) as usize;
        self.parts.get(i) != other.parts.get(i)
    }
}

/// Whether parts have to be compared at this position.
pub(super) fn ends_part(position: u64) -> bool {
    position > 0 && position.is_multiple_of(PART_DIGITS)
}

fn hash(part: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(0, 0);
    hasher.write(part.as_bytes());
    hasher.finish()
}
