//! Searching a tree, be it one of blocks or the draft of a batch.

use crate::cache::KeyBytes;
use crate::{Entry, ReadError};
use std::cmp::Ordering;

/// No tree is deeper: with four keys a node this is 4^32 entries. What is deeper runs in a circle.
pub(crate) const MAX_DEPTH: usize = 32;

/// A B-tree whose nodes hold keys in order and, unless they are leaves, one child more.
pub(crate) trait Tree {
    type Node: Clone;

    fn root(&mut self) -> Result<Option<Self::Node>, ReadError>;
    fn keys(&self, node: &Self::Node) -> usize;
    fn is_leaf(&self, node: &Self::Node) -> bool;
    fn key(&mut self, node: &Self::Node, i: usize) -> Result<KeyBytes, ReadError>;
    fn child(&mut self, node: &Self::Node, i: usize) -> Result<Self::Node, ReadError>;
    fn entry(&mut self, node: &Self::Node, i: usize) -> Result<Entry, ReadError>;
    /// The walk has gone into the child at `i`: memory that only holds it as it was read can go.
    fn release(&mut self, _node: &Self::Node, _i: usize) {}
    /// The block that `node` lies in.
    fn seq(&self, node: &Self::Node) -> u64;
}

/// Where a key lies in a node.
pub(crate) enum Place {
    /// It is the key at this position.
    Key(usize),
    /// It would be before the key at this position, in the child at it.
    Gap(usize),
}

/// Finds `key` among the keys of `node`.
pub(crate) fn search<T: Tree>(tree: &mut T, node: &T::Node, key: &[u8]) -> Result<Place, ReadError> {
    let (mut start, mut end) = (0, tree.keys(node));
    while start < end {
        let middle = (start + end) / 2;
        match key.cmp(&tree.key(node, middle)?) {
            Ordering::Equal => return Ok(Place::Key(middle)),
            Ordering::Less => end = middle,
            Ordering::Greater => start = middle + 1,
        }
    }
    Ok(Place::Gap(start))
}

/// The entry of `key`.
///
/// npm hyperbee 2.27 ends early at a node whose block put the key, and so now and then still finds a key that was
/// deleted: a node beside the key may stay where it was written together with the key. This searches to the end.
pub(crate) fn get<T: Tree>(tree: &mut T, key: &[u8]) -> Result<Option<Entry>, ReadError> {
    let Some(mut node) = tree.root()? else { return Ok(None) };
    for _ in 0..MAX_DEPTH {
        match search(tree, &node, key)? {
            Place::Key(i) => return tree.entry(&node, i).map(Some),
            Place::Gap(_) if tree.is_leaf(&node) => return Ok(None),
            Place::Gap(i) => node = tree.child(&node, i)?,
        }
    }
    Err(too_deep(tree.seq(&node)))
}

/// What a tree that never ends is.
pub(crate) fn too_deep(seq: u64) -> ReadError {
    ReadError::Malformed { seq, what: "the tree is deeper than any tree gets" }
}
