use super::{Draft, MIN_KEYS, NodeId};
use crate::cache::KeyBytes;
use crate::tree::{MAX_DEPTH, Place, too_deep};
use crate::{Entry, ReadError};

/// Asks whether to delete the entry that is there.
pub(crate) type DeleteCondition<'a> = &'a mut dyn FnMut(&Entry) -> bool;

impl Draft {
    /// Deletes `key`; returns the block that will say so, or none if it is not there or `condition` kept it.
    pub fn delete(
        &mut self,
        key: KeyBytes,
        condition: Option<DeleteCondition<'_>>,
    ) -> Result<Option<u64>, ReadError> {
        let Some(root) = self.writable_root()? else { return Ok(None) };
        let seq = self.next_seq();
        let (mut stack, mut node) = (Vec::new(), root);
        let i = loop {
            self.push(&mut stack, node)?;
            match self.find(node, &key)? {
                Place::Key(i) => break i,
                Place::Gap(_) if self.nodes[node].children.is_empty() => return Ok(None),
                Place::Gap(i) => node = self.load_child(node, i)?,
            }
        };
        if let Some(condition) = condition {
            let old = self.entry_of(self.nodes[node].keys[i].seq)?;
            if !condition(&old) {
                return Ok(None);
            }
        }
        if self.nodes[node].children.is_empty() {
            self.remove_key(node, i);
        } else {
            self.replace_by_nearest(node, i, &mut stack)?;
        }
        for &node in &stack {
            self.nodes[node].changed = true;
        }
        let root = self.rebalance(stack)?;
        self.record(root, key, None);
        Ok(Some(seq))
    }

    /// Takes key `i` out, and the child after it.
    fn remove_key(&mut self, node: NodeId, i: usize) {
        let node = &mut self.nodes[node];
        node.keys.remove(i);
        if !node.children.is_empty() {
            let freed = node.children.remove(i + 1);
            // No block has index 0 as its own: what was written of this child is left out.
            self.children[freed].seq = 0;
        }
        node.changed = true;
    }

    /// Puts the key before or after key `i` in its place, whichever leaf has more, and takes it out of its leaf.
    fn replace_by_nearest(
        &mut self,
        node: NodeId,
        i: usize,
        stack: &mut Vec<NodeId>,
    ) -> Result<(), ReadError> {
        let before = self.path_down(node, i, Side::Last)?;
        let after = self.path_down(node, i + 1, Side::First)?;
        let keys = |path: &[NodeId]| path.last().map_or(0, |&leaf| self.nodes[leaf].keys.len());
        let (path, side) =
            if keys(&before) < keys(&after) { (after, Side::First) } else { (before, Side::Last) };
        for node in &path {
            self.push(stack, *node)?;
        }
        let leaf = path.last().copied().unwrap_or(node);
        let leaf_keys = &mut self.nodes[leaf].keys;
        let key = match side {
            _ if leaf_keys.is_empty() => {
                let seq = self.nodes[leaf].seq;
                return Err(ReadError::Malformed { seq, what: "a leaf has no key" });
            }
            Side::First => leaf_keys.remove(0),
            Side::Last => leaf_keys.remove(leaf_keys.len() - 1),
        };
        self.nodes[node].keys[i] = key;
        Ok(())
    }

    /// From child `i` of `node` to the leaf at the side.
    fn path_down(&mut self, node: NodeId, i: usize, side: Side) -> Result<Vec<NodeId>, ReadError> {
        let mut path = vec![self.load_child(node, i)?];
        for _ in 0..MAX_DEPTH {
            let node = path[path.len() - 1];
            let i = match (self.nodes[node].children.len(), side) {
                (0, _) => return Ok(path),
                (_, Side::First) => 0,
                (children, Side::Last) => children - 1,
            };
            path.push(self.load_child(node, i)?);
        }
        Err(too_deep(self.nodes[node].seq))
    }

    /// Lets nodes of the path that have too few keys borrow one or merge; returns the root, which may be a child of
    /// the old one.
    fn rebalance(&mut self, mut stack: Vec<NodeId>) -> Result<NodeId, ReadError> {
        let root = stack[0];
        while stack.len() > 1 {
            let (Some(node), Some(&parent)) = (stack.pop(), stack.last()) else { break };
            if self.nodes[node].keys.len() >= MIN_KEYS {
                return Ok(root);
            }
            let i = self.position(parent, node)?;
            let children = self.nodes[parent].children.len();
            let left = if i > 0 { Some(self.load_child(parent, i - 1)?) } else { None };
            let right = if i + 1 < children { Some(self.load_child(parent, i + 1)?) } else { None };
            let is_leaf = |node: NodeId| self.nodes[node].children.is_empty();
            if left.iter().chain(&right).any(|&sibling| is_leaf(sibling) != is_leaf(node)) {
                let seq = self.nodes[parent].seq;
                return Err(ReadError::Malformed { seq, what: "its children do not lie at one depth" });
            }
            if let Some(left) = left.filter(|&left| self.nodes[left].keys.len() > MIN_KEYS) {
                self.borrow_from_left(parent, i, left, node);
                return Ok(root);
            }
            if let Some(right) = right.filter(|&right| self.nodes[right].keys.len() > MIN_KEYS) {
                self.borrow_from_right(parent, i, node, right);
                return Ok(root);
            }
            match (left, right) {
                (Some(left), _) => self.merge(parent, i - 1, left, node),
                (None, Some(right)) => self.merge(parent, i, node, right),
                (None, None) => {
                    let seq = self.nodes[parent].seq;
                    return Err(ReadError::Malformed { seq, what: "a tree node has an only child" });
                }
            }
        }
        if self.nodes[root].keys.is_empty() && !self.nodes[root].children.is_empty() {
            return self.load_child(root, 0);
        }
        Ok(root)
    }

    fn position(&self, parent: NodeId, node: NodeId) -> Result<usize, ReadError> {
        let mut children = self.nodes[parent].children.iter();
        let found = children.position(|&child| self.children[child].node == Some(node));
        found.ok_or(ReadError::Malformed { seq: self.nodes[parent].seq, what: "a tree node lost its child" })
    }

    fn borrow_from_left(&mut self, parent: NodeId, i: usize, left: NodeId, node: NodeId) {
        let left = &mut self.nodes[left];
        left.changed = true;
        let (key, child) = (left.keys.pop(), left.children.pop());
        if let Some(key) = key {
            let down = std::mem::replace(&mut self.nodes[parent].keys[i - 1], key);
            self.nodes[node].keys.insert(0, down);
        }
        if let Some(child) = child {
            self.nodes[node].children.insert(0, child);
        }
    }

    fn borrow_from_right(&mut self, parent: NodeId, i: usize, node: NodeId, right: NodeId) {
        let right = &mut self.nodes[right];
        right.changed = true;
        let key = right.keys.remove(0);
        let child = (!right.children.is_empty()).then(|| right.children.remove(0));
        let down = std::mem::replace(&mut self.nodes[parent].keys[i], key);
        self.nodes[node].keys.push(down);
        self.nodes[node].children.extend(child);
    }

    /// Moves what is in `right` behind key `i` of `parent` into `left`.
    fn merge(&mut self, parent: NodeId, i: usize, left: NodeId, right: NodeId) {
        let keys = self.nodes[right].keys.clone();
        let children = self.nodes[right].children.clone();
        let median = self.nodes[parent].keys[i].clone();
        let left = &mut self.nodes[left];
        left.changed = true;
        left.keys.push(median);
        left.keys.extend(keys);
        left.children.extend(children);
        self.remove_key(parent, i);
    }
}

#[derive(Clone, Copy)]
enum Side {
    First,
    Last,
}
