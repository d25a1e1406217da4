use super::{Child, Draft, DraftNode, Duplicates, Key, MAX_CHILDREN, NodeId};
use crate::cache::KeyBytes;
use crate::tree::Place;
use crate::{Entry, ReadError};
use bytes::Bytes;
use std::cmp::Ordering;

/// Asks whether to put: told the entry that is there, if any, and the one to come.
pub(crate) type PutCondition<'a> = &'a mut dyn FnMut(Option<&Entry>, &Entry) -> bool;

impl Draft {
    /// Puts `key`; returns the block it will be in, or none if `condition` or equality kept it out.
    pub fn put(
        &mut self,
        key: KeyBytes,
        value: Option<Bytes>,
        condition: Option<PutCondition<'_>>,
    ) -> Result<Option<u64>, ReadError> {
        let root = match self.writable_root()? {
            Some(root) => root,
            None => self.add(DraftNode::new()),
        };
        let (mut stack, mut node) = (Vec::new(), root);
        let mut place = self.find(node, &key)?;
        while let (Place::Gap(i), false) = (&place, self.nodes[node].children.is_empty()) {
            self.push(&mut stack, node)?;
            // JS marks nodes on the way down, so they are written again even if this operation comes to nothing.
            self.nodes[node].changed = true;
            node = self.load_child(node, *i)?;
            place = self.find(node, &key)?;
        }
        if let Place::Key(_) = place
            && !self.nodes[node].children.is_empty()
        {
            self.nodes[node].changed = true;
        }
        let seq = self.next_seq();
        if !self.wanted(node, &place, seq, &key, &value, condition)? {
            return Ok(None);
        }
        let new = Key { seq, bytes: Some(key.clone()) };
        self.nodes[node].changed = true;
        let root = match place {
            Place::Key(i) => {
                self.nodes[node].keys[i] = new;
                root
            }
            Place::Gap(i) => {
                self.nodes[node].keys.insert(i, new);
                self.split_full(root, node, stack)?
            }
        };
        self.record(root, key, value);
        Ok(Some(seq))
    }

    fn wanted(
        &mut self,
        node: NodeId,
        place: &Place,
        seq: u64,
        key: &KeyBytes,
        value: &Option<Bytes>,
        condition: Option<PutCondition<'_>>,
    ) -> Result<bool, ReadError> {
        let old = match place {
            Place::Key(i) if condition.is_some() || self.duplicates == Duplicates::Skip => {
                Some(self.entry_of(self.nodes[node].keys[*i].seq)?)
            }
            _ => None,
        };
        if let Some(condition) = condition {
            let next = Entry { seq, key: Bytes::copy_from_slice(key), value: value.clone() };
            if !condition(old.as_ref(), &next) {
                return Ok(false);
            }
        }
        Ok(self.duplicates == Duplicates::Append || old.is_none_or(|old| old.value != *value))
    }

    /// Where `key` is or would be in `node`.
    pub(super) fn find(&mut self, node: NodeId, key: &[u8]) -> Result<Place, ReadError> {
        let (mut start, mut end) = (0, self.nodes[node].keys.len());
        while start < end {
            let middle = (start + end) / 2;
            match key.cmp(self.load_key(node, middle)?) {
                Ordering::Equal => return Ok(Place::Key(middle)),
                Ordering::Less => end = middle,
                Ordering::Greater => start = middle + 1,
            }
        }
        Ok(Place::Gap(start))
    }

    /// Splits `node` and then its parents as far as they are full; returns the root, which may be new.
    fn split_full(
        &mut self,
        root: NodeId,
        mut node: NodeId,
        mut stack: Vec<NodeId>,
    ) -> Result<NodeId, ReadError> {
        while self.nodes[node].keys.len() >= MAX_CHILDREN {
            let (median, right) = self.split(node)?;
            let right_child = self.add_child(Child { seq: 0, offset: 0, node: Some(right) });
            let Some(parent) = stack.pop() else {
                let left_child = self.add_child(Child { seq: 0, offset: 0, node: Some(node) });
                let mut root = DraftNode::new();
                root.keys.push(median);
                root.children.extend([left_child, right_child]);
                return Ok(self.add(root));
            };
            let bytes = median.bytes.clone().unwrap_or_default();
            let Place::Gap(i) = self.find(parent, &bytes)? else {
                let seq = self.nodes[parent].seq;
                return Err(ReadError::Malformed { seq, what: "a key is in the tree twice" });
            };
            let parent_node = &mut self.nodes[parent];
            parent_node.keys.insert(i, median);
            parent_node.children.insert((i + 1).min(parent_node.children.len()), right_child);
            parent_node.changed = true;
            node = parent;
        }
        Ok(root)
    }

    /// Moves the upper half of `node` to a new node; returns the key between the two, and the new node.
    fn split(&mut self, node: NodeId) -> Result<(Key, NodeId), ReadError> {
        let half = self.nodes[node].keys.len() / 2;
        let middle = self.nodes[node].keys.len() - half - 1;
        self.load_key(node, middle)?;
        let left = &mut self.nodes[node];
        let keys = left.keys.split_off(middle + 1);
        let children = match left.children.len() {
            0 => Vec::new(),
            children => left.children.split_off(children - half - 1),
        };
        let seq = left.seq;
        left.changed = true;
        let median = left.keys.remove(middle);
        let right = self.add(DraftNode { seq, keys, children, ..DraftNode::new() });
        Ok((median, right))
    }
}

impl DraftNode {
    fn new() -> Self {
        DraftNode { seq: 0, keys: Vec::new(), children: Vec::new(), changed: true }
    }
}
