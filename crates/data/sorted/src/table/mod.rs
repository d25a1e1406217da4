//! What is in memory: a B+ tree whose nodes are shared with snapshots until they are changed.
//!
//! A clone is a counter that goes up, and it never changes: a writer copies a node first when someone else holds it
//! (`Arc::make_mut`), and changes it in place when nobody does. So an overwrite replaces, and versions pile up only as far
//! as snapshots look at them. Nothing is ever taken out of a tree: a deletion is an entry that says so.
//!
//! 100,000 puts of 116 bytes in random order take it a third of the time of a `crossbeam-skiplist` and two thirds of that
//! of a `BTreeMap` under a lock, both with a version in each key. A scan takes it longer than either, as it copies values.

mod cursor;
mod entry;
mod keys;

pub(crate) use cursor::TableCursor;
pub(crate) use entry::Entry;
use keys::Keys;
use std::sync::Arc;

/// Entries of a leaf and children of a branch, at most.
const WIDTH: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct Table {
    root: Arc<Node>,
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Leaf),
    Branch(Branch),
}

#[derive(Debug, Clone, Default)]
struct Leaf {
    keys: Keys,
    entries: Vec<Entry>,
}

/// Child `i` has the keys from `first[i - 1]` on and below `first[i]`.
#[derive(Debug, Clone)]
struct Branch {
    keys: Keys,
    first: Vec<Arc<[u8]>>,
    children: Vec<Arc<Node>>,
}

impl Default for Table {
    fn default() -> Self {
        Table { root: Arc::new(Node::Leaf(Leaf::default())), bytes: 0 }
    }
}

impl Table {
    /// Puts an entry in the place of the one with its key.
    pub fn insert(&mut self, entry: Entry) {
        self.bytes += entry.cost();
        let (replaced, split) = Arc::make_mut(&mut self.root).insert(entry);
        if let Some(old) = replaced {
            self.bytes -= old.cost();
        }
        if let Some((key, right)) = split {
            let children = vec![self.root.clone(), right];
            self.root = Arc::new(Node::Branch(Branch::new(vec![key], children)));
        }
    }

    /// The entry of a key, which may say that it was deleted.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.entries.get(leaf.find(key).ok()?),
                Node::Branch(branch) => node = &branch.children[branch.child_of(key)],
            }
        }
    }

    /// Bytes of memory, about, without what only snapshots still hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

type Split = (Arc<[u8]>, Arc<Node>);

impl Node {
    /// The entry that was replaced, and the right half when this node became too wide.
    fn insert(&mut self, entry: Entry) -> (Option<Entry>, Option<Split>) {
        match self {
            Node::Leaf(leaf) => leaf.insert(entry),
            Node::Branch(branch) => branch.insert(entry),
        }
    }
}

impl Leaf {
    fn new(entries: Vec<Entry>) -> Self {
        Leaf { keys: Keys::new(entries.iter().map(Entry::key)), entries }
    }

    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.keys.find(key, |at| self.entries[at].key())
    }

    fn insert(&mut self, entry: Entry) -> (Option<Entry>, Option<Split>) {
        let at = match self.find(entry.key()) {
            Ok(at) => return (Some(std::mem::replace(&mut self.entries[at], entry)), None),
            Err(at) => at,
        };
        let alike = self.keys.insert(at, entry.key());
        self.entries.insert(at, entry);
        if self.entries.len() <= WIDTH {
            if !alike {
                self.keys = Keys::new(self.entries.iter().map(Entry::key));
            }
            return (None, None);
        }
        let mut right = self.entries.split_off(middle(self.entries.len(), at));
        right.reserve_exact(WIDTH + 1 - right.len());
        self.keys = Keys::new(self.entries.iter().map(Entry::key));
        let key = Arc::from(right[0].key());
        (None, Some((key, Arc::new(Node::Leaf(Leaf::new(right))))))
    }
}

impl Branch {
    fn new(first: Vec<Arc<[u8]>>, children: Vec<Arc<Node>>) -> Self {
        Branch { keys: Keys::new(first.iter().map(|key| &**key)), first, children }
    }

    fn child_of(&self, key: &[u8]) -> usize {
        match self.keys.find(key, |at| &self.first[at]) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }

    fn insert(&mut self, entry: Entry) -> (Option<Entry>, Option<Split>) {
        let at = self.child_of(entry.key());
        let (replaced, split) = Arc::make_mut(&mut self.children[at]).insert(entry);
        let Some((key, right)) = split else { return (replaced, None) };
        self.first.insert(at, key);
        self.children.insert(at + 1, right);
        let split = self.split(at + 1);
        self.keys = Keys::new(self.first.iter().map(|key| &**key));
        (replaced, split)
    }

    fn split(&mut self, inserted: usize) -> Option<Split> {
        if self.children.len() <= WIDTH {
            return None;
        }
        let middle = middle(self.children.len(), inserted);
        let children = self.children.split_off(middle);
        let first = self.first.split_off(middle);
        let key = self.first.pop()?;
        Some((key, Arc::new(Node::Branch(Branch::new(first, children)))))
    }
}

/// Where to split. Keys that come in rising order leave full nodes behind.
fn middle(length: usize, inserted: usize) -> usize {
    if inserted + 1 == length { length - 2 } else { length / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Order;
    use std::collections::BTreeMap;
    use std::ops::Bound;

    type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn entry(key: u64, value: Option<u64>) -> Entry {
        let value = value.map(u64::to_be_bytes);
        Entry::new(&key.to_be_bytes(), value.as_ref().map(|value| &value[..]), &mut Vec::new())
    }

    fn all(table: &Table, order: Order) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut cursor = TableCursor::new(table, Bound::Unbounded, order);
        let mut found = Vec::new();
        while let Some(entry) = cursor.entry() {
            found.push((entry.key().to_vec(), entry.value().map(<[u8]>::to_vec)));
            cursor.advance();
        }
        found
    }

    #[test]
    fn a_clone_never_changes_and_an_overwrite_replaces() {
        let mut table = Table::default();
        let mut model = Model::new();
        let mut kept: Vec<(Table, Model)> = Vec::new();
        let mut random = 7_u64;
        for step in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = if step < 5_000 { step * 3 } else { (random >> 33) % 20_000 };
            let value = (!random.is_multiple_of(5)).then_some(step);
            table.insert(entry(key, value));
            model.insert(key.to_be_bytes().to_vec(), value.map(|v| v.to_be_bytes().to_vec()));
            if step % 1_777 == 0 {
                kept.push((table.clone(), model.clone()));
            }
        }
        kept.push((table, model));
        for (table, model) in kept {
            let expected: Vec<_> = model.into_iter().collect();
            let bytes: usize = expected
                .iter()
                .map(|(k, v)| k.len() + v.as_ref().map_or(0, Vec::len) + entry(0, None).cost() - 8)
                .sum();
            assert_eq!(table.bytes(), bytes);
            assert_eq!(all(&table, Order::Ascending), expected);
            let reversed: Vec<_> = expected.into_iter().rev().collect();
            assert_eq!(all(&table, Order::Descending), reversed);
        }
    }

    #[test]
    fn seeks_honour_the_bound_in_both_directions() {
        let mut table = Table::default();
        (0..1_000).for_each(|i| table.insert(entry(i * 2, Some(i))));
        for probe in 0..2_001_u64 {
            let key = probe.to_be_bytes();
            let first = |bound, order| {
                TableCursor::new(&table, bound, order)
                    .entry()
                    .map(|entry| u64::from_be_bytes(entry.key().try_into().unwrap()))
            };
            let even = probe - probe % 2;
            let next = |from: u64| Some(from).filter(|from| *from < 2_000);
            assert_eq!(first(Bound::Included(&key[..]), Order::Ascending), next(probe + probe % 2));
            assert_eq!(first(Bound::Excluded(&key[..]), Order::Ascending), next(even + 2));
            assert_eq!(first(Bound::Included(&key[..]), Order::Descending), Some(even.min(1_998)));
            let below = (probe + probe % 2).checked_sub(2).map(|below| below.min(1_998));
            assert_eq!(first(Bound::Excluded(&key[..]), Order::Descending), below);
            assert_eq!(table.get(&key).is_some(), probe % 2 == 0 && probe < 2_000);
        }
    }
}
