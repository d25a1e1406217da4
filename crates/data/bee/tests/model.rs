//! Seeded random operations against a sorted map that remembers every version.
//! `BEE_SEEDS=FROM..UNTIL` runs other seeds.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use bytes::Bytes;
use cloudpal_bee::{Action, Bee, Duplicates, Entry, History, Options, Range, ReadError};
use cloudpal_log::{Feed, KeyPair, MemoryFeed};
use std::collections::BTreeMap;
use std::sync::Arc;

const STEPS: usize = 250;

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

type Map = BTreeMap<Vec<u8>, (u64, Option<Bytes>)>;

struct Model {
    now: Map,
    /// Versions that are whole, with the map as it was.
    past: Vec<(u64, Map)>,
    log: Vec<(Action, Vec<u8>, Option<Bytes>)>,
}

struct World {
    random: Random,
    feed: MemoryFeed,
    bee: Bee,
    subs: Vec<Vec<u8>>,
    options: Options,
    keys: u64,
    model: Model,
    /// How many were made, truncated or not.
    versions: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let feed = MemoryFeed::create(KeyPair::from_seed(&[1; 32]));
        let duplicates = [Duplicates::Append, Duplicates::Skip][random.below(2) as usize];
        let cache_bytes = [0, 2_000, 50_000, 1 << 20][random.below(4) as usize];
        let options = Options { duplicates, cache_bytes, ..Options::default() };
        let bee = Bee::new(Arc::new(feed.clone()), options.clone());
        let keys = [8, 60, 400][random.below(3) as usize];
        let model = Model { now: Map::new(), past: vec![(1, Map::new())], log: Vec::new() };
        let subs = vec![vec![], b"a\0".to_vec(), b"a\0b\0".to_vec()];
        World { random, feed, bee, subs, options, keys, model, versions: 0 }
    }

    fn sub(&mut self) -> (Bee, Vec<u8>) {
        match self.random.below(3) {
            0 => (self.bee.clone(), self.subs[0].clone()),
            1 => (self.bee.sub("a"), self.subs[1].clone()),
            _ => (self.bee.sub("a").sub("b"), self.subs[2].clone()),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let key = self.random.below(self.keys);
        if self.random.below(10) == 0 {
            vec![key as u8; (key % 3) as usize]
        } else {
            format!("k{key}").into()
        }
    }

    /// One write within a batch.
    fn write(&mut self, batch: &mut cloudpal_bee::Batch, prefix: &[u8], base: u64) {
        let key = self.key();
        let full = [prefix, &key].concat();
        let old = self.model.now.get(&full).cloned();
        let value = Bytes::from(format!("v{}", self.random.below(5)));
        let seq = base + batch.len() as u64;
        let agree = self.random.below(3) > 0;
        let written = match self.random.below(10) {
            0..5 => batch.put(&key, &value).unwrap(),
            5 => {
                let written = batch.put_if(&key, &value, |found, next| {
                    let found = found.map(|entry| (entry.seq, entry.value.clone()));
                    assert_eq!((found, &next.key[..]), (old.clone(), &key[..]));
                    agree
                });
                written.unwrap()
            }
            6..9 => return self.delete(batch, &key, full, seq),
            _ => {
                let deleted = batch.del_if(&key, |entry| {
                    assert_eq!(Some((entry.seq, entry.value.clone())), old);
                    agree
                });
                assert_eq!(deleted.unwrap(), (old.is_some() && agree).then_some(seq));
                if old.is_some() && agree {
                    self.deleted(full);
                }
                return;
            }
        };
        if let Some(written) = written {
            assert_eq!(written, seq);
            self.model.now.insert(full.clone(), (seq, Some(value.clone())));
            self.model.log.push((Action::Put, full, Some(value)));
        } else {
            let same = old.is_some_and(|(_, old)| old == Some(value));
            assert!(!agree || (self.options.duplicates == Duplicates::Skip && same));
        }
    }

    fn delete(&mut self, batch: &mut cloudpal_bee::Batch, key: &[u8], full: Vec<u8>, seq: u64) {
        let there = self.model.now.contains_key(&full);
        assert_eq!(batch.del(key).unwrap(), there.then_some(seq));
        if there {
            self.deleted(full);
        }
    }

    fn deleted(&mut self, full: Vec<u8>) {
        self.model.now.remove(&full);
        self.model.log.push((Action::Delete, full, None));
    }

    fn write_some(&mut self) {
        let (bee, prefix) = self.sub();
        let length = [1, 1, 3, 40][self.random.below(4) as usize];
        let mut batch = bee.batch();
        let base = self.feed.length().max(1);
        for _ in 0..length {
            self.write(&mut batch, &prefix, base);
            if self.random.below(8) == 0 {
                let range = self.range();
                let found: Vec<Entry> = batch.range(range.clone()).map(|entry| entry.unwrap()).collect();
                assert_eq!(found, expected(&self.model.now, &prefix, &range));
            }
        }
        let written = batch.flush().unwrap();
        assert_eq!(written.end, self.feed.length());
        if !written.is_empty() {
            self.versions += 1;
            self.model.past.push((written.end, self.model.now.clone()));
        }
    }

    fn range(&mut self) -> Range {
        let mut range = Range::all();
        range = match self.random.below(5) {
            0 => range.gt(self.key()),
            1 => range.gte(self.key()),
            2 => Range::prefix(self.key()),
            _ => range,
        };
        range = match self.random.below(5) {
            0 => range.lt(self.key()),
            1 => range.lte(self.key()),
            _ => range,
        };
        if self.random.below(2) == 0 {
            range = range.reverse();
        }
        if self.random.below(3) == 0 { range.limit(self.random.below(12)) } else { range }
    }

    fn read_some(&mut self) {
        let (bee, prefix) = self.sub();
        let (version, then) = self.pick();
        let snapshot = bee.checkout(version).unwrap();
        let range = self.range();
        let found: Vec<Entry> = snapshot.range(range.clone()).map(|entry| entry.unwrap()).collect();
        assert_eq!(found, expected(&then, &prefix, &range), "version {version}, {range:?}");
        assert_eq!(snapshot.peek(range.clone()).unwrap(), expected(&then, &prefix, &range.limit(1)).pop());
        let key = self.key();
        let found = snapshot.get(&key).unwrap().map(|entry| (entry.seq, entry.value));
        assert_eq!(found, then.get(&[prefix.clone(), key].concat()).cloned());
        self.compare_versions(&bee, &prefix);
        self.look_back(&bee, &prefix);
    }

    fn compare_versions(&mut self, bee: &Bee, prefix: &[u8]) {
        let ((a, left), (b, right)) = (self.pick(), self.pick());
        let range = self.range();
        let wanted = |map: &Map| {
            let all = Range::all();
            let entries = expected(map, prefix, &all).into_iter().filter(|entry| range.contains(&entry.key));
            entries.map(|entry| (entry.key.clone(), entry)).collect::<BTreeMap<_, _>>()
        };
        let (left, right) = (wanted(&left), wanted(&right));
        let mut keys: Vec<_> = left.keys().chain(right.keys()).collect();
        keys.sort();
        keys.dedup();
        let pairs = keys.into_iter().map(|key| (left.get(key).cloned(), right.get(key).cloned()));
        let differing: Vec<_> = pairs.filter(|(l, r)| l != r).collect();
        let found = bee.checkout(a).unwrap().diff(&bee.checkout(b).unwrap(), range.clone());
        let found: Vec<_> =
            found.map(|found| found.unwrap()).map(|found| (found.left, found.right)).collect();
        if found.len() < differing.len() {
            // Only a limit cuts it short.
            assert_eq!(found[..], differing[..found.len()], "{a} and {b}, {range:?}");
            assert!(format!("{range:?}").contains("limit: Some"));
        } else {
            assert_eq!(found, differing, "{a} and {b}, {range:?}");
        }
    }

    fn look_back(&mut self, bee: &Bee, prefix: &[u8]) {
        let length = self.model.log.len() as u64;
        let (from, until) = (1 + self.random.below(length + 1), self.random.below(length + 3));
        let limit = 1 + self.random.below(30);
        let mut wanted = History::all().from(from).until(until).limit(limit);
        let log = self.model.log.iter().enumerate().map(|(i, line)| (i as u64 + 1, line));
        let mut lines: Vec<_> = log.filter(|(seq, _)| (from..until).contains(seq)).collect();
        lines.retain(|(_, (_, key, _))| key.starts_with(prefix));
        if self.random.below(2) == 0 {
            wanted = wanted.reverse();
            lines.reverse();
        }
        let expected = lines.into_iter().take(limit as usize).map(|(seq, (action, key, value))| {
            (*action, Entry { seq, key: Bytes::copy_from_slice(&key[prefix.len()..]), value: value.clone() })
        });
        let found = bee.history(wanted).map(|operation| operation.unwrap());
        let found: Vec<_> = found.map(|operation| (operation.action, operation.entry)).collect();
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    fn pick(&mut self) -> (u64, Map) {
        self.model.past[self.random.below(self.model.past.len() as u64) as usize].clone()
    }

    fn reopen(&mut self) {
        self.bee = Bee::new(Arc::new(self.feed.clone()), self.options.clone());
    }

    /// Cuts the log at one of its versions and goes on from there.
    fn truncate(&mut self) {
        let keep = 1 + self.random.below(self.model.past.len() as u64) as usize;
        let (old, before) = (self.bee.snapshot(), self.model.now.clone());
        self.model.past.truncate(keep);
        let (version, then) = self.model.past[keep - 1].clone();
        if self.feed.length() < version {
            return;
        }
        self.feed.truncate(version).unwrap();
        self.model.now = then;
        self.model.log.truncate(version as usize - 1);
        // What was cached may still be read, and is as it was; then it ends with an error.
        let mut before = expected(&before, b"", &Range::all()).into_iter();
        for entry in old.range(Range::all()) {
            match entry {
                Ok(entry) => assert_eq!(Some(entry), before.next()),
                Err(error) => assert!(matches!(error, ReadError::Truncated { .. }), "{error}"),
            }
        }
    }
}

fn expected(map: &Map, prefix: &[u8], range: &Range) -> Vec<Entry> {
    let inside = map.iter().filter_map(|(key, (seq, value))| {
        let key = Bytes::copy_from_slice(key.strip_prefix(prefix)?);
        range.contains(&key).then(|| Entry { seq: *seq, key, value: value.clone() })
    });
    let mut entries: Vec<Entry> = inside.collect();
    let shown = format!("{range:?}");
    if shown.contains("Reverse") {
        entries.reverse();
    }
    let limit = shown.split_once("limit: Some(").map(|(_, rest)| rest.trim_end_matches([')', '}', ' ']));
    entries.truncate(limit.map_or(usize::MAX, |limit| limit.parse().unwrap()));
    entries
}

#[test]
fn a_bee_is_a_sorted_map_that_forgets_nothing() {
    let seeds = match std::env::var("BEE_SEEDS") {
        Ok(seeds) => {
            let (from, until) = seeds.split_once("..").unwrap();
            from.parse().unwrap()..until.parse().unwrap()
        }
        Err(_) => 0..24,
    };
    for seed in seeds {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            match world.random.below(20) {
                0..14 => world.write_some(),
                14..18 => world.read_some(),
                18 => world.reopen(),
                _ if world.random.below(3) == 0 => world.truncate(),
                _ => {}
            }
        }
        let all: Vec<Entry> = world.bee.range(Range::all()).map(|entry| entry.unwrap()).collect();
        assert_eq!(all, expected(&world.model.now, b"", &Range::all()));
        assert!(world.versions > 50);
    }
}
