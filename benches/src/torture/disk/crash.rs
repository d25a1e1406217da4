//! What can be on a disk that lost power after any of the recorded operations.
//!
//! Certain is only what a sync answered for: bytes and length of a file by `fsync` of that file, names by
//! `fsync` of their folder (POSIX promises no more; ext4 keeps more). Of what was not synced yet
//! anything may be there:
//!
//! | fate | of what was not synced |
//! | --- | --- |
//! | kept | all (a killed process) |
//! | dropped | nothing |
//! | torn | everything up to some moment, and a part of the operation at that moment |
//! | reordered | any sectors of any writes, any lengths, names up to some moment of each folder |

use super::tree::{Node, Op, Tree};
use crate::chance::Chance;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Disks write this much as a whole.
const SECTOR: u64 = 512;

/// What became of operations that no sync answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// All are there.
    Kept,
    /// None is there.
    Dropped,
    /// In order up to one that is there in part.
    Torn,
    /// Any of them are there.
    Reordered,
}

impl Fate {
    /// Every one, in the order of how much they ask of an engine.
    pub const ALL: [Fate; 4] = [Fate::Kept, Fate::Dropped, Fate::Torn, Fate::Reordered];
}

/// Walks through a list of operations and knows at each point what is certain.
pub struct History {
    ops: Vec<Op>,
    at: usize,
    stable: Tree,
    pending: Vec<Op>,
    /// How many of the pending were written to each file before its last failed sync.
    doomed: BTreeMap<Node, usize>,
    /// How often a sync made something certain.
    pub syncs: u64,
    /// Steps that the program began so far.
    pub begun: u64,
    /// Steps that the program was told are done.
    pub done: u64,
}

impl History {
    /// Before the first operation, on a disk that holds `start` for certain.
    pub fn new(start: Tree, ops: Vec<Op>) -> Self {
        Self {
            ops,
            at: 0,
            stable: start,
            pending: Vec::new(),
            doomed: BTreeMap::new(),
            syncs: 0,
            begun: 0,
            done: 0,
        }
    }

    /// Goes on by one operation. None at the end; else whether the operation was one of the disk's, so
    /// that power can be lost after it.
    pub fn advance(&mut self) -> Option<bool> {
        let op = self.ops.get(self.at)?.clone();
        self.at += 1;
        match op {
            Op::Begun(step) => self.begun = step,
            Op::Done(step) => self.done = step,
            Op::Sync { node } => self.sync(node),
            Op::FailedSync { node } => {
                let of_node = |op: &&Op| bytes_of(op) == Some(node);
                self.doomed.insert(node, self.pending.iter().filter(of_node).count());
            }
            op => {
                self.pending.push(op);
                return Some(true);
            }
        }
        Some(!matches!(self.ops[self.at - 1], Op::Begun(_)))
    }

    /// Operations passed.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether power lost here leaves anything to chance.
    pub fn certain(&self) -> bool {
        self.pending.is_empty()
    }

    /// A disk that lost power here.
    pub fn image(&self, fate: Fate, chance: &mut Chance) -> Tree {
        let mut tree = self.stable.clone();
        match fate {
            Fate::Kept => self.pending.iter().for_each(|op| tree.apply(op)),
            Fate::Dropped => {}
            Fate::Torn => {
                let whole = chance.below(self.pending.len() as u64 + 1) as usize;
                self.pending[..whole].iter().for_each(|op| tree.apply(op));
                if let Some(op @ Op::Write { .. }) = self.pending.get(whole) {
                    sectors(op).filter(|_| chance.once_in(2)).for_each(|part| tree.apply(&part));
                }
            }
            Fate::Reordered => self.reordered(chance, &mut tree),
        }
        tree
    }

    fn reordered(&self, chance: &mut Chance, tree: &mut Tree) {
        // Sometimes nearly all, sometimes hardly any: faults hide at both ends.
        let kept_of_8 = 1 + chance.below(7);
        let mut stopped: Vec<Node> = Vec::new();
        for op in &self.pending {
            let keep = chance.below(8) < kept_of_8;
            let folders = folders(op);
            match op {
                Op::Write { .. } => {
                    sectors(op).filter(|_| chance.below(8) < kept_of_8).for_each(|part| tree.apply(&part));
                }
                _ if folders.is_empty() => {
                    if keep {
                        tree.apply(op);
                    }
                }
                _ if keep && !folders.iter().any(|folder| stopped.contains(folder)) => tree.apply(op),
                _ => stopped.extend(folders),
            }
        }
    }

    fn sync(&mut self, node: Node) {
        let of_node = |op: &Op| folders(op).contains(&node) || bytes_of(op) == Some(node);
        let Some(last) = self.pending.iter().rposition(of_node) else { return };
        self.syncs += 1;
        // A rename between two folders brings along what was done to names before it.
        let crosses = |op: &Op| folders(op).len() > 1;
        let all_names = self.pending[..=last].iter().any(|op| of_node(op) && crosses(op));
        let pending = std::mem::take(&mut self.pending);
        let mut doomed = self.doomed.remove(&node).unwrap_or(0);
        for (number, op) in pending.into_iter().enumerate() {
            if doomed > 0 && bytes_of(&op) == Some(node) {
                doomed -= 1;
            } else if of_node(&op) || (all_names && number <= last && !folders(&op).is_empty()) {
                self.stable.apply(&op);
            } else {
                self.pending.push(op);
            }
        }
    }
}

/// The folders whose names an operation changes.
fn folders(op: &Op) -> Vec<Node> {
    match op {
        Op::Create { folder, .. } | Op::Remove { folder, .. } => vec![*folder],
        Op::Move { from, to } if from.0 == to.0 => vec![from.0],
        Op::Move { from, to } => vec![from.0, to.0],
        _ => Vec::new(),
    }
}

/// The file whose bytes or length an operation changes.
fn bytes_of(op: &Op) -> Option<Node> {
    match op {
        Op::Write { node, .. } | Op::Length { node, .. } => Some(*node),
        _ => None,
    }
}

/// A write in the pieces that a disk writes as a whole.
fn sectors(op: &Op) -> impl Iterator<Item = Op> {
    let (node, mut offset, data): (Node, u64, &[u8]) = match op {
        Op::Write { node, offset, data } => (*node, *offset, data),
        _ => (0, 0, &[]),
    };
    let mut left = data;
    std::iter::from_fn(move || {
        let room = (SECTOR - offset % SECTOR) as usize;
        let (now, later) = left.split_at(left.len().min(room));
        let part = Op::Write { node, offset, data: Arc::from(now) };
        (offset, left) = (offset + now.len() as u64, later);
        (!now.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tree::{Kind, ROOT};

    fn create(node: Node, name: &str) -> Op {
        Op::Create { folder: ROOT, name: name.into(), node, kind: Kind::File }
    }

    fn write(node: Node, offset: u64, data: &[u8]) -> Op {
        Op::Write { node, offset, data: data.into() }
    }

    fn bytes(tree: &Tree, name: &str) -> Option<Vec<u8>> {
        tree.find(ROOT, name.as_ref()).map(|node| tree.files[&node].read(0, 1 << 20))
    }

    fn at_end(ops: Vec<Op>) -> History {
        let mut history = History::new(Tree::default(), ops);
        while history.advance().is_some() {}
        history
    }

    #[test]
    fn only_what_a_sync_answered_for_is_certain() {
        let history = at_end(vec![
            create(2, "a"),
            write(2, 0, b"one"),
            Op::Sync { node: 2 },
            Op::Sync { node: ROOT },
            write(2, 3, b"two"),
            create(3, "b"),
        ]);
        let dropped = history.image(Fate::Dropped, &mut Chance::new(0));
        assert_eq!(bytes(&dropped, "a").unwrap(), b"one");
        assert_eq!(bytes(&dropped, "b"), None);
        let kept = history.image(Fate::Kept, &mut Chance::new(0));
        assert_eq!(bytes(&kept, "a").unwrap(), b"onetwo");
        assert!(bytes(&kept, "b").is_some());
    }

    #[test]
    fn a_synced_file_without_a_synced_name_is_lost() {
        let history = at_end(vec![create(2, "a"), write(2, 0, b"one"), Op::Sync { node: 2 }]);
        assert_eq!(bytes(&history.image(Fate::Dropped, &mut Chance::new(0)), "a"), None);
        let kept = history.image(Fate::Kept, &mut Chance::new(0));
        assert_eq!(bytes(&kept, "a").unwrap(), b"one", "the bytes were there before the name");
    }

    #[test]
    fn an_unsynced_write_can_tear_and_come_before_an_earlier_one() {
        let history = at_end(vec![
            create(2, "a"),
            Op::Sync { node: ROOT },
            write(2, 0, &[1; 2048]),
            write(2, 2048, &[2; 512]),
        ]);
        let images = |fate| (0..200).map(move |seed| (fate, seed));
        let torn = images(Fate::Torn).chain(images(Fate::Reordered)).map(|(fate, seed)| {
            let image = bytes(&history.image(fate, &mut Chance::new(seed)), "a").unwrap();
            (0..5).map(|n| image.get(n * 512).copied().unwrap_or_default()).collect::<Vec<_>>()
        });
        let torn: Vec<_> = torn.collect();
        assert!(torn.contains(&vec![1, 0, 1, 1, 0]), "a hole in a write");
        assert!(torn.contains(&vec![0, 0, 0, 0, 2]), "the later one only");
        assert!(torn.contains(&vec![1, 1, 1, 1, 2]), "both");
    }

    #[test]
    fn what_a_failed_sync_was_for_stays_lost_after_one_that_works() {
        let history = at_end(vec![
            create(2, "a"),
            Op::Sync { node: ROOT },
            write(2, 0, b"one"),
            Op::FailedSync { node: 2 },
            write(2, 3, b"two"),
            Op::Sync { node: 2 },
        ]);
        let dropped = history.image(Fate::Dropped, &mut Chance::new(0));
        assert_eq!(bytes(&dropped, "a").unwrap(), b"\0\0\0two");
    }

    #[test]
    fn a_rename_is_there_or_not_and_never_half() {
        let history = at_end(vec![
            create(2, "new"),
            create(3, "old"),
            Op::Sync { node: ROOT },
            Op::Move { from: (ROOT, "new".into()), to: (ROOT, "old".into()) },
        ]);
        let nodes: Vec<_> = (0..50)
            .map(|seed| history.image(Fate::Reordered, &mut Chance::new(seed)).folders[&ROOT].len())
            .collect();
        assert!(
            nodes.contains(&1) && nodes.contains(&2) && nodes.iter().all(|count| (1..=2).contains(count))
        );
    }
}
