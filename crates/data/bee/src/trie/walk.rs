//! Finding and listing keys in a hypertrie.

use super::node::{Path, TrieNode, ends_part};
use super::{Hypertrie, TrieEntry};
use crate::ReadError;
use std::collections::HashSet;
use std::sync::Arc;

/// Digits in the order in which they are put on the stack, so that the end of a key comes first.
const STACKED: [u64; 5] = [3, 2, 1, 0, 4];

/// A node and the block it is in.
pub(super) type Found = (u64, Arc<TrieNode>);

/// The node whose path begins with the first `length` digits of `wanted`.
pub(super) fn find(trie: &Hypertrie, wanted: &Path, length: u64) -> Result<Option<Found>, ReadError> {
    let Some(mut node) = trie.head()? else { return Ok(None) };
    let mut position = 0;
    while position < length {
        let digit = wanted.digit(position);
        let compare = ends_part(position);
        let path = node.1.path();
        if path.digit(position) == digit && !(compare && wanted.collides(path, position)) {
            position += 1;
            continue;
        }
        let next = if compare {
            among_colliding(trie, &node.1, wanted, position)?
        } else {
            let seq = node.1.named(position, digit).next();
            seq.map(|seq| trie.node(seq)).transpose()?.flatten()
        };
        match next {
            Some(next) => node = next,
            None => return Ok(None),
        }
        position += 1;
    }
    Ok(Some(node))
}

fn among_colliding(
    trie: &Hypertrie,
    node: &TrieNode,
    wanted: &Path,
    position: u64,
) -> Result<Option<Found>, ReadError> {
    let mut found = None;
    for seq in node.named(position, wanted.digit(position)) {
        let node = trie.node(seq)?;
        found = node.filter(|node| !node.1.path().collides(wanted, position)).or(found);
    }
    Ok(found)
}

/// Keys below a prefix, in the order of their paths.
pub(super) struct List {
    trie: Hypertrie,
    stack: Vec<(u64, u64, Arc<TrieNode>)>,
    /// In a sound trie no block is reached twice; in another, once is enough to come to an end.
    seen: HashSet<u64>,
    start: Option<Path>,
}

impl List {
    pub fn new(trie: Hypertrie, prefix: &str, hidden: u64) -> Self {
        List { trie, stack: Vec::new(), seen: HashSet::new(), start: Some(Path::new(prefix, hidden)) }
    }

    fn advance(&mut self) -> Result<Option<TrieEntry>, ReadError> {
        if let Some(prefix) = self.start.take() {
            let length = prefix.len() - 1;
            if let Some((seq, node)) = find(&self.trie, &prefix, length)? {
                self.stack.push((length, seq, node));
            }
        }
        while let Some((position, seq, node)) = self.stack.pop() {
            if position >= node.path().len() {
                return Ok(Some(TrieEntry::new(seq, &node)));
            }
            for digit in STACKED {
                self.branch(position, digit, seq, &node)?;
            }
        }
        Ok(None)
    }

    /// Stacks what goes on with `digit` at `position`: `node` itself or those it names.
    fn branch(&mut self, position: u64, digit: u64, seq: u64, node: &Arc<TrieNode>) -> Result<(), ReadError> {
        let first = self.stack.len();
        if node.path().digit(position) == digit {
            self.stack.push((position + 1, seq, node.clone()));
        }
        for next in node.named(position, digit) {
            if self.seen.insert(next)
                && let Some((next, node)) = self.trie.node(next)?
            {
                self.stack.push((position + 1, next, node));
            }
        }
        // Several only where keys collide: the smallest comes off first.
        if self.stack.len() - first > 1 {
            self.stack[first..].sort_by(|a, b| b.2.key.cmp(&a.2.key));
        }
        Ok(())
    }
}

impl Iterator for List {
    type Item = Result<TrieEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if let Some(Err(_)) = next {
            self.stack.clear();
        }
        next
    }
}
