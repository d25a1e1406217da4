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
}

#[cfg(test)]
mod tests {
    use super::*;

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
