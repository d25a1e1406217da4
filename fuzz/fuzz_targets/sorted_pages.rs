//! Pages of a sorted map: whatever they hold, opening, reading, writing, merging and clearing answer or refuse, and end.
#![no_main]
use bytes::Bytes;
use cloudpal_sorted::{Batch, MemoryPages, Options, Order, Progress, Sorted};
use std::ops::{Bound, ControlFlow};

const OPTIONS: Options = Options { memory: 10_000, block: 60, segment: 200 };

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let pages = MemoryPages::new();
    let mut rest = bytes;
    while let [segment, block, low, high, body @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(body.len());
        let number = u64::from(*segment) << 32 | u64::from(*block);
        pages.damage(number, Some(Bytes::copy_from_slice(&body[..length])));
        rest = &body[length..];
    }
    if let Ok(map) = Sorted::open(pages, OPTIONS) {
        use_map(&map, bytes);
    }
});

fn use_map(map: &Sorted<MemoryPages>, bytes: &[u8]) {
    let snapshot = map.snapshot();
    for order in [Order::Ascending, Order::Descending] {
        let mut last: Option<Vec<u8>> = None;
        let visit = &mut |key: &[u8], _: &Bytes| {
            if let Some(last) = last.replace(key.to_vec()) {
                assert!((order == Order::Ascending) == (key > &last[..]) && key != &last[..]);
            }
            let _ = snapshot.get(key);
            ControlFlow::Continue(())
        };
        let from = bytes.get(..2).unwrap_or_default();
        let _ = snapshot.scan((Bound::Unbounded, Bound::Unbounded), order, visit);
        let _ = snapshot.cursor((Bound::Excluded(from), Bound::Unbounded), order).map(Iterator::count);
    }
    let mut batch = Batch::new();
    batch.put("k5", "new");
    map.write(batch);
    map.flush(Bytes::new()).expect("a flush reads nothing");
    while matches!(map.compact(), Ok(Progress::More)) {}
    assert!(map.get(b"k5").expect("it is in the newest run").is_some());
    map.clear().expect("clearing reads nothing");
    assert_eq!(map.get(b"k5").expect("nothing is left"), None);
}
