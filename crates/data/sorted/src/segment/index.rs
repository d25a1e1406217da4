//! The last page of a segment: where its blocks begin, and which keys it has.
//!
//! ```text
//! index     blocks: u32 LE, (end of each separator: u32 LE)*, bytes of the separators, filter
//! ```
//!
//! The separator of a block is the shortest string that is greater than all keys before it and not greater than its own.

use super::block::common;
use crate::codec::u32_at;
use crate::error::Detail;
use crate::filter;
use bytes::Bytes;
use std::ops::Range;

#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    ends: Vec<u32>,
    separators: Vec<u8>,
    hashes: Vec<u64>,
}

impl IndexBuilder {
    /// The next block begins with `key`; the one before, if any, ended with `last`.
    pub fn begin_block(&mut self, last: &[u8], key: &[u8]) {
        if !self.ends.is_empty() {
            let length = (common(last, key) + 1).min(key.len());
            self.separators.extend_from_slice(&key[..length]);
        }
        self.ends.push(self.separators.len() as u32);
    }

    pub fn add(&mut self, key: &[u8]) {
        self.hashes.push(filter::hash(key));
    }

    pub fn blocks(&self) -> u32 {
        self.ends.len() as u32
    }

    pub fn finish(self) -> Bytes {
        let mut out = Vec::with_capacity(self.separators.len() + 4 * self.ends.len() + 2 * self.hashes.len());
        out.extend_from_slice(&self.blocks().to_le_bytes());
        for end in &self.ends {
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(&self.separators);
        filter::build(&self.hashes, &mut out);
        out.into()
    }
}

/// A checked page.
#[derive(Debug)]
pub(crate) struct Index {
    page: Bytes,
    blocks: usize,
    separators: Range<usize>,
}

impl Index {
    pub fn parse(page: Bytes, blocks: u32) -> Result<Index, Detail> {
        const SHORT: Detail = "it is too short for an index";
        if u32_at(&page, 0) != Some(blocks) || blocks == 0 {
            return Err("it is the index of other blocks");
        }
        let blocks = blocks as usize;
        let start = blocks.checked_mul(4).and_then(|table| table.checked_add(4)).ok_or(SHORT)?;
        let mut before = 0;
        for block in 0..blocks {
            let end = u32_at(&page, 4 + 4 * block).ok_or(SHORT)?;
            if end < before || (block == 0 && end > 0) {
                return Err("its separators overlap");
            }
            before = end;
        }
        let end = start.checked_add(before as usize).filter(|end| *end <= page.len()).ok_or(SHORT)?;
        if !filter::is_one(&page[end..]) {
            return Err("its filter is cut off");
        }
        Ok(Index { page, blocks, separators: start..end })
    }

    /// The only block that may have the key.
    pub fn find(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.blocks);
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.separator(middle) <= key {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether a key with this hash may be there.
    pub fn may_have(&self, hash: u64) -> bool {
        filter::may_have(&self.page[self.separators.end..], hash)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.page.len()
    }

    fn separator(&self, block: usize) -> &[u8] {
        let end = |block: usize| u32_at(&self.page, 4 + 4 * block).unwrap_or_default() as usize;
        let all = &self.page[self.separators.clone()];
        all.get(end(block - 1)..end(block)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Bytes, Vec<Vec<u8>>) {
        let keys: Vec<Vec<u8>> =
            (0..1000_u32).map(|i| format!("a long beginning {i:06}").into_bytes()).collect();
        let mut builder = IndexBuilder::default();
        for (i, key) in keys.iter().enumerate() {
            if i % 10 == 0 {
                builder.begin_block(if i == 0 { b"" } else { &keys[i - 1] }, key);
            }
            builder.add(key);
        }
        assert_eq!(builder.blocks(), 100);
        (builder.finish(), keys)
    }

    #[test]
    fn keys_are_found_in_their_blocks() {
        let (page, keys) = sample();
        let index = Index::parse(page, 100).unwrap();
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(index.find(key), i / 10);
            assert!(index.may_have(filter::hash(key)));
        }
        assert_eq!((index.find(b""), index.find(b"b")), (0, 99));
    }

    #[test]
    fn damage_is_refused_or_harmless() {
        let (page, keys) = sample();
        for at in 0..page.len() {
            let mut bytes = page.to_vec();
            bytes[at] ^= 0xff;
            if let Ok(index) = Index::parse(bytes.into(), 100) {
                assert!(keys.iter().all(|key| index.find(key) < 100));
            }
            assert!(Index::parse(page.slice(..at), 100).is_err() || at > page.len() - 1264);
        }
        assert!(Index::parse(page, 99).is_err());
    }
}
