//! The roots of a tree, and growing them.

use crate::codec::MAX_UINT;
use crate::{Node, flat, hash};

/// The roots of a log of some length and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    roots: Vec<Node>,
    length: u64,
    byte_length: u64,
    /// How often the log was truncated.
    pub fork: u64,
}

/// A node that does not fit at the end of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tree node {index} does not continue a log of {length} blocks")]
pub struct Misplaced {
    /// The node.
    pub index: u64,
    /// The tree's length.
    pub length: u64,
}

impl Tree {
    /// The tree of no blocks.
    pub const fn empty(fork: u64) -> Self {
        Tree { roots: Vec::new(), length: 0, byte_length: 0, fork }
    }

    /// From its roots, leftmost first. None when they are not the roots of any log.
    pub fn from_roots(roots: Vec<Node>, fork: u64) -> Option<Self> {
        let mut tree = Tree::empty(fork);
        for root in roots {
            let before = tree.roots.len();
            tree.push(root, |_| {}).ok()?;
            if tree.roots.len() != before + 1 {
                return None;
            }
        }
        Some(tree)
    }

    /// The same tree at another fork.
    #[must_use]
    pub fn at_fork(self, fork: u64) -> Self {
        Tree { fork, ..self }
    }

    /// The roots, leftmost first.
    pub fn roots(&self) -> &[Node] {
        &self.roots
    }

    /// Number of blocks.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of all blocks, with padding.
    pub const fn byte_length(&self) -> u64 {
        self.byte_length
    }

    /// The hash that is signed.
    pub fn hash(&self) -> [u8; 32] {
        hash::tree(&self.roots)
    }

    /// Puts `node` at the end, with the parents that it completes; `made` sees the node and each of them, upwards.
    pub fn push(&mut self, node: Node, mut made: impl FnMut(Node)) -> Result<(), Misplaced> {
        let misplaced = Misplaced { index: node.index, length: self.length };
        if node.index >= flat::LIMIT || flat::left_span(node.index) != 2 * self.length {
            return Err(misplaced);
        }
        let byte_length = self.byte_length.checked_add(node.size).filter(|bytes| *bytes <= MAX_UINT);
        let byte_length = byte_length.ok_or(misplaced)?;
        self.byte_length = byte_length;
        self.length += flat::leaves(node.index);
        made(node);
        let mut last = node;
        while let Some(left) = self.roots.last() {
            if flat::sibling(last.index) != left.index {
                break;
            }
            last = Node::parent(left, &last).ok_or(misplaced)?;
            self.roots.pop();
            made(last);
        }
        self.roots.push(last);
        Ok(())
    }

    /// Puts leaves of so many bytes at the end, as [`push`](Self::push) would one by one, but hashes the parents of a
    /// level together. Returns all nodes that are new.
    pub(crate) fn extend(&mut self, leaves: Vec<Node>) -> Result<Vec<Node>, Misplaced> {
        let first = self.length;
        for (leaf, block) in leaves.iter().zip(first..) {
            let misplaced = Misplaced { index: leaf.index, length: self.length };
            let byte_length = self.byte_length.checked_add(leaf.size).filter(|bytes| *bytes <= MAX_UINT);
            if leaf.index != 2 * block || leaf.index >= flat::LIMIT {
                return Err(misplaced);
            }
            self.byte_length = byte_length.ok_or(misplaced)?;
            self.length += 1;
        }
        let mut made = Vec::with_capacity(2 * leaves.len() + 8);
        let (mut level, mut alone) = (leaves, Vec::new());
        while !level.is_empty() {
            made.extend_from_slice(&level);
            let left = self.roots.last().filter(|root| flat::sibling(root.index) == level[0].index).copied();
            if let Some(left) = left {
                self.roots.pop();
                level.insert(0, left);
            }
            if level.len() % 2 == 1 {
                alone.extend(level.pop());
            }
            level = parents(&level);
        }
        self.roots.extend(alone.into_iter().rev());
        Ok(made)
    }
}

/// The parents of nodes of one level that lie side by side, two of a parent together. What is below the end of a tree
/// was added up before, so that sizes cannot overflow.
fn parents(children: &[Node]) -> Vec<Node> {
    let (pairs, _) = children.as_chunks::<2>();
    let hashes =
        hash::parents(pairs.iter().map(|[left, right]| (left.size + right.size, &left.hash, &right.hash)));
    let parent = |([left, right], hash): (&[Node; 2], _)| Node {
        index: flat::parent(left.index),
        size: left.size + right.size,
        hash,
    };
    pairs.iter().zip(hashes).map(parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_leaves_at_once_make_what_one_by_one_does() {
        for before in 0..40 {
            for count in 0..40 {
                let leaf = |block: u64| Node::leaf(block, &vec![block as u8; block as usize]);
                let mut one_by_one = Tree::empty(0);
                (0..before).for_each(|block| one_by_one.push(leaf(block), |_| {}).unwrap());
                let mut at_once = one_by_one.clone();
                let mut expected = Vec::new();
                for block in before..before + count {
                    one_by_one.push(leaf(block), |node| expected.push(node)).unwrap();
                }
                let mut made = at_once.extend((before..before + count).map(leaf).collect()).unwrap();
                made.sort_by_key(|node| node.index);
                expected.sort_by_key(|node| node.index);
                assert_eq!((at_once, made), (one_by_one, expected), "{count} behind {before}");
            }
        }
        let mut tree = Tree::empty(0);
        assert!(tree.extend(vec![Node::leaf(1, b"misplaced")]).is_err());
    }

    #[test]
    fn the_roots_are_those_of_the_length() {
        let mut tree = Tree::empty(0);
        for block in 0..200 {
            tree.push(Node::leaf(block, &[block as u8]), |_| {}).unwrap();
            let roots: Vec<u64> = tree.roots().iter().map(|node| node.index).collect();
            assert_eq!(roots, flat::roots(tree.length()).collect::<Vec<_>>());
            assert_eq!(Tree::from_roots(tree.roots().to_vec(), 0), Some(tree.clone()));
        }
        assert_eq!((tree.length(), tree.byte_length()), (200, 200));
    }

    #[test]
    fn a_node_out_of_place_is_refused() {
        let mut tree = Tree::empty(0);
        tree.push(Node::leaf(0, b"a"), |_| {}).unwrap();
        for index in [0, 1, 3, 4, 5, u64::MAX, flat::LIMIT] {
            let node = Node { index, ..Node::leaf(0, b"b") };
            assert_eq!(tree.push(node, |_| {}), Err(Misplaced { index, length: 1 }));
        }
        let huge = Node { size: u64::MAX, ..Node::leaf(1, b"b") };
        assert!(tree.push(huge, |_| {}).is_err());
    }
}
