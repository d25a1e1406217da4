//! Blocks of a bee: each parses or not, and a bee made of whatever follows one another answers, refuses, and ends.
#![no_main]
use bytes::Bytes;
use cloudpal_bee::block::{Header, Node};
use cloudpal_bee::{Bee, History, Options, Range};
use cloudpal_log::{Feed, KeyPair, MemoryFeed};
use std::sync::Arc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = Bytes::copy_from_slice(bytes);
    if let Some(header) = Header::parse(&whole) {
        assert_eq!(Header::parse(&header.encode()), Some(header));
    }
    if let Some(node) = Node::parse(&whole) {
        for offset in 0..node.index.len() as u64 {
            let level = node.index.level(offset).expect("it is within");
            assert!(level.children.len().is_multiple_of(2));
        }
        node.is_deletion(1);
    }
    let feed = MemoryFeed::create(KeyPair::from_seed(&[1; 32]));
    let mut blocks = vec![Header::new(None).encode()];
    let mut rest = whole;
    while rest.len() >= 2 && blocks.len() < 32 {
        let length = usize::from(rest[0]) | usize::from(rest[1]) << 8;
        let _ = rest.split_to(2);
        blocks.push(rest.split_to(length.min(rest.len())));
    }
    let length = blocks.len();
    if feed.append(&blocks).is_ok() {
        use_bee(&Bee::new(Arc::new(feed), Options::default()), length);
    }
});

fn use_bee(bee: &Bee, length: usize) {
    let now = bee.snapshot();
    let keys: Vec<Bytes> = now.history(History::all()).flatten().map(|operation| operation.entry.key).collect();
    for range in [Range::all(), Range::all().reverse()] {
        assert!(now.range(range).filter(Result::is_ok).count() < length);
    }
    if let Ok(then) = bee.checkout(length as u64 / 2) {
        let _ = now.diff(&then, Range::all()).count();
    }
    let mut batch = bee.batch();
    for (i, key) in keys.iter().enumerate() {
        let _ = now.get(key);
        let written = if i % 2 == 0 { batch.del(key) } else { batch.put(key, "v") };
        if written.is_err() {
            return;
        }
    }
    let _ = batch.flush();
}
