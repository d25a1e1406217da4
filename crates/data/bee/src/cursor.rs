//! A position in a tree that moves over keys and whole subtrees.

use crate::cache::KeyBytes;
use crate::range::Direction;
use crate::tree::{MAX_DEPTH, Place, Tree, search, too_deep};
use crate::{Range, ReadError};
use std::ops::Bound;

/// Walks a tree in order. Each node on the stack has 2 * keys + 1 stops: children at even ones, keys at odd ones.
pub(crate) struct Cursor<T: Tree> {
    pub tree: T,
    direction: Direction,
    stack: Vec<(T::Node, isize)>,
    last: Option<KeyBytes>,
}

/// What a cursor points to.
pub(crate) enum Stop<N> {
    /// The child at this position of the node.
    Child(N, usize),
    /// The key at this position of the node.
    Key(N, usize),
}

impl<T: Tree> Cursor<T> {
    /// A cursor at the first entry of `range`.
    pub fn open(mut tree: T, range: &Range) -> Result<Self, ReadError> {
        let root = tree.root()?;
        let mut cursor = Cursor { tree, direction: range.direction, stack: Vec::new(), last: None };
        let Some(root) = root else { return Ok(cursor) };
        match range.first() {
            Bound::Unbounded => cursor.enter(root)?,
            Bound::Included(key) => cursor.seek(root, key, 0)?,
            Bound::Excluded(key) => cursor.seek(root, key, 1)?,
        }
        Ok(cursor)
    }

    fn seek(&mut self, mut node: T::Node, key: &[u8], skip: isize) -> Result<(), ReadError> {
        let step = self.direction.step();
        loop {
            let stop = match search(&mut self.tree, &node, key)? {
                Place::Key(i) => {
                    self.stack.push((node, 2 * i as isize + 1 + skip * step));
                    return Ok(());
                }
                Place::Gap(i) => i,
            };
            let leaf = self.tree.is_leaf(&node);
            let child = if leaf { None } else { Some(self.tree.child(&node, stop)?) };
            self.push(node, 2 * stop as isize + step)?;
            match child {
                Some(child) => node = child,
                None => return Ok(()),
            }
        }
    }

    fn push(&mut self, node: T::Node, stop: isize) -> Result<(), ReadError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(self.tree.seq(&node)));
        }
        self.stack.push((node, stop));
        Ok(())
    }

    /// Goes into `node`, to its first stop.
    pub fn enter(&mut self, node: T::Node) -> Result<(), ReadError> {
        let stop = match self.direction {
            Direction::Forward => 0,
            Direction::Reverse => 2 * self.tree.keys(&node) as isize,
        };
        self.push(node, stop)
    }

    /// What is next, without moving.
    pub fn peek(&mut self) -> Option<Stop<T::Node>> {
        loop {
            let (node, stop) = self.stack.last_mut()?;
            let keys = self.tree.keys(node);
            if *stop < 0 || *stop > 2 * keys as isize {
                self.stack.pop();
                continue;
            }
            let i = *stop as usize / 2;
            if *stop % 2 == 1 {
                return Some(Stop::Key(node.clone(), i));
            }
            if self.tree.is_leaf(node) {
                *stop += self.direction.step();
                continue;
            }
            return Some(Stop::Child(node.clone(), i));
        }
    }

    /// Goes past what [`peek`](Self::peek) shows.
    pub fn skip(&mut self) {
        if let Some((_, stop)) = self.stack.last_mut() {
            *stop += self.direction.step();
        }
    }

    /// Goes past the child at `i` of `node` and into it.
    pub fn descend(&mut self, node: &T::Node, i: usize) -> Result<(), ReadError> {
        let child = self.tree.child(node, i)?;
        self.tree.release(node, i);
        self.skip();
        self.enter(child)
    }

    /// Takes note of a key passed: in a sound tree each is greater (backwards: smaller) than the one before it. A
    /// tree that runs in circles is found out by this, so every walk ends.
    pub fn pass(&mut self, node: &T::Node, key: KeyBytes) -> Result<(), ReadError> {
        let sound = match (&self.last, self.direction) {
            (None, _) => true,
            (Some(last), Direction::Forward) => *last < key,
            (Some(last), Direction::Reverse) => *last > key,
        };
        if !sound {
            let seq = self.tree.seq(node);
            return Err(ReadError::Malformed { seq, what: "its keys are out of order" });
        }
        self.last = Some(key);
        Ok(())
    }

    /// The smallest key known to be past the child at `i` of the topmost node; none if nothing follows.
    pub fn bound(&mut self, node: &T::Node, i: usize) -> Result<Option<KeyBytes>, ReadError> {
        if i < self.tree.keys(node) {
            return self.tree.key(node, i).map(Some);
        }
        // Ancestors stand past the child they were left by: an odd stop is the key that follows it.
        for depth in (0..self.stack.len().saturating_sub(1)).rev() {
            let (node, stop) = self.stack[depth].clone();
            let next = stop.max(0) as usize / 2;
            if next < self.tree.keys(&node) {
                return self.tree.key(&node, next).map(Some);
            }
        }
        Ok(None)
    }

    /// Ends the walk.
    pub fn stop(&mut self) {
        self.stack.clear();
    }
}
