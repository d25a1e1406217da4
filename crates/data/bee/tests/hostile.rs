//! Logs that no sound writer made: whatever lies in them, every operation ends with an answer or an error.
//! `BEE_FORESTS=N` tries more of them.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use bytes::Bytes;
use cloudpal_bee::block::{Header, Node};
use cloudpal_bee::{Bee, History, Options, Range, ReadError, WriteError};
use cloudpal_log::{Feed, KeyPair, MemoryFeed};
use std::sync::Arc;

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

type Level = (Vec<u64>, Vec<(u64, u64)>);

fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn node(key: &str, value: Option<&str>, levels: &[Level]) -> Bytes {
    let (mut out, mut index) = (Vec::new(), Vec::new());
    for (keys, children) in levels {
        let (mut level, mut packed) = (Vec::new(), Vec::new());
        keys.iter().for_each(|&seq| varint(&mut packed, seq));
        bytes_field(&mut level, 1, &packed);
        packed.clear();
        children
            .iter()
            .flat_map(|&(seq, offset)| [seq, offset])
            .for_each(|number| varint(&mut packed, number));
        bytes_field(&mut level, 2, &packed);
        bytes_field(&mut index, 1, &level);
    }
    bytes_field(&mut out, 1, &index);
    bytes_field(&mut out, 2, key.as_bytes());
    value.iter().for_each(|value| bytes_field(&mut out, 3, value.as_bytes()));
    out.into()
}

fn bee_of(blocks: &[Bytes]) -> Bee {
    let feed = MemoryFeed::create(KeyPair::from_seed(&[1; 32]));
    feed.append(&[Header::new(None).encode()]).unwrap();
    feed.append(blocks).unwrap();
    Bee::new(Arc::new(feed), Options::default())
}

#[derive(Debug, Default)]
struct Outcome {
    answers: usize,
    errors: usize,
}

impl Outcome {
    fn note<T>(&mut self, result: Result<T, ReadError>) {
        match result {
            Ok(_) => self.answers += 1,
            Err(ReadError::Malformed { .. }) => self.errors += 1,
            Err(other) => panic!("{other}"),
        }
    }

    fn note_write<T>(&mut self, result: Result<T, WriteError>) {
        match result {
            Ok(_) => self.answers += 1,
            Err(WriteError::Read(ReadError::Malformed { .. }) | WriteError::BatchBroken) => self.errors += 1,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Everything that can be done with a bee, at every version.
fn use_fully(bee: &Bee, random: &mut Random) -> Outcome {
    let mut outcome = Outcome::default();
    let length = bee.version();
    for version in 1..=length {
        let snapshot = bee.checkout(version).unwrap();
        for key in ["a", "c", "zz"] {
            outcome.note(snapshot.get(key));
        }
        for range in [Range::all(), Range::all().reverse(), Range::all().gt("b").lt("d")] {
            let entries: Result<Vec<_>, _> = snapshot.range(range.clone()).collect();
            assert!(entries.as_ref().map_or(0, Vec::len) < length as usize);
            outcome.note(entries);
            let other = bee.checkout(1 + random.below(length)).unwrap();
            outcome.note(snapshot.diff(&other, range).collect::<Result<Vec<_>, _>>());
        }
        outcome.note(snapshot.history(History::all()).collect::<Result<Vec<_>, _>>());
    }
    for _ in 0..3 {
        let mut batch = bee.batch();
        for _ in 0..20 {
            let key = ["a", "b", "bb", "c", "d", "e"][random.below(6) as usize];
            let written = if random.below(2) == 0 { batch.put(key, "v") } else { batch.del(key) };
            let broken = written.is_err();
            outcome.note_write(written);
            if broken {
                break;
            }
        }
        outcome.note_write(batch.flush());
    }
    outcome
}

#[test]
fn a_tree_that_runs_in_circles_is_found_out() {
    let itself = node("a", Some("1"), &[(vec![1], vec![(1, 0), (1, 0)])]);
    let each_other =
        node("b", Some("1"), &[(vec![1], vec![(2, 1), (2, 1)]), (vec![2], vec![(2, 0), (2, 0)])]);
    for (blocks, key) in [(vec![itself.clone()], "0"), (vec![itself.clone(), each_other], "0")] {
        let bee = bee_of(&blocks);
        for error in [
            bee.get(key).unwrap_err(),
            bee.range(Range::all()).find_map(Result::err).unwrap(),
            bee.range(Range::all().reverse()).find_map(Result::err).unwrap(),
            bee.diff(&bee.checkout(1).unwrap(), Range::all()).find_map(Result::err).unwrap(),
        ] {
            assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
        }
        for result in [bee.put(key, "v"), bee.del(key)] {
            assert!(matches!(result, Err(WriteError::Read(ReadError::Malformed { .. }))), "{result:?}");
        }
    }
}

#[test]
fn blocks_that_were_not_there_yet_are_not_waited_for() {
    let leaf = || node("a", Some("1"), &[(vec![1], vec![])]);
    for (wrong, what) in [
        (node("b", Some("1"), &[(vec![1, 9], vec![])]), "key ahead"),
        (node("b", Some("1"), &[(vec![1, u64::MAX], vec![])]), "key far ahead"),
        (node("b", Some("1"), &[(vec![0], vec![])]), "the header as a key"),
        (node("b", Some("1"), &[(vec![2], vec![(1, 0), (9, 0)])]), "child ahead"),
        (node("b", Some("1"), &[(vec![2], vec![(1, 0), (1, 7)])]), "no such node"),
        (node("b", Some("1"), &[(vec![2], vec![(1, 0)])]), "child missing"),
        (node("b", Some("1"), &[(vec![], vec![(1, 0)])]), "no keys"),
        (node("b", Some("1"), &[]), "no root"),
        (node("b", Some("1"), &[(vec![2, 1], vec![])]), "keys out of order"),
        (Bytes::from_static(b"nonsense"), "no node"),
    ] {
        let bee = bee_of(&[leaf(), wrong]);
        let error = bee.range(Range::all()).find_map(Result::err);
        assert!(matches!(error, Some(ReadError::Malformed { .. })), "{what}: {error:?}");
    }
}

#[test]
fn any_forest_gives_answers_or_errors() {
    let mut total = Outcome::default();
    let until = std::env::var("BEE_FORESTS").map_or(400, |forests| forests.parse().unwrap());
    for seed in 0..until {
        println!("seed {seed}");
        let mut random = Random(seed);
        let blocks: Vec<Bytes> = (1..2 + random.below(20)).map(|seq| any_node(&mut random, seq)).collect();
        let outcome = use_fully(&bee_of(&blocks), &mut random);
        total.answers += outcome.answers;
        total.errors += outcome.errors;
    }
    assert!(total.answers > 1_000 && total.errors > 1_000, "{total:?}");
}

/// A node that is sound by itself most of the time, with pointers anywhere behind it.
fn any_node(random: &mut Random, seq: u64) -> Bytes {
    let key = ["a", "b", "bb", "c", "d", "e"][random.below(6) as usize];
    let behind = |random: &mut Random| {
        let ahead = u64::from(random.below(40) == 0);
        1 + random.below(seq + ahead)
    };
    let level = |random: &mut Random| {
        let most = [2, 4, 12][random.below(3) as usize];
        let keys: Vec<u64> = (0..random.below(most)).map(|_| behind(random)).collect();
        let children = if random.below(2) == 0 || keys.is_empty() { 0 } else { keys.len() + 1 };
        (keys, (0..children).map(|_| (behind(random), random.below(3))).collect())
    };
    let levels: Vec<Level> = (0..1 + random.below(4)).map(|_| level(random)).collect();
    node(key, (random.below(3) > 0).then_some("v"), &levels)
}

#[test]
fn a_flipped_bit_anywhere_gives_an_answer_or_an_error() {
    let feed = MemoryFeed::create(KeyPair::from_seed(&[1; 32]));
    let sound = Bee::new(Arc::new(feed.clone()), Options::default());
    for i in 0..30u32 {
        sound.put(format!("{}", i * 7 % 30), "v").unwrap();
    }
    let whole: Vec<Bytes> = (1..feed.length()).map(|i| feed.get(i).unwrap()).collect();
    let (mut random, mut total) = (Random(5), Outcome::default());
    for i in 0..whole.len() {
        for _ in 0..4 {
            let mut blocks = whole[..=i].to_vec();
            let mut bytes = blocks[i].to_vec();
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
            blocks[i] = bytes.into();
            let outcome = use_fully(&bee_of(&blocks), &mut random);
            total.answers += outcome.answers;
            total.errors += outcome.errors;
        }
    }
    assert!(total.answers > 100 && total.errors > 100, "{total:?}");
}

#[test]
fn an_index_too_long_for_any_tree_is_refused_before_it_is_unpacked() {
    let long = node("a", None, &[(vec![1; 70_000], vec![])]);
    assert_eq!(Node::parse(&long), None);
    let deep = |seq: u64| match seq {
        1 => node("a", Some("v"), &[(vec![1], vec![])]),
        _ => node("a", Some("v"), &[(vec![seq], vec![(seq - 1, 0), (seq - 1, 0)])]),
    };
    let bee = bee_of(&(1..200).map(deep).collect::<Vec<_>>());
    assert!(matches!(bee.get("0"), Err(ReadError::Malformed { .. })));
    assert!(bee.range(Range::all()).find_map(Result::err).is_some());
}

#[test]
fn a_log_that_is_no_bee_is_told() {
    let feed = MemoryFeed::create(KeyPair::from_seed(&[1; 32]));
    let bee = Bee::new(Arc::new(feed.clone()), Options::default());
    assert_eq!(bee.header().unwrap(), None);
    feed.append(&[Bytes::from_static(b"hello"), Bytes::from_static(b"world")]).unwrap();
    assert!(matches!(bee.header(), Err(ReadError::Malformed { seq: 0, .. })));
    assert!(matches!(bee.get("a"), Err(ReadError::Malformed { seq: 1, .. })));
}
