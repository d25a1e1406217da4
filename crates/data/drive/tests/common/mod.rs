//! What several tests need: logs in memory whose keys are chosen, content from a seed, a small random source.
#![allow(dead_code, clippy::unwrap_used)]

use bytes::Bytes;
use cloudpal_drive::{BlobLog, Drive, DrivePath, Folder, Logs, Options};
use cloudpal_log::{Feed, FeedError, KeyPair, Manifest, MemoryFeed};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A log in memory with a key of our choice, that may pretend to be someone else's.
pub struct TestFeed {
    pub inner: MemoryFeed,
    pub key: [u8; 32],
    pub writable: bool,
    /// What peers were asked for early.
    pub asked: Mutex<Vec<Range<u64>>>,
}

impl TestFeed {
    pub fn new(key: [u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryFeed::create(KeyPair::from_seed(&key)),
            key,
            writable: true,
            asked: Mutex::default(),
        })
    }

    /// The same blocks, read-only.
    pub fn reader(&self) -> Arc<Self> {
        Arc::new(Self { inner: self.inner.clone(), key: self.key, writable: false, asked: Mutex::default() })
    }

    pub fn blocks(&self) -> Vec<Option<Bytes>> {
        (0..self.inner.length()).map(|index| self.inner.get_local(index).unwrap()).collect()
    }

    /// How many blocks are held.
    pub fn held(&self) -> usize {
        self.blocks().iter().flatten().count()
    }
}

impl Feed for TestFeed {
    fn key(&self) -> [u8; 32] {
        self.key
    }
    fn discovery_key(&self) -> [u8; 32] {
        self.key
    }
    fn length(&self) -> u64 {
        self.inner.length()
    }
    fn byte_length(&self) -> u64 {
        self.inner.byte_length()
    }
    fn fork(&self) -> u64 {
        self.inner.fork()
    }
    fn writable(&self) -> bool {
        self.writable
    }
    fn get(&self, index: u64) -> Result<Bytes, FeedError> {
        self.inner.get(index)
    }
    fn get_local(&self, index: u64) -> Result<Option<Bytes>, FeedError> {
        self.inner.get_local(index)
    }
    fn append(&self, blocks: &[Bytes]) -> Result<u64, FeedError> {
        if self.writable { self.inner.append(blocks) } else { Err(FeedError::NotWritable) }
    }
    fn truncate(&self, length: u64) -> Result<(), FeedError> {
        self.inner.truncate(length)
    }
    fn clear(&self, blocks: Range<u64>) -> Result<(), FeedError> {
        self.inner.clear(blocks)
    }
    fn seek(&self, byte: u64) -> Result<(u64, u64), FeedError> {
        self.inner.seek(byte)
    }
    fn prefetch(&self, blocks: Range<u64>) {
        self.asked.lock().unwrap().push(blocks);
    }
    fn wait_change(&self, seen: (u64, u64), timeout: Duration) -> (u64, u64) {
        self.inner.wait_change(seen, timeout)
    }
    fn user_data(&self, name: &str) -> Result<Option<Bytes>, FeedError> {
        self.inner.user_data(name)
    }
    fn set_user_data(&self, name: &str, value: Option<Bytes>) -> Result<(), FeedError> {
        self.inner.set_user_data(name, value)
    }
}

/// Answers every question for the blob log with the same log, and remembers the questions.
#[derive(Clone)]
pub struct TestLogs {
    pub manifest: Option<Manifest>,
    pub blobs: Arc<TestFeed>,
    pub asked: Arc<Mutex<Vec<BlobLog>>>,
}

impl TestLogs {
    pub fn new(manifest: Option<Manifest>, blobs: Arc<TestFeed>) -> Self {
        Self { manifest, blobs, asked: Arc::default() }
    }
}

impl Logs for TestLogs {
    fn manifest(&self) -> Option<Manifest> {
        self.manifest.clone()
    }

    fn blobs(&self, which: BlobLog) -> Result<Arc<dyn Feed>, FeedError> {
        self.asked.lock().unwrap().push(which);
        Ok(self.blobs.clone())
    }
}

/// A drive in memory with its two logs.
pub struct TestDrive {
    pub map: Arc<TestFeed>,
    pub blobs: Arc<TestFeed>,
    pub manifest: Manifest,
    pub drive: Drive,
}

impl TestDrive {
    pub fn new(options: Options) -> Self {
        let manifest = Manifest::single(KeyPair::from_seed(&[1; 32]).public_key());
        let (map, blobs) = (TestFeed::new(manifest.key()), TestFeed::new([2; 32]));
        Self::over(map, blobs, manifest, options)
    }

    pub fn over(map: Arc<TestFeed>, blobs: Arc<TestFeed>, manifest: Manifest, options: Options) -> Self {
        let logs = TestLogs::new(Some(manifest.clone()), blobs.clone());
        let drive = Drive::open(map.clone(), logs, options).unwrap();
        Self { map, blobs, manifest, drive }
    }

    /// The same drive as someone has it who may only read.
    pub fn reader(&self, options: Options) -> Self {
        Self::over(self.map.reader(), self.blobs.reader(), self.manifest.clone(), options)
    }
}

pub fn path(name: &str) -> DrivePath {
    DrivePath::new(name).unwrap()
}

pub fn folder(name: &str) -> Folder {
    Folder::new(name).unwrap()
}

/// The same bytes as `content` of vectors/make.mjs.
pub fn content(seed: u32, length: usize) -> Bytes {
    let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = move |_| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as u8
    };
    (0..length).map(next).collect()
}

/// Numbers from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
