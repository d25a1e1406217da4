//! The tree of an operation or batch while it is made.
//!
//! npm hyperbee changes a graph of shared objects and writes out what is reachable at the end; which blocks come out
//! depends on which object is the same as which. So the graph is kept here as JS has it: nodes and child references
//! in two lists, referring to one another by position. `put`, `delete` and `write` do to it what JS does.

mod delete;
mod put;
mod write;

pub(crate) use put::PutCondition;

use crate::cache::KeyBytes;
use crate::reader::{Reader, TreeNode};
use crate::tree::{MAX_DEPTH, Tree, too_deep};
use crate::{Entry, ReadError};
use bytes::Bytes;

/// A node that falls below borrows or merges.
const MIN_KEYS: usize = 4;
/// A node that reaches this is split.
const MAX_CHILDREN: usize = 2 * MIN_KEYS + 1;

type NodeId = usize;
type ChildId = usize;

/// Operations not yet appended, on top of one version of a bee.
pub(crate) struct Draft {
    reader: Reader,
    nodes: Vec<DraftNode>,
    children: Vec<Child>,
    /// The root as read from the log, while nothing is pending.
    old_root: Option<NodeId>,
    pending: Vec<Pending>,
    /// Whether putting an equal value is an operation.
    pub duplicates: Duplicates,
}

/// What to do when a key is put with the value it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// Append it, as npm does unless told otherwise.
    #[default]
    Append,
    /// Append nothing.
    Skip,
}

struct DraftNode {
    /// The block it was read from or will be written to; 0 while it has none.
    seq: u64,
    keys: Vec<Key>,
    children: Vec<ChildId>,
    changed: bool,
}

#[derive(Clone)]
struct Key {
    seq: u64,
    bytes: Option<KeyBytes>,
}

struct Child {
    seq: u64,
    offset: u64,
    node: Option<NodeId>,
}

/// An operation with the nodes it changed.
struct Pending {
    key: KeyBytes,
    value: Option<Bytes>,
    root: NodeId,
    index: Vec<ChildId>,
}

impl Draft {
    /// A draft on top of the version of `reader`.
    pub fn new(reader: Reader, duplicates: Duplicates) -> Self {
        Draft {
            reader,
            nodes: Vec::new(),
            children: Vec::new(),
            old_root: None,
            pending: Vec::new(),
            duplicates,
        }
    }

    /// Length of the log that the draft is made for.
    pub fn base(&self) -> u64 {
        self.reader.version()
    }

    /// Number of operations that will be appended.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    fn next_seq(&self) -> u64 {
        self.base() + self.pending.len() as u64
    }

    /// The root to change; none in an empty bee.
    fn writable_root(&mut self) -> Result<Option<NodeId>, ReadError> {
        if let Some(last) = self.pending.last() {
            return Ok(Some(last.root));
        }
        if self.base() < 2 {
            return Ok(None);
        }
        let root = match self.old_root {
            Some(root) => root,
            None => {
                let root = self.reader.tree_node(self.base() - 1, 0)?;
                self.adopt(&root)
            }
        };
        // JS makes this object anew each time, while what hangs below it stays.
        self.nodes[root].changed = false;
        self.old_root = Some(root);
        Ok(Some(root))
    }

    fn adopt(&mut self, node: &TreeNode) -> NodeId {
        let level = node.level();
        let first = self.children.len();
        let pairs = level.children.chunks_exact(2);
        self.children.extend(pairs.map(|pair| Child { seq: pair[0], offset: pair[1], node: None }));
        let keys = level.keys.iter().map(|&seq| Key { seq, bytes: None }).collect();
        let children = (first..self.children.len()).collect();
        self.add(DraftNode { seq: node.seq, keys, children, changed: false })
    }

    fn add(&mut self, node: DraftNode) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn add_child(&mut self, child: Child) -> ChildId {
        self.children.push(child);
        self.children.len() - 1
    }

    /// The key at `i` of `node`, read if it was not yet.
    fn load_key(&mut self, node: NodeId, i: usize) -> Result<&KeyBytes, ReadError> {
        if self.nodes[node].keys[i].bytes.is_none() {
            let bytes = self.key_of(self.nodes[node].keys[i].seq)?;
            self.nodes[node].keys[i].bytes = Some(bytes);
        }
        let missing = ReadError::Malformed { seq: self.nodes[node].seq, what: "a key is missing" };
        self.nodes[node].keys[i].bytes.as_ref().ok_or(missing)
    }

    fn key_of(&self, seq: u64) -> Result<KeyBytes, ReadError> {
        match self.pending_at(seq) {
            Some(operation) => Ok(operation.key.clone()),
            None => self.reader.key(seq),
        }
    }

    fn pending_at(&self, seq: u64) -> Option<&Pending> {
        self.pending.get(usize::try_from(seq.checked_sub(self.base())?).ok()?)
    }

    /// The child at `i` of `node`, read if it was not yet.
    fn load_child(&mut self, node: NodeId, i: usize) -> Result<NodeId, ReadError> {
        let id = self.nodes[node].children[i];
        if let Some(child) = self.children[id].node {
            return Ok(child);
        }
        let read = self.reader.tree_node(self.children[id].seq, self.children[id].offset)?;
        let child = self.adopt(&read);
        self.children[id].node = Some(child);
        Ok(child)
    }

    fn entry_of(&self, seq: u64) -> Result<Entry, ReadError> {
        if let Some(operation) = self.pending_at(seq) {
            let key = Bytes::copy_from_slice(&operation.key);
            return Ok(Entry { seq, key, value: operation.value.clone() });
        }
        let block = self.reader.block(seq)?;
        Ok(Entry { seq, key: block.key.clone(), value: block.value.clone() })
    }

    /// Puts `node` on a path from the root.
    fn push(&self, stack: &mut Vec<NodeId>, node: NodeId) -> Result<(), ReadError> {
        if stack.len() >= MAX_DEPTH {
            return Err(too_deep(self.nodes[node].seq));
        }
        stack.push(node);
        Ok(())
    }
}

/// A node as a reader of the draft sees it: part of the draft, or untouched in the log.
#[derive(Clone)]
pub(crate) enum Seen {
    Draft(NodeId),
    Log(TreeNode),
}

impl Tree for &mut Draft {
    type Node = Seen;

    fn root(&mut self) -> Result<Option<Seen>, ReadError> {
        Ok(self.writable_root()?.map(Seen::Draft))
    }

    fn keys(&self, node: &Seen) -> usize {
        match node {
            Seen::Draft(node) => self.nodes[*node].keys.len(),
            Seen::Log(node) => self.reader.keys(node),
        }
    }

    fn is_leaf(&self, node: &Seen) -> bool {
        match node {
            Seen::Draft(node) => self.nodes[*node].children.is_empty(),
            Seen::Log(node) => self.reader.is_leaf(node),
        }
    }

    fn key(&mut self, node: &Seen, i: usize) -> Result<KeyBytes, ReadError> {
        match node {
            Seen::Draft(node) => self.load_key(*node, i).cloned(),
            Seen::Log(node) => self.reader.key(node.level().keys[i]),
        }
    }

    fn child(&mut self, node: &Seen, i: usize) -> Result<Seen, ReadError> {
        let (seq, offset) = match node {
            Seen::Log(node) => node.child(i),
            Seen::Draft(node) => {
                let child = &self.children[self.nodes[*node].children[i]];
                if let Some(node) = child.node {
                    return Ok(Seen::Draft(node));
                }
                (child.seq, child.offset)
            }
        };
        self.reader.tree_node(seq, offset).map(Seen::Log)
    }

    fn release(&mut self, node: &Seen, i: usize) {
        if let Seen::Draft(node) = node
            && self.nodes[*node].seq < self.base()
        {
            let child = self.nodes[*node].children[i];
            self.children[child].node = None;
        }
    }

    fn entry(&mut self, node: &Seen, i: usize) -> Result<Entry, ReadError> {
        match node {
            Seen::Draft(node) => self.entry_of(self.nodes[*node].keys[i].seq),
            Seen::Log(node) => self.entry_of(node.level().keys[i]),
        }
    }

    fn seq(&self, node: &Seen) -> u64 {
        match node {
            Seen::Draft(node) => self.nodes[*node].seq,
            Seen::Log(node) => node.seq,
        }
    }
}
