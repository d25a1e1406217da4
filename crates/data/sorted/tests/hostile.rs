//! Damaged pages: every call answers or refuses, names the page, and ends.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use bytes::Bytes;
use cloudpal_sorted::{Batch, MemoryPages, OpenError, Options, Order, Pages, Progress, ReadError, Sorted};
use std::error::Error;
use std::ops::{Bound, ControlFlow};

const OPTIONS: Options = Options { memory: 1 << 20, block: 200, segment: 2_000 };
const KEYS: u32 = 200;

fn key(i: u32) -> Vec<u8> {
    format!("key{i:05}").into_bytes()
}

/// Several runs, one merge half done, a mark.
fn build() -> MemoryPages {
    let pages = MemoryPages::new();
    let map = Sorted::open(pages.clone(), OPTIONS).unwrap();
    for round in 0..6 {
        let mut batch = Batch::new();
        for i in (0..KEYS).filter(|i| (i * 7 + round) % 5 < 2) {
            if i % 11 == round { batch.delete(key(i)) } else { batch.put(key(i), [round as u8; 10]) }
        }
        map.write(batch);
        map.flush(round.to_string().into()).unwrap();
    }
    assert_eq!(map.compact().unwrap(), Progress::More);
    assert!(map.usage().runs > 2, "{:?}", map.usage());
    pages
}

fn copy(pages: &MemoryPages) -> MemoryPages {
    let other = MemoryPages::new();
    for number in pages.numbers() {
        other.damage(number, pages.get(number).unwrap());
    }
    other
}

/// Does everything there is to do. What it says of a page that it found damaged.
fn use_all(pages: MemoryPages) -> Vec<u64> {
    let mut named = Vec::new();
    let mut note = |error: &(dyn Error + 'static)| {
        let mut error = Some(error);
        while let Some(e) = error {
            if let Some(ReadError::Damaged { page, .. }) = e.downcast_ref() {
                named.push(*page);
            }
            error = e.source();
        }
    };
    let map = match Sorted::open(pages, OPTIONS) {
        Ok(map) => map,
        Err(error) => {
            note(&error);
            return named;
        }
    };
    for i in 0..KEYS {
        map.get(&key(i)).inspect_err(|error| note(error)).ok();
    }
    for order in [Order::Ascending, Order::Descending] {
        let mut last = None;
        let visit = &mut |key: &[u8], _: &Bytes| {
            if let Some(last) = last.replace(key.to_vec()) {
                assert!((order == Order::Ascending) == (key > &last[..]), "out of order");
            }
            ControlFlow::Continue(())
        };
        let scanned = map.snapshot().scan((Bound::Unbounded, Bound::Unbounded), order, visit);
        scanned.inspect_err(|error| note(error)).ok();
    }
    let mut batch = Batch::new();
    batch.put(key(KEYS), b"new");
    map.write(batch);
    map.flush(Bytes::new()).unwrap();
    for _ in 0..1_000 {
        match map.compact() {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => break,
            Err(error) => {
                note(&error);
                break;
            }
        }
    }
    map.clear().unwrap();
    assert_eq!(map.get(&key(KEYS)).unwrap(), None);
    named
}

#[test]
fn a_sound_map_names_nothing() {
    assert_eq!(use_all(build()), []);
}

#[test]
fn a_missing_page_is_named() {
    let pages = build();
    let numbers: Vec<u64> = pages.numbers().into_iter().filter(|number| *number > 0).collect();
    let mut seen = 0;
    for &number in &numbers {
        let damaged = copy(&pages);
        damaged.damage(number, None);
        let named = use_all(damaged);
        assert!(named.iter().all(|named| *named == number), "{number:#x}: {named:x?}");
        seen += usize::from(!named.is_empty());
    }
    // Not those that the merge has left behind.
    assert!(seen > numbers.len() / 2, "{seen} of {}", numbers.len());
}

#[test]
fn damaged_bytes_never_panic_and_most_are_seen() {
    let pages = build();
    let (mut tried, mut refused) = (0, 0);
    for number in pages.numbers() {
        let page = pages.get(number).unwrap().unwrap();
        for at in (0..page.len()).step_by(page.len() / 10 + 1) {
            for change in [&[][..], &[page[at] ^ 1], &[0xff; 9]] {
                let damaged = copy(&pages);
                damaged.damage(number, Some([&page[..at], change, &page[at + 1..]].concat().into()));
                tried += 1;
                refused += usize::from(!use_all(damaged).is_empty());
            }
        }
    }
    assert!(refused > tried / 3, "{refused} of {tried}");
}

#[test]
fn pages_in_each_others_place_never_panic() {
    let pages = build();
    let numbers = pages.numbers();
    for pair in numbers.windows(2) {
        let damaged = copy(&pages);
        damaged.damage(pair[0], pages.get(pair[1]).unwrap());
        use_all(damaged);
    }
}

#[test]
fn a_later_format_is_told() {
    let pages = MemoryPages::new();
    pages.damage(0, Some(Bytes::from_static(&[9, 1, 2, 3])));
    let error = Sorted::open(pages, OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 9, .. }), "{error}");
}
