//! Blocks of a hypertrie: each parses or not, and a trie made of whatever follows one another answers, refuses, ends.
#![no_main]
use bytes::Bytes;
use cloudpal_bee::trie::{Hypertrie, TrieHeader, TrieNode, Visibility};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = Bytes::copy_from_slice(bytes);
    let _ = TrieHeader::parse(&rest);
    let _ = TrieNode::parse(&rest, 1 << 20);
    let mut blocks = vec![Bytes::from_static(b"\x0a\x09hypertrie")];
    while rest.len() >= 2 && blocks.len() < 32 {
        let length = usize::from(rest[0]) | usize::from(rest[1]) << 8;
        let _ = rest.split_to(2);
        blocks.push(rest.split_to(length.min(rest.len())));
    }
    let length = blocks.len();
    let trie = Hypertrie::from_blocks(blocks);
    for entry in trie.history().flatten() {
        let _ = trie.get(&entry.key, Visibility::Shown);
        let _ = trie.get(&entry.key, Visibility::Hidden);
    }
    for visibility in [Visibility::Shown, Visibility::Hidden] {
        assert!(trie.list("", visibility).count() <= length);
    }
});
