//! Reads the engine's tables and files of blocks without the engine, which takes none of them when one byte is wrong in
//! the wrong place. Whatever has the right checksum is found, wherever it lies; nothing else is believed.
//!
//! Formats (lsm-tree 3.1), little-endian. A table is a row of blocks: "LSM" 3, kind u8 (0 = data), xxh3-128 of the
//! content, its length u32 twice, the low half of a half of the xxh3-128 of all that. A data block is a row of entries,
//! 255, indexes, and 31 bytes of which the first is how often an entry has its whole key. An entry: kind u8 (0 value, 1
//! and 2 removed, 4 a value in a file of blocks), count, then key length and key, or shared length, rest length and
//! rest; values have length and bytes; numbers are LEB128. An entry of a file of blocks: "BLOB", xxh3-128 of key and value,
//! count u64, key length u16, value length u32 twice, key, value.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

const TABLE: &[u8] = b"LSM\x03";
const HEAD: usize = 33;
const TRAILER: usize = 31;
const END: u8 = 255;
const APART: &[u8] = b"BLOB";
const APART_HEAD: usize = 38;

/// One version of what was kept under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub key: Vec<u8>,
    /// The engine counts its batches: of two versions, the one with the higher count is newer.
    pub count: u64,
    pub what: What,
}

/// What a version says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Value(Vec<u8>),
    /// Nothing is kept here any more.
    Removed,
    /// The value lies in a file of blocks.
    Apart,
}

/// All versions in a table that can be read.
pub(crate) fn versions(table: &[u8]) -> Vec<Version> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = find(table, at, TABLE) {
        at = match block(&table[start..]) {
            Some(Block { kind, content }) => {
                if kind == 0 {
                    entries(content, &mut found);
                }
                start + HEAD + content.len()
            }
            None => start + 1,
        };
    }
    found
}

/// All versions in a file of blocks that can be read. No sum covers their counts.
pub(crate) fn versions_apart(file: &[u8]) -> Vec<Version> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = find(file, at, APART) {
        at = match apart(&file[start..]) {
            Some((version, length)) => {
                found.push(version);
                start + length
            }
            None => start + 1,
        };
    }
    found
}

fn find(bytes: &[u8], from: usize, magic: &[u8]) -> Option<usize> {
    let places = bytes.get(from..)?.windows(magic.len());
    places.into_iter().position(|place| place == magic).map(|at| from + at)
}

struct Block<'a> {
    kind: u8,
    content: &'a [u8],
}

fn block(bytes: &[u8]) -> Option<Block<'_>> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let sum = (xxh3_128(&head[..29]) as u32).to_le_bytes();
    let length = u32::from_le_bytes(head[21..25].try_into().ok()?);
    let content = rest.get(..length as usize)?;
    let whole = sum == head[29..] && xxh3_128(content).to_le_bytes() == head[5..21];
    whole.then_some(Block { kind: head[4], content })
}

fn entries(content: &[u8], found: &mut Vec<Version>) {
    let Some(trailer) = content.len().checked_sub(TRAILER) else { return };
    let (mut reader, every) = (Reader(&content[..trailer]), usize::from(content[trailer]).max(1));
    let mut base = Vec::new();
    for number in 0.. {
        if number % every == 0 {
            base.clear();
        }
        let Some(version) = reader.entry(&mut base) else { return };
        found.push(version);
    }
}

fn apart(bytes: &[u8]) -> Option<(Version, usize)> {
    let (head, rest) = bytes.split_at_checked(APART_HEAD)?;
    let count = u64::from_le_bytes(head[20..28].try_into().ok()?);
    let key_length = usize::from(u16::from_le_bytes(head[28..30].try_into().ok()?));
    let length = u32::from_le_bytes(head[34..38].try_into().ok()?) as usize;
    let (key, rest) = rest.split_at_checked(key_length)?;
    let value = rest.get(..length)?;
    let mut hash = Xxh3::new();
    hash.update(key);
    hash.update(value);
    let version = Version { key: key.to_vec(), count, what: What::Value(value.to_vec()) };
    (hash.digest128().to_le_bytes() == head[4..20]).then_some((version, APART_HEAD + key_length + length))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next entry. `base` is the last whole key, and empty where the next one is whole.
    fn entry(&mut self, base: &mut Vec<u8>) -> Option<Version> {
        let kind = self.take(1)?[0];
        if kind == END {
            return None;
        }
        let count = self.number()?;
        let key = if base.is_empty() {
            let length = self.number()?;
            *base = self.take(length)?.to_vec();
            base.clone()
        } else {
            let (shared, rest) = (self.number()?, self.number()?);
            [base.get(..usize::try_from(shared).ok()?)?, self.take(rest)?].concat()
        };
        let what = match kind {
            0 => {
                let length = self.number()?;
                What::Value(self.take(length)?.to_vec())
            }
            1 | 2 => What::Removed,
            4 => {
                let length = self.number()?;
                self.take(length)?;
                What::Apart
            }
            _ => return None,
        };
        Some(Version { key, count, what })
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions, KvSeparationOptions};
    use std::path::Path;

    /// What the engine itself makes of 500 values, every third large and every seventh removed again.
    fn written(dir: &Path) -> (Vec<u8>, Vec<u8>) {
        let db = Database::builder(dir).worker_threads(1).open().unwrap();
        let apart = KvSeparationOptions::default().separation_threshold(300);
        let options = || KeyspaceCreateOptions::default().with_kv_separation(Some(apart.clone()));
        let room = db.keyspace("a", options).unwrap();
        for number in 0..500_u32 {
            let size = if number % 3 == 0 { 400 } else { 20 };
            room.insert(key(number), vec![number as u8; size]).unwrap();
        }
        for number in (0..500).step_by(7) {
            room.remove(key(number)).unwrap();
        }
        room.rotate_memtable_and_wait().unwrap();
        let file = |folder: &str| {
            let files = std::fs::read_dir(room.path().join(folder)).unwrap();
            files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
        };
        (file("tables"), file("blobs"))
    }

    fn key(number: u32) -> Vec<u8> {
        format!("{number:020}").into_bytes()
    }

    #[test]
    fn everything_that_the_engine_wrote_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (table, file) = written(dir.path());
        let (inside, outside) = (versions(&table), versions_apart(&file));
        for number in 0..500_u32 {
            let newest = inside.iter().filter(|version| version.key == key(number)).max_by_key(|it| it.count);
            match (&newest.unwrap().what, number % 7, number % 3) {
                (What::Removed, 0, _) => {}
                (What::Value(value), 1.., 1..) => assert_eq!(*value, [number as u8; 20]),
                (What::Apart, 1.., 0) => {
                    let value = outside.iter().find(|version| version.key == key(number)).unwrap();
                    assert_eq!(value.what, What::Value(vec![number as u8; 400]));
                    assert_eq!(value.count, newest.unwrap().count);
                }
                other => panic!("{number}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_flipped_byte_costs_one_block_at_most_and_nothing_is_made_up() {
        let dir = tempfile::tempdir().unwrap();
        let (table, file) = written(dir.path());
        let (inside, outside) = (versions(&table), versions_apart(&file));
        for at in (0..table.len()).step_by(13) {
            let mut bad = table.clone();
            bad[at] ^= 0x11;
            let found = versions(&bad);
            assert!(found.len() + 200 >= inside.len(), "byte {at}: {} of {}", found.len(), inside.len());
            assert!(found.iter().all(|version| inside.contains(version)), "byte {at}");
        }
        for at in (0..file.len()).step_by(97) {
            let mut bad = file.clone();
            bad[at] ^= 0x11;
            let found = versions_apart(&bad);
            assert!(found.len() + 1 >= outside.len(), "byte {at}");
            let wrote =
                |it: &Version| outside.iter().any(|good| (&good.key, &good.what) == (&it.key, &it.what));
            assert!(found.iter().all(wrote), "byte {at}");
        }
    }
}
