//! Blocks of a table: entries in order, keys without what they share with the one before, a checksum at the end.

use super::{Input, checksum, push_varint};

/// Kind and checksum behind each block.
pub const TRAILER: usize = 5;

const PLAIN: u8 = 0;
const SNAPPY: u8 = 1;

/// Why a block cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFault {
    /// It is damaged: how.
    Damage(&'static str),
    /// It is compressed in a way that is not known here.
    Compression(u8),
}

/// The bytes of a block, whose checksum was right.
#[derive(Debug, Clone, Default)]
pub struct Block {
    contents: Vec<u8>,
    /// Where entries end.
    end: usize,
}

/// Where a block lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Bytes from the file's beginning.
    pub offset: u64,
    /// Bytes of it, without the trailer.
    pub size: u64,
}

impl Handle {
    /// Takes one off the front.
    pub fn read(input: &mut Input<'_>) -> Option<Self> {
        Some(Handle { offset: input.varint()?, size: input.varint()? })
    }

    /// Appends it.
    pub fn push(self, out: &mut Vec<u8>) {
        push_varint(out, self.offset);
        push_varint(out, self.size);
    }
}

/// What a block holds, its checksum compared and what was compressed unpacked. `stored`: with the trailer.
pub fn unseal(stored: &[u8]) -> Result<Vec<u8>, BlockFault> {
    let damage = |what| Err(BlockFault::Damage(what));
    let Some((contents, &[kind, ref sum @ ..])) = stored.split_last_chunk::<TRAILER>() else {
        return damage("a block is too short");
    };
    if checksum(&[contents, &[kind]]) != u32::from_le_bytes(*sum) {
        return damage("the checksum of a block is wrong");
    }
    match kind {
        PLAIN => Ok(contents.to_vec()),
        SNAPPY => match snap::raw::decompress_len(contents) {
            // Three bytes make at most 64, so nobody can make a little take much memory.
            Ok(length) if length <= contents.len().saturating_mul(22) => snap::raw::Decoder::new()
                .decompress_vec(contents)
                .map_err(|_| BlockFault::Damage("a block cannot be unpacked")),
            _ => damage("a block says to unpack to a size that it cannot have"),
        },
        kind => Err(BlockFault::Compression(kind)),
    }
}

/// A block ready to be stored: packed if that is worth it, with its trailer.
pub fn seal(contents: &[u8]) -> Vec<u8> {
    let packed = snap::raw::Encoder::new().compress_vec(contents).ok();
    // As LevelDB does it: what saves less than an eighth is not worth unpacking.
    let worth = packed.filter(|packed| packed.len() < contents.len() - contents.len() / 8);
    let (mut stored, kind) = worth.map_or((contents.to_vec(), PLAIN), |packed| (packed, SNAPPY));
    stored.push(kind);
    let sum = checksum(&[&stored]);
    stored.extend_from_slice(&sum.to_le_bytes());
    stored
}

impl Block {
    /// A block of entries.
    pub fn new(contents: Vec<u8>) -> Result<Self, BlockFault> {
        let restarts = contents.split_last_chunk::<4>().and_then(|(rest, count)| {
            let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
            rest.len().checked_sub(count.checked_mul(4)?)
        });
        let end = restarts.ok_or(BlockFault::Damage("a block does not say where its entries end"))?;
        Ok(Block { contents, end })
    }
}

/// Walks a block from the front.
#[derive(Debug, Default)]
pub struct BlockCursor {
    block: Block,
    at: usize,
    key: Vec<u8>,
    value: (usize, usize),
}

impl BlockCursor {
    /// In front of the first entry.
    pub fn new(block: Block) -> Self {
        BlockCursor { block, ..BlockCursor::default() }
    }

    /// Goes to the next entry; false at the end.
    pub fn advance(&mut self) -> Result<bool, BlockFault> {
        let rest = &self.block.contents[self.at..self.block.end];
        if rest.is_empty() {
            return Ok(false);
        }
        let mut input = Input::new(rest);
        let mut entry = || {
            let lengths = (input.varint32()?, input.varint32()?, input.varint32()?);
            let (shared, own, value) = (lengths.0 as usize, lengths.1 as usize, lengths.2 as usize);
            if shared > self.key.len() {
                return None;
            }
            self.key.truncate(shared);
            self.key.extend_from_slice(input.bytes(own)?);
            input.bytes(value).map(<[u8]>::len)
        };
        let length = entry().ok_or(BlockFault::Damage("an entry of a block cannot be read"))?;
        self.at = self.block.end - input.len();
        self.value = (self.at - length, self.at);
        Ok(true)
    }

    /// The key of the entry.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Its value.
    pub fn value(&self) -> &[u8] {
        &self.block.contents[self.value.0..self.value.1]
    }
}

/// Entries between two whole keys.
const INTERVAL: usize = 16;

/// Puts a block together; keys come in order.
#[derive(Debug)]
pub struct BlockBuilder {
    contents: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    last: Vec<u8>,
}

impl Default for BlockBuilder {
    fn default() -> Self {
        BlockBuilder { contents: Vec::new(), restarts: vec![0], entries: 0, last: Vec::new() }
    }
}

impl BlockBuilder {
    /// Appends an entry.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = if self.entries.is_multiple_of(INTERVAL) && self.entries > 0 {
            self.restarts.push(self.contents.len() as u32);
            0
        } else {
            self.last.iter().zip(key).take_while(|(one, other)| one == other).count()
        };
        for length in [shared, key.len() - shared, value.len()] {
            push_varint(&mut self.contents, length as u64);
        }
        self.contents.extend_from_slice(&key[shared..]);
        self.contents.extend_from_slice(value);
        key.clone_into(&mut self.last);
        self.entries += 1;
    }

    /// The last key.
    pub fn last(&self) -> &[u8] {
        &self.last
    }

    /// Bytes so far.
    pub const fn size(&self) -> usize {
        self.contents.len() + 4 * self.restarts.len() + 4
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The block's contents; the builder starts anew.
    pub fn finish(&mut self) -> Vec<u8> {
        let BlockBuilder { mut contents, restarts, .. } = std::mem::take(self);
        restarts.iter().for_each(|restart| contents.extend_from_slice(&restart.to_le_bytes()));
        contents.extend_from_slice(&(restarts.len() as u32).to_le_bytes());
        contents
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Entries = Vec<(Vec<u8>, Vec<u8>)>;

    fn walk(contents: Vec<u8>) -> Result<Entries, BlockFault> {
        let mut cursor = BlockCursor::new(Block::new(contents)?);
        let mut entries = Vec::new();
        while cursor.advance()? {
            entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
        }
        Ok(entries)
    }

    proptest! {
        #[test]
        fn entries_come_back(entries in prop::collection::btree_map("[ab\\x00]{0,6}", "[a-c]{0,40}", 0..60)) {
            let entries: BTreeMap<String, String> = entries;
            let mut builder = BlockBuilder::default();
            entries.iter().for_each(|(key, value)| builder.push(key.as_bytes(), value.as_bytes()));
            let stored = seal(&builder.finish());
            let found = walk(unseal(&stored).unwrap()).unwrap();
            let expected = entries.into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes()));
            prop_assert!(found.into_iter().eq(expected));
        }

        #[test]
        fn any_contents_are_walked_or_refused(contents in prop::collection::vec(0_u8..20, 0..80)) {
            let _ = walk(contents.clone());
            let _ = walk([&contents[..], &[0, 0, 0, 0]].concat());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut builder = BlockBuilder::default();
        (0..50_u8).for_each(|key| builder.push(&[key, 0], b"the same again and again"));
        let stored = seal(&builder.finish());
        assert_eq!(stored[stored.len() - TRAILER], SNAPPY, "this packs well");
        for at in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(unseal(&flipped), Err(BlockFault::Damage("the checksum of a block is wrong")));
        }
    }

    #[test]
    fn a_little_does_not_unpack_to_much() {
        // It says 2^32 - 1, and its checksum is right.
        let mut stored = vec![0xff, 0xff, 0xff, 0xff, 0x0f, SNAPPY];
        let sum = checksum(&[&stored]);
        stored.extend_from_slice(&sum.to_le_bytes());
        assert!(matches!(unseal(&stored), Err(BlockFault::Damage(_))));
    }
}
