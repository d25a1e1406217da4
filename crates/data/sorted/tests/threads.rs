//! One writer, readers and compaction at the same time: every snapshot sees whole batches and never an older one than
//! the snapshot before.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use cloudpal_sorted::{Batch, MemoryPages, Options, Order, Progress, Sorted};
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const BATCHES: u32 = 3_000;
const KEYS: u32 = 50;

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The number of the batch that the snapshot sees: each batch writes its own to all keys.
fn seen(map: &Sorted<MemoryPages>, order: Order) -> u32 {
    let snapshot = map.snapshot();
    let mut values = Vec::new();
    let visit = &mut |_: &[u8], value: &bytes::Bytes| {
        values.push(number(value));
        ControlFlow::Continue(())
    };
    snapshot.scan((Bound::Included(b"shared"), Bound::Excluded(b"shares")), order, visit).unwrap();
    assert!(values.len() == KEYS as usize || values.is_empty(), "{} keys", values.len());
    assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "{values:?}");
    let first = values.first().copied().unwrap_or_default();
    let one = snapshot.get(b"shared0007").unwrap().map_or(0, |value| number(&value));
    assert_eq!(first, one);
    first
}

fn write(map: &Sorted<MemoryPages>) {
    for i in 1..=BATCHES {
        let mut batch = Batch::new();
        for key in 0..KEYS {
            batch.put(format!("shared{key:04}"), i.to_be_bytes());
        }
        batch.put(format!("own{i}"), [7; 100]);
        if i % 3 == 0 {
            batch.delete(format!("own{}", i - 1));
        }
        map.write(batch);
        if map.full() {
            map.freeze(i.to_be_bytes().to_vec().into());
        }
    }
}

fn read(map: &Sorted<MemoryPages>, ended: &AtomicBool, order: Order) -> usize {
    let (mut last, mut changes) = (0, 0);
    while !ended.load(Ordering::Relaxed) {
        let now = seen(map, order);
        assert!(now >= last, "{now} after {last}");
        changes += usize::from(now > last);
        last = now;
    }
    changes
}

#[test]
fn readers_see_whole_batches_in_their_order() {
    let pages = MemoryPages::new();
    let options = Options { memory: 60_000, block: 500, segment: 5_000 };
    let map = Sorted::open(pages.clone(), options).unwrap();
    let (ended, changes, steps) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for order in [Order::Ascending, Order::Descending] {
            let (map, ended, changes) = (&map, &ended, &changes);
            scope.spawn(move || changes.fetch_add(read(map, ended, order), Ordering::Relaxed));
        }
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                map.flush_frozen().unwrap();
                if map.compact().unwrap() == Progress::More {
                    steps.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        write(&map);
        ended.store(true, Ordering::Relaxed);
    });
    assert!(changes.into_inner() > 2 && steps.into_inner() > 2, "nothing happened at the same time");
    assert_eq!(seen(&map, Order::Ascending), BATCHES);
    map.flush(BATCHES.to_be_bytes().to_vec().into()).unwrap();
    while map.compact().unwrap() == Progress::More {}
    let again = Sorted::open(pages, options).unwrap();
    assert_eq!(seen(&again, Order::Descending), BATCHES);
    assert_eq!(again.mark().map(|mark| number(&mark)), Some(BATCHES));
    let own = again
        .snapshot()
        .cursor((Bound::Included(b"own"), Bound::Excluded(b"owo")), Order::Ascending)
        .unwrap();
    assert_eq!(own.count(), BATCHES as usize - BATCHES as usize / 3);
}
