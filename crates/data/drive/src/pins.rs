//! Blocks that must not be freed now: contents that are stored but not yet named by an entry.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The pins of one drive. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins(Arc<Mutex<Pinned>>);

#[derive(Debug, Default)]
pub(crate) struct Pinned {
    next: u64,
    ranges: BTreeMap<u64, Range<u64>>,
}

/// Keeps its blocks until dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    number: u64,
}

impl Pins {
    /// Keeps `blocks`. Waits while [`freeze`](Self::freeze) is held: blocks asked for then may be gone after it.
    pub fn pin(&self, blocks: Range<u64>) -> Pin {
        let mut pinned = self.freeze();
        let number = pinned.next;
        pinned.next += 1;
        pinned.ranges.insert(number, blocks);
        Pin { pins: self.clone(), number }
    }

    /// Lets nobody pin until dropped.
    pub fn freeze(&self) -> MutexGuard<'_, Pinned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pinned {
    /// All that is pinned.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.values().cloned()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.freeze().ranges.remove(&self.number);
    }
}

/// The parts of `from` that no range of `kept` covers, in order.
pub(crate) fn subtract(mut from: Vec<Range<u64>>, mut kept: Vec<Range<u64>>) -> Vec<Range<u64>> {
    from.sort_by_key(|range| range.start);
    kept.sort_by_key(|range| range.start);
    let mut left = Vec::new();
    // What lies below has been answered already, so blocks asked for twice come once.
    let mut done = 0;
    let mut first = 0;
    for range in from {
        let mut at = range.start.max(done);
        done = done.max(range.end);
        while kept.get(first).is_some_and(|keep| keep.end <= at) {
            first += 1;
        }
        for keep in kept[first..].iter().take_while(|keep| keep.start < range.end) {
            if keep.start > at {
                left.push(at..keep.start);
            }
            at = at.max(keep.end);
        }
        if at < range.end {
            left.push(at..range.end);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with sets of numbers over random ranges.
    #[test]
    fn subtracts_as_sets_do() {
        let mut x = 0x9e37_79b9_u64;
        let mut random = |below: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % below
        };
        for round in 0..2_000 {
            let mut ranges = |count| -> Vec<Range<u64>> {
                let mut range = || (random(40), random(12));
                (0..count).map(|_| range()).map(|(start, length)| start..start + length).collect()
            };
            let (from, kept) = (ranges(round % 5), ranges(round / 5 % 7));
            let numbers = |ranges: &[Range<u64>]| ranges.iter().cloned().flatten().collect::<Vec<u64>>();
            let mut expected = numbers(&from);
            let keep = numbers(&kept);
            expected.retain(|number| !keep.contains(number));
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(numbers(&subtract(from.clone(), kept.clone())), expected, "{from:?} - {kept:?}");
        }
    }

    #[test]
    fn a_pin_goes_when_dropped() {
        let pins = Pins::default();
        let (a, b) = (pins.pin(0..2), pins.pin(5..9));
        assert_eq!(pins.freeze().ranges().collect::<Vec<_>>(), [0..2, 5..9]);
        drop(a);
        assert_eq!(pins.freeze().ranges().next(), Some(5..9));
        drop(b);
        assert_eq!(pins.freeze().ranges().count(), 0);
    }
}
