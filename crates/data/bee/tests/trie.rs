//! Feeds that npm hypertrie 5 wrote (tests/vectors/make-trie.mjs), and what it answers about them.
//! `TRIE_VECTORS=FILE` takes another file made by the same script.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use base64::Engine;
use bytes::Bytes;
use cloudpal_bee::trie::{Hypertrie, StoredError, TrieEntry, Visibility, stored_blocks};
use cloudpal_bee::{Bee, Options, Range, ReadError};
use cloudpal_log::{Feed, KeyPair, MemoryFeed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn programs() -> Vec<Value> {
    let text = match std::env::var("TRIE_VECTORS") {
        Ok(file) => std::fs::read_to_string(file).unwrap(),
        Err(_) => include_str!("vectors/trie.json").to_owned(),
    };
    serde_json::from_str(&text).unwrap()
}

fn blocks(program: &Value) -> Vec<Bytes> {
    let decode = |block: &Value| base64::engine::general_purpose::STANDARD.decode(block.as_str().unwrap());
    program["blocks"].as_array().unwrap().iter().map(|block| decode(block).unwrap().into()).collect()
}

fn visibility(hidden: &Value) -> Visibility {
    if *hidden == true { Visibility::Hidden } else { Visibility::Shown }
}

fn show(entry: &TrieEntry) -> Value {
    let hex = |value: &Bytes| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    json!([entry.seq, entry.key, entry.value.as_ref().map(hex), entry.flags])
}

#[test]
fn every_version_reads_as_npm_hypertrie_reads_it() {
    let (mut found, mut listed, mut hidden) = (0, 0, 0);
    for program in programs() {
        let trie = Hypertrie::from_blocks(blocks(&program));
        let header = trie.header().unwrap().unwrap();
        assert_eq!(header.subtype.unwrap_or_default(), program["subtype"]);
        assert_eq!(header.metadata.is_some(), program["metadata"].is_string());
        let history: Vec<Value> = trie.history().map(|entry| show(&entry.unwrap())).collect();
        // JS ends its history where the last key was deleted.
        let theirs = program["history"].as_array().unwrap();
        assert!(history.starts_with(theirs) && !theirs.is_empty(), "seed {}", program["seed"]);
        for answers in program["answers"].as_array().unwrap() {
            let then = trie.checkout(answers["version"].as_u64().unwrap()).unwrap();
            let what = format!("seed {} version {}", program["seed"], then.version());
            for get in answers["gets"].as_array().unwrap() {
                let entry = then.get(get[0].as_str().unwrap(), visibility(&get[1])).unwrap();
                found += usize::from(entry.is_some());
                hidden += usize::from(entry.as_ref().is_some_and(|entry| entry.hidden));
                assert_eq!(entry.as_ref().map_or(Value::Null, show), get[2], "{what}: {get}");
            }
            for list in answers["lists"].as_array().unwrap() {
                let entries = then.list(list[0].as_str().unwrap(), visibility(&list[1]));
                let entries: Vec<Value> = entries.map(|entry| show(&entry.unwrap())).collect();
                listed += entries.len();
                assert_eq!(json!(entries), list[2], "{what}: {list}");
            }
        }
    }
    assert!(found > 50 && listed > 100 && hidden > 0, "{found} {listed} {hidden}");
}

#[test]
fn a_trie_is_imported_into_a_bee_with_every_key() {
    for program in programs() {
        let (old, new) = (memory(1), memory(2));
        old.append(&blocks(&program)).unwrap();
        let trie = Hypertrie::from_feed(Arc::new(old));
        let bee = Bee::new(Arc::new(new), Options::default());
        let imported = trie.import_into(&bee).unwrap();
        let listed = trie.list("", Visibility::Shown).map(|entry| entry.unwrap());
        let expected: BTreeMap<_, _> = listed.map(|entry| (Bytes::from(entry.key), entry.value)).collect();
        let entries = bee.range(Range::all()).map(|entry| entry.unwrap());
        assert_eq!(entries.map(|entry| (entry.key, entry.value)).collect::<BTreeMap<_, _>>(), expected);
        assert!(imported as usize == expected.len() && imported > 0);
    }
}

#[test]
fn a_folder_of_hypercore_9_gives_its_blocks_and_no_others() {
    for program in programs() {
        let file = |name: &str| {
            let text = program["folder"][name].as_str().unwrap();
            Bytes::from(base64::engine::general_purpose::STANDARD.decode(text).unwrap())
        };
        let (tree, data) = (file("tree"), file("data"));
        assert_eq!(stored_blocks(&tree, &data).unwrap(), blocks(&program));
        assert_eq!(stored_blocks(&data, &data), Err(StoredError::NotATree));
        for at in (0..data.len()).step_by(7) {
            let mut broken = data.to_vec();
            broken[at] ^= 1;
            assert!(matches!(stored_blocks(&tree, &broken.into()), Err(StoredError::Damaged { .. })));
        }
        for at in (0..tree.len()).step_by(3) {
            let mut broken = tree.to_vec();
            broken[at] ^= 0x80;
            let found = stored_blocks(&broken, &data);
            assert!(found.is_err() || found.unwrap() == blocks(&program), "damage at {at}");
        }
        let mut holed = tree.to_vec();
        holed[32 + 2 * 40..][..40].fill(0);
        assert_eq!(stored_blocks(&holed, &data), Err(StoredError::Missing { block: 1 }));
    }
}

#[test]
fn broken_feeds_give_errors_or_answers_and_always_end() {
    let program = programs().pop().unwrap();
    let whole = blocks(&program);
    let (mut errors, mut answers) = (0, 0);
    for (i, block) in whole.iter().enumerate().skip(1) {
        for damage in 0..block.len() {
            let mut broken = whole.clone();
            let mut bytes = block.to_vec();
            bytes[damage] = bytes[damage].wrapping_add(1);
            broken[i] = bytes.into();
            let trie = Hypertrie::from_blocks(broken).checkout(i as u64 + 1).unwrap();
            match trie.list("", Visibility::Shown).collect::<Result<Vec<_>, _>>() {
                Ok(entries) => answers += usize::from(entries.len() <= whole.len()),
                Err(ReadError::Malformed { .. }) => errors += 1,
                Err(other) => panic!("{other}"),
            }
            let _ = trie.get("a/x1", Visibility::Shown);
        }
    }
    assert!(errors > 10 && answers > 10, "{errors} {answers}");
}

#[test]
fn an_empty_trie_and_a_version_ahead_are_told_apart() {
    let trie = Hypertrie::from_blocks([]);
    assert_eq!(trie.header().unwrap(), None);
    assert_eq!(trie.get("a", Visibility::Shown).unwrap(), None);
    assert!(matches!(trie.checkout(1), Err(ReadError::Ahead { version: 1, length: 0 })));
    let trie = Hypertrie::from_blocks([Bytes::from_static(b"\x0a\x05other")]);
    assert!(matches!(trie.header(), Err(ReadError::Malformed { seq: 0, .. })));
}

fn memory(seed: u8) -> MemoryFeed {
    MemoryFeed::create(KeyPair::from_seed(&[seed; 32]))
}
