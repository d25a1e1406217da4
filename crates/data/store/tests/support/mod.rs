//! What the tests of the store share.
#![allow(dead_code, reason = "each test uses a part")]

use bytes::Bytes;
use cloudpal_store::{Options, Store, StoreKey};
use std::path::Path;

/// A small generator, so that a printed seed tells all.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn block(&mut self, most: u64) -> Bytes {
        let len = self.below(most + 1);
        (0..len).map(|_| self.next() as u8).collect::<Vec<_>>().into()
    }
}

pub fn key() -> StoreKey {
    StoreKey::new([42; 32])
}

pub fn open(dir: &Path) -> Store {
    Store::open(dir, &key(), Options::default()).unwrap()
}

/// A copy of a folder as a crash at this moment would leave it, holes kept.
pub fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .args(["-r", "--sparse=always", "--"])
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Whether any file below `dir` holds `needle`.
pub fn holds(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}
