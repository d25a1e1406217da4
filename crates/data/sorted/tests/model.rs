//! Seeded random schedules against a sorted map that remembers every version.
//! `SORTED_SEEDS=FROM..UNTIL` runs other seeds.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use bytes::Bytes;
use cloudpal_sorted::{Batch, MemoryPages, Options, Order, Pages as _, Progress, Snapshot, Sorted};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

const STEPS: usize = 400;

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

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

type Map = BTreeMap<Vec<u8>, Bytes>;

/// What a commit made lasting.
#[derive(Clone, Default)]
struct Lasting {
    /// How many commits since the last sync there are with it.
    commits: usize,
    mark: Option<Bytes>,
    map: Map,
}

struct World {
    random: Random,
    pages: MemoryPages,
    options: Options,
    map: Sorted<MemoryPages>,
    now: Map,
    lasting: Vec<Lasting>,
    snapshots: Vec<(Snapshot<MemoryPages>, Map)>,
    marks: u64,
    keys: u64,
    /// How often each kind of step did something: a schedule that does nothing proves nothing.
    seen: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let pages = MemoryPages::with_crashes();
        let options = Options {
            memory: random.one_of(&[0, 20_000, 200_000, 1 << 20]),
            block: random.one_of(&[1, 64, 300, 4_000]),
            segment: random.one_of(&[1, 500, 3_000, 100_000]),
        };
        let map = Sorted::open(pages.clone(), options).unwrap();
        // Segments of one entry each, but not thousands of them.
        let most = if options.segment == 1 { 60 } else { 3_000 };
        World {
            keys: random.one_of(&[5, 60, 400, 3_000]).min(most),
            random,
            pages,
            options,
            map,
            now: Map::new(),
            lasting: vec![Lasting::default()],
            snapshots: Vec::new(),
            marks: 0,
            seen: BTreeMap::new(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let key = self.random.below(self.keys);
        match self.random.below(12) {
            0 => vec![key as u8; (key % 4) as usize],
            1 => [&vec![b'k'; 300][..], &key.to_be_bytes()].concat(),
            _ => format!("k{key}").into(),
        }
    }

    fn value(&mut self) -> Bytes {
        let length = match self.random.below(300) {
            0 => 100_000,
            1..10 => 5_000,
            _ => self.random.below(40),
        };
        let byte = self.random.below(256) as u8;
        (0..length).map(|i| byte ^ i as u8).collect::<Vec<_>>().into()
    }

    fn write(&mut self) {
        let mut batch = Batch::new();
        let rising = self.random.below(8) == 0;
        for i in 0..self.random.one_of(&[1, 1, 7, 150]) {
            let key = if rising { format!("r{}-{i:04}", self.marks).into() } else { self.key() };
            if self.random.below(4) == 0 {
                batch.delete(&key);
                self.now.remove(&key);
            } else {
                let value = self.value();
                batch.put(&key, &value);
                self.now.insert(key, value);
            }
        }
        self.map.write(batch);
    }

    fn flush(&mut self) {
        self.marks += 1;
        let mark = Bytes::from(self.marks.to_string());
        if self.random.below(6) == 0 {
            self.pages.fail_after(Some(0));
            self.map.flush(mark.clone()).unwrap_err();
            self.pages.fail_after(None);
            self.check_some();
            if self.random.below(2) == 0 {
                self.write();
            }
        }
        let before = self.now.clone();
        self.map.freeze(mark.clone());
        if self.random.below(3) == 0 {
            self.write();
            self.check_some();
        }
        self.map.flush_frozen().unwrap();
        self.lasting.push(Lasting { commits: self.pages.unsynced(), mark: Some(mark), map: before });
        *self.seen.entry("flushes").or_default() += 1;
    }

    fn compact(&mut self) {
        let steps = self.random.one_of(&[1, 1, 3, 100_000]);
        for _ in 0..steps {
            if self.random.below(40) == 0 {
                self.pages.fail_after(Some(self.random.below(3)));
                let _ = self.map.compact();
                self.pages.fail_after(None);
            }
            if self.map.compact().unwrap() == Progress::Done {
                return self.settled();
            }
            *self.seen.entry("steps").or_default() += 1;
        }
        assert!(steps < 100_000, "compaction comes to an end");
    }

    /// Nothing is left to compact: there are few runs, and no page that nobody needs.
    fn settled(&self) {
        let usage = self.map.usage();
        assert!(usage.runs <= 3 * 10, "{usage:?}");
        if self.snapshots.is_empty() {
            self.no_orphans();
        }
    }

    fn no_orphans(&self) {
        let manifest = self.pages.get(0).unwrap().map_or(0, |page| page.len() as u64);
        assert_eq!(self.pages.bytes(), self.map.usage().pages + manifest);
    }

    fn clear(&mut self) {
        let commits = self.pages.unsynced() + 1;
        self.map.clear().unwrap();
        self.now.clear();
        self.lasting.push(Lasting { commits, ..Lasting::default() });
        assert_eq!((self.map.mark(), self.map.usage().pages), (None, 0));
    }

    fn sync(&mut self) {
        self.pages.sync();
        let last = self.lasting.pop().unwrap();
        self.lasting = vec![Lasting { commits: 0, ..last }];
    }

    fn crash(&mut self) {
        self.snapshots.clear();
        let commits = self.pages.unsynced() as u64;
        let keep = self.random.one_of(&[commits, self.random.0 % (commits + 1)]) as usize;
        self.pages.crash(keep);
        self.map = Sorted::open(self.pages.clone(), self.options).unwrap();
        self.no_orphans();
        self.lasting.retain(|lasting| lasting.commits <= keep);
        let Lasting { mark, map, .. } = self.lasting.last().unwrap().clone();
        assert_eq!(self.map.mark(), mark);
        self.now = map;
        self.sync();
        check_all(&self.map.snapshot(), &self.now);
        *self.seen.entry("crashes").or_default() += 1;
    }

    fn bound(&mut self, key: &[u8]) -> Bound<Vec<u8>> {
        match self.random.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(key.to_vec()),
            _ => Bound::Excluded(key.to_vec()),
        }
    }

    fn check_some(&mut self) {
        for _ in 0..3 {
            let key = self.key();
            assert_eq!(self.map.get(&key).unwrap(), self.now.get(&key).cloned(), "{key:?}");
            let (low, high) = (self.key(), self.key());
            let bounds = (self.bound(&low), self.bound(&high));
            let limit = self.random.one_of(&[1, 3, usize::MAX]);
            check_scan(&self.map.snapshot(), &self.now, &bounds, limit);
            if !self.snapshots.is_empty() {
                let at = self.random.below(self.snapshots.len() as u64) as usize;
                let (snapshot, then) = &self.snapshots[at];
                assert_eq!(snapshot.get(&key).unwrap(), then.get(&key).cloned(), "{key:?} then");
                check_scan(snapshot, then, &bounds, limit);
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..40 => self.write(),
            40..55 => self.flush(),
            55..75 => self.compact(),
            75..82 => self.snapshots.push((self.map.snapshot(), self.now.clone())),
            82..88 if !self.snapshots.is_empty() => {
                let at = self.random.below(self.snapshots.len() as u64) as usize;
                let (snapshot, then) = self.snapshots.swap_remove(at);
                check_all(&snapshot, &then);
            }
            88..91 => self.crash(),
            91..93 => self.sync(),
            93 if self.random.below(4) == 0 => self.clear(),
            _ => self.check_some(),
        }
    }
}

fn as_slices(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(|key| &key[..]), bounds.1.as_ref().map(|key| &key[..]))
}

fn within(key: &[u8], (low, high): &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    let above = match low {
        Bound::Included(low) => key >= &low[..],
        Bound::Excluded(low) => key > &low[..],
        Bound::Unbounded => true,
    };
    above
        && match high {
            Bound::Included(high) => key <= &high[..],
            Bound::Excluded(high) => key < &high[..],
            Bound::Unbounded => true,
        }
}

fn check_scan(
    snapshot: &Snapshot<MemoryPages>,
    model: &Map,
    bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>),
    limit: usize,
) {
    let mut expected: Vec<(Vec<u8>, Bytes)> =
        model.iter().filter(|(key, _)| within(key, bounds)).map(|(k, v)| (k.clone(), v.clone())).collect();
    for order in [Order::Ascending, Order::Descending] {
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], value: &Bytes| {
            found.push((key.to_vec(), value.clone()));
            if found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        snapshot.scan(as_slices(bounds), order, visit).unwrap();
        let expected_now = &expected[..limit.min(expected.len())];
        assert!(found == expected_now, "{bounds:?} {order:?}: {} of {}", found.len(), expected_now.len());
        let cursor = snapshot.cursor(as_slices(bounds), order).unwrap();
        let found: Vec<_> = cursor.take(limit).map(|entry| entry.unwrap()).collect();
        assert!(found.iter().map(|(k, v)| (&k[..], v)).eq(expected_now.iter().map(|(k, v)| (&k[..], v))));
        expected.reverse();
    }
}

fn check_all(snapshot: &Snapshot<MemoryPages>, model: &Map) {
    check_scan(snapshot, model, &(Bound::Unbounded, Bound::Unbounded), usize::MAX);
    for (key, value) in model {
        assert_eq!(snapshot.get(key).unwrap().as_ref(), Some(value), "{key:?}");
    }
}

fn run(seed: u64) -> BTreeMap<&'static str, usize> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.snapshots.clear();
    while world.map.compact().unwrap() == Progress::More {}
    world.settled();
    check_all(&world.map.snapshot(), &world.now);
    world.seen
}

#[test]
fn every_schedule_ends_as_the_model_says() {
    let given = std::env::var("SORTED_SEEDS").ok().and_then(|range| {
        let (from, until) = range.split_once("..")?;
        Some(from.parse::<u64>().ok()?..until.parse::<u64>().ok()?)
    });
    let mut seen = BTreeMap::<&str, usize>::new();
    for seed in given.unwrap_or(0..16) {
        let result = std::panic::catch_unwind(|| run(seed));
        let counts = result.unwrap_or_else(|_| panic!("seed {seed}"));
        counts.into_iter().for_each(|(what, count)| *seen.entry(what).or_default() += count);
    }
    println!("{seen:?}");
    for what in ["flushes", "steps", "crashes"] {
        assert!(seen.get(what).copied().unwrap_or_default() > 0, "no {what}");
    }
}
