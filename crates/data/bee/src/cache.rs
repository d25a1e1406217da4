//! Decoded blocks and keys, bounded by the bytes they take.

use crate::block::Node;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A key on its own, so that keeping it never keeps a whole block.
pub(crate) type KeyBytes = Arc<[u8]>;

/// What a map entry and the queue cost beside the thing itself, roughly.
const OVERHEAD: usize = 120;

/// Blocks larger than this are read again rather than kept.
const LARGEST_KEPT: usize = 64 * 1024;

/// One cache serves a bee, its sub-databases and its snapshots.
#[derive(Debug)]
pub(crate) struct Cache {
    budget: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    fork: u64,
    budget: usize,
    used: usize,
    nodes: Map<Arc<Node>>,
    keys: Map<KeyBytes>,
    /// Second chance: the oldest goes, unless it was used since it came here.
    queue: VecDeque<(Kind, u64)>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Node,
    Key,
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    cost: usize,
    used: bool,
}

type Map<T> = HashMap<u64, Slot<T>, BuildHasherDefault<SeqHasher>>;

/// Sequence numbers come from a log, but their spread through the table is ours: a multiplication is enough.
#[derive(Debug, Default)]
struct SeqHasher(u64);

impl Hasher for SeqHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 << 8 | u64::from(byte)));
    }

    fn write_u64(&mut self, seq: u64) {
        // 2^64 divided by the golden ratio, as Knuth has it (The Art of Computer Programming 3, 6.4).
        self.0 = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

impl Cache {
    pub fn new(budget: usize) -> Self {
        Cache {
            budget,
            inner: Mutex::new(Inner {
                fork: 0,
                budget,
                used: 0,
                nodes: Map::default(),
                keys: Map::default(),
                queue: VecDeque::new(),
            }),
        }
    }

    /// Most bytes that are kept.
    pub fn budget(&self) -> usize {
        self.budget
    }

    pub fn node(&self, fork: u64, seq: u64) -> Option<Arc<Node>> {
        self.at(fork)?.nodes.get_mut(&seq).map(Slot::take)
    }

    pub fn key(&self, fork: u64, seq: u64) -> Option<KeyBytes> {
        let mut inner = self.at(fork)?;
        if let Some(slot) = inner.keys.get_mut(&seq) {
            return Some(slot.take());
        }
        let key = KeyBytes::from(&*inner.nodes.get(&seq)?.value.key);
        inner.insert_key(seq, key.clone());
        Some(key)
    }

    pub fn insert_node(&self, fork: u64, seq: u64, node: &Arc<Node>) {
        let Some(mut inner) = self.at(fork) else { return };
        let body = node.key.len() + node.value.as_ref().map_or(0, Bytes::len);
        if body > LARGEST_KEPT || inner.nodes.contains_key(&seq) {
            return;
        }
        let cost = body + node.index.heap_bytes() + size_of::<Node>() + OVERHEAD;
        inner.nodes.insert(seq, Slot { value: node.clone(), cost, used: false });
        inner.account(Kind::Node, seq, cost);
    }

    pub fn insert_key(&self, fork: u64, seq: u64, key: KeyBytes) {
        if let Some(mut inner) = self.at(fork)
            && key.len() <= LARGEST_KEPT
        {
            inner.insert_key(seq, key);
        }
    }

    /// Bytes taken now.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.lock().used
    }

    /// The cache, if it is about `fork` or can be: what is known of older forks goes.
    fn at(&self, fork: u64) -> Option<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        if inner.fork > fork {
            return None;
        }
        if inner.fork < fork {
            inner.clear();
            inner.fork = fork;
        }
        Some(inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Slot<T> {
    fn take(&mut self) -> T {
        self.used = true;
        self.value.clone()
    }
}

impl Inner {
    fn insert_key(&mut self, seq: u64, key: KeyBytes) {
        if self.keys.contains_key(&seq) {
            return;
        }
        let cost = key.len() + size_of::<KeyBytes>() + OVERHEAD;
        self.keys.insert(seq, Slot { value: key, cost, used: false });
        self.account(Kind::Key, seq, cost);
    }

    fn account(&mut self, kind: Kind, seq: u64, cost: usize) {
        self.used += cost;
        self.queue.push_back((kind, seq));
        while self.used > self.budget {
            let Some((kind, seq)) = self.queue.pop_front() else { break };
            let freed = match kind {
                Kind::Node => second_chance(&mut self.nodes, seq),
                Kind::Key => second_chance(&mut self.keys, seq),
            };
            match freed {
                Some(cost) => self.used -= cost,
                None => self.queue.push_back((kind, seq)),
            }
        }
    }

    fn clear(&mut self) {
        self.nodes.clear();
        self.keys.clear();
        self.queue.clear();
        self.used = 0;
    }
}

/// Removes `seq` and returns what it cost, or spares it this once.
fn second_chance<T>(map: &mut Map<T>, seq: u64) -> Option<usize> {
    let Some(slot) = map.get_mut(&seq) else { return Some(0) };
    if std::mem::take(&mut slot.used) {
        return None;
    }
    map.remove(&seq).map(|slot| slot.cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_within_the_budget_and_used_keys_stay() {
        let cache = Cache::new(10_000);
        for seq in 0..10_000u64 {
            cache.insert_key(0, seq, KeyBytes::from(&seq.to_le_bytes()[..]));
            assert!(cache.key(0, 0).is_some());
            assert!(cache.used() <= 10_000);
        }
        assert!(cache.key(0, 5).is_none());
        assert!(cache.key(0, 9_999).is_some());
    }

    #[test]
    fn a_new_fork_forgets_the_old_one() {
        let cache = Cache::new(10_000);
        cache.insert_key(0, 1, KeyBytes::from(&b"old"[..]));
        assert!(cache.key(1, 1).is_none());
        cache.insert_key(0, 1, KeyBytes::from(&b"old"[..]));
        assert!(cache.key(1, 1).is_none() && cache.key(0, 1).is_none());
        assert!(cache.used() < 10_000);
    }
}
