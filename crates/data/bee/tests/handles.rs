//! Several handles, threads and feeds: writers that take turns, watchers, logs that are not all here.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use bytes::Bytes;
use cloudpal_bee::{Bee, Options, Range, ReadError, WriteError};
use cloudpal_log::{Feed, FeedError, KeyPair, MemoryFeed};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn memory() -> MemoryFeed {
    MemoryFeed::create(KeyPair::from_seed(&[1; 32]))
}

fn bee() -> Bee {
    Bee::new(Arc::new(memory()), Options::default())
}

#[test]
fn of_many_writers_who_compare_and_swap_none_is_lost() {
    let bee = bee();
    bee.put("counter", "0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| increment(&bee)));
        }
    });
    assert_eq!(bee.get("counter").unwrap().unwrap().value_str(), Some("200"));
}

fn increment(bee: &Bee) {
    loop {
        let old = bee.get("counter").unwrap().unwrap();
        let next = old.value_str().unwrap().parse::<u32>().unwrap() + 1;
        let swapped =
            bee.put_if("counter", next.to_string(), |found, _| found.map(|e| e.seq) == Some(old.seq));
        if swapped.unwrap().is_some() {
            return;
        }
    }
}

#[test]
fn a_batch_keeps_others_out_until_it_is_flushed_or_dropped() {
    let bee = bee();
    let mut batch = bee.batch();
    assert_eq!(batch.get("a").unwrap(), None);
    batch.put("a", "1").unwrap();
    assert!(matches!(bee.put("a", "2"), Err(WriteError::BatchOpen)));
    assert!(matches!(bee.sub("x").del("a"), Err(WriteError::BatchOpen)));
    assert_eq!(bee.get("a").unwrap(), None);
    let waiting = std::thread::spawn({
        let bee = bee.clone();
        move || bee.put_if("a", "3", |old, _| old.is_some()).unwrap()
    });
    assert_eq!(batch.flush().unwrap(), 1..2);
    assert_eq!(waiting.join().unwrap(), Some(2));
    let mut dropped = bee.batch();
    dropped.put("b", "1").unwrap();
    drop(dropped);
    assert_eq!(bee.put("a", "4").unwrap(), Some(3));
    assert_eq!(bee.get("b").unwrap(), None);
}

#[test]
fn one_batch_changes_several_sub_databases_at_once() {
    let bee = bee();
    let (a, b) = (bee.sub("a"), bee.sub("b"));
    let mut batch = a.batch();
    batch.put("k", "1").unwrap();
    batch.select(&b).unwrap();
    batch.put("k", "2").unwrap();
    batch.select(&bee).unwrap();
    assert_eq!(batch.get("a\0k").unwrap().unwrap().value_str(), Some("1"));
    assert!(matches!(batch.select(&self::bee()), Err(WriteError::OtherBee)));
    assert_eq!(bee.version(), 1);
    batch.flush().unwrap();
    assert_eq!(bee.version(), 3);
    let value = |bee: &Bee| bee.get("k").unwrap().map(|entry| entry.value_str().unwrap().to_owned());
    assert_eq!((value(&a), value(&b), value(&bee)), (Some("1".into()), Some("2".into()), None));
}

#[test]
fn a_deleted_key_is_not_found_in_the_nodes_it_leaves() {
    let bee = bee();
    // The ninth key is the one between the halves when the root is split, so both halves are in its block.
    for key in ["a", "b", "c", "d", "f", "g", "h", "i", "e", "aa"] {
        bee.put(key, "v").unwrap();
    }
    bee.del("e").unwrap();
    bee.put("a", "w").unwrap();
    assert_eq!(bee.get("e").unwrap(), None, "npm hyperbee 2.27.3 finds it");
}

#[test]
fn nothing_is_written_over_a_log_that_grew_in_between() {
    let feed = memory();
    let bee = Bee::new(Arc::new(feed.clone()), Options::default());
    let mut batch = bee.batch();
    batch.put("a", "1").unwrap();
    feed.append(&[Bytes::from_static(b"stranger")]).unwrap();
    assert!(matches!(batch.flush(), Err(WriteError::Interleaved { expected: 1, found: 2 })));
    assert_eq!(feed.length(), 2);
}

#[test]
fn too_large_a_value_is_refused_before_anything_changes() {
    let bee = bee();
    let mut batch = bee.batch();
    batch.put("a", "1").unwrap();
    assert!(matches!(batch.put("b", vec![0; 15 << 20]), Err(WriteError::TooLarge { .. })));
    batch.put("c", vec![0; 14 << 20]).unwrap();
    assert_eq!(batch.flush().unwrap(), 1..3);
    assert_eq!(bee.get("c").unwrap().unwrap().value.unwrap().len(), 14 << 20);
}

#[test]
fn a_watcher_sees_its_prefix_and_nothing_else() {
    let bee = bee();
    let soon = Duration::from_millis(20);
    let mut watcher = bee.watch(Range::prefix("photo/"));
    assert!(watcher.wait(Duration::ZERO).unwrap().is_none());
    bee.put("note/1", "x").unwrap();
    assert!(watcher.wait(soon).unwrap().is_none());
    let writer = std::thread::spawn({
        let bee = bee.clone();
        move || {
            bee.put("note/2", "x").unwrap();
            bee.put("photo/1", "x").unwrap();
        }
    });
    let change = watcher.wait(Duration::from_secs(60)).unwrap().unwrap();
    writer.join().unwrap();
    assert_eq!(change.current.diff(&change.previous, Range::prefix("photo/")).count(), 1);
    assert_eq!(change.previous.get("photo/1").unwrap(), None);
    assert!(watcher.wait(soon).unwrap().is_none());
    bee.del("photo/1").unwrap();
    assert!(watcher.wait(soon).unwrap().is_some());
    let mut again = bee.watch(Range::only("photo/1")).since(1).unwrap();
    assert!(again.wait(soon).unwrap().is_none(), "put and deleted since");
    let mut sub = bee.sub("s").watch(Range::all());
    bee.put("t", "x").unwrap();
    assert!(sub.wait(soon).unwrap().is_none());
    bee.sub("s").put("t", "x").unwrap();
    assert!(sub.wait(soon).unwrap().is_some());
}

#[test]
fn a_truncation_is_a_change_and_old_snapshots_say_so() {
    let feed = memory();
    let bee = Bee::new(Arc::new(feed.clone()), Options { cache_bytes: 0, ..Options::default() });
    bee.put("a", "1").unwrap();
    bee.put("a", "2").unwrap();
    let (mut watcher, old) = (bee.watch(Range::all()), bee.snapshot());
    feed.truncate(2).unwrap();
    assert!(watcher.wait(Duration::from_secs(60)).unwrap().is_some());
    assert!(matches!(old.get("a"), Err(ReadError::Truncated { version: 3 })));
    assert_eq!(bee.get("a").unwrap().unwrap().value_str(), Some("1"));
    bee.put("a", "3").unwrap();
    assert_eq!(bee.get("a").unwrap().unwrap().value_str(), Some("3"));
}

#[test]
fn clearing_keeps_what_the_present_needs_and_nothing_else() {
    let feed = filled(300);
    let bee = Bee::new(Arc::new(feed.clone()), Options { cache_bytes: 0, ..Options::default() });
    (0..300).filter(|i| i % 3 > 0).for_each(|i| assert!(bee.del(format!("{i:05}")).unwrap().is_some()));
    (0..50).for_each(|i| assert!(bee.put("00003", i.to_string()).unwrap().is_some()));
    let before: Vec<_> = bee.range(Range::all()).map(|entry| entry.unwrap()).collect();
    let cleared = bee.clear_unlinked().unwrap();
    let here = (0..feed.length()).filter(|&i| feed.get_local(i).unwrap().is_some()).count() as u64;
    assert_eq!(here + cleared, feed.length());
    // A hundred entries, about 25 nodes, the header and the last block.
    assert!(here < 135, "{here} blocks for {} entries", before.len());
    assert_eq!(bee.range(Range::all()).map(|entry| entry.unwrap()).collect::<Vec<_>>(), before);
    assert_eq!(bee.clear_unlinked().unwrap(), cleared, "nothing more goes");
    (0..300).for_each(|i| assert!(bee.put(format!("{i:05}"), "again").unwrap().is_some()));
    assert_eq!(bee.range(Range::all()).filter(|entry| entry.is_ok()).count(), 300);
}

/// A log of which some blocks are elsewhere.
struct Patchy {
    whole: MemoryFeed,
    elsewhere: Mutex<BTreeSet<u64>>,
    peers: bool,
    asked: Mutex<BTreeSet<u64>>,
}

impl Patchy {
    fn of(whole: MemoryFeed, peers: bool) -> Arc<Self> {
        let elsewhere = Mutex::new((0..whole.length()).collect());
        Arc::new(Patchy { whole, elsewhere, peers, asked: Mutex::default() })
    }
}

impl Feed for Patchy {
    fn key(&self) -> [u8; 32] {
        self.whole.key()
    }
    fn discovery_key(&self) -> [u8; 32] {
        self.whole.discovery_key()
    }
    fn length(&self) -> u64 {
        self.whole.length()
    }
    fn byte_length(&self) -> u64 {
        self.whole.byte_length()
    }
    fn fork(&self) -> u64 {
        self.whole.fork()
    }
    fn writable(&self) -> bool {
        false
    }
    fn get(&self, index: u64) -> Result<Bytes, FeedError> {
        if !self.peers {
            return Err(FeedError::Unavailable { index });
        }
        self.elsewhere.lock().unwrap().remove(&index);
        self.whole.get(index)
    }
    fn get_local(&self, index: u64) -> Result<Option<Bytes>, FeedError> {
        let away = self.elsewhere.lock().unwrap().contains(&index);
        if away { Ok(None) } else { self.whole.get_local(index) }
    }
    fn append(&self, _: &[Bytes]) -> Result<u64, FeedError> {
        Err(FeedError::NotWritable)
    }
    fn truncate(&self, _: u64) -> Result<(), FeedError> {
        Err(FeedError::NotWritable)
    }
    fn clear(&self, blocks: std::ops::Range<u64>) -> Result<(), FeedError> {
        self.whole.clear(blocks)
    }
    fn seek(&self, byte: u64) -> Result<(u64, u64), FeedError> {
        self.whole.seek(byte)
    }
    fn prefetch(&self, blocks: std::ops::Range<u64>) {
        self.asked.lock().unwrap().extend(blocks);
    }
    fn wait_change(&self, seen: (u64, u64), timeout: Duration) -> (u64, u64) {
        self.whole.wait_change(seen, timeout)
    }
    fn user_data(&self, name: &str) -> Result<Option<Bytes>, FeedError> {
        self.whole.user_data(name)
    }
    fn set_user_data(&self, name: &str, value: Option<Bytes>) -> Result<(), FeedError> {
        self.whole.set_user_data(name, value)
    }
}

fn filled(entries: u32) -> MemoryFeed {
    let feed = memory();
    let bee = Bee::new(Arc::new(feed.clone()), Options::default());
    let mut batch = bee.batch();
    for i in 0..entries {
        batch.put(format!("{i:05}"), "v").unwrap();
    }
    batch.flush().unwrap();
    feed
}

#[test]
fn a_sparse_reader_fetches_little_and_asks_ahead() {
    let feed = Patchy::of(filled(2_000), true);
    let bee = Bee::new(feed.clone(), Options::default());
    assert_eq!(bee.get("01234").unwrap().unwrap().value_str(), Some("v"));
    let fetched = 2_001 - feed.elsewhere.lock().unwrap().len();
    assert!(fetched < 40, "{fetched} blocks for one of 2,000 entries");
    assert!(!feed.asked.lock().unwrap().is_empty());
    assert!(matches!(bee.put("a", "b"), Err(WriteError::ReadOnly)));
}

#[test]
fn a_block_that_nobody_sends_is_named() {
    let feed = Patchy::of(filled(100), false);
    let bee = Bee::new(feed, Options::default());
    let error = bee.get("00001").unwrap_err();
    assert!(matches!(error, ReadError::Block { seq: 100, source: FeedError::Unavailable { index: 100 } }));
    assert_eq!(bee.range(Range::all()).count(), 1, "one error, then the end");
}

#[test]
fn a_batch_that_failed_half_way_appends_nothing() {
    let feed = filled(100);
    let bee = Bee::new(Arc::new(feed.clone()), Options { cache_bytes: 0, ..Options::default() });
    let mut batch = bee.batch();
    batch.put("00001", "new").unwrap();
    feed.clear(1..99).unwrap();
    assert!(matches!(batch.put("00050", "new"), Err(WriteError::Read(ReadError::Block { .. }))));
    assert!(matches!(batch.put("00001", "new"), Err(WriteError::BatchBroken)));
    assert!(matches!(batch.flush(), Err(WriteError::BatchBroken)));
    assert_eq!(feed.length(), 101);
}
