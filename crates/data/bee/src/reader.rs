//! Blocks of one version, checked and cached.

use crate::Entry;
use crate::ReadError;
use crate::block::{Level, Node};
use crate::cache::{Cache, KeyBytes};
use crate::tree::Tree;
use bytes::Bytes;
use cloudpal_log::Feed;
use std::cell::Cell;
use std::sync::Arc;

/// Reads what lies below `version` as long as the log stays on one fork.
#[derive(Clone)]
pub(crate) struct Reader {
    feed: Arc<dyn Feed>,
    cache: Arc<Cache>,
    fork: u64,
    version: u64,
    /// Whether a block was missing here, so that it is worth asking peers ahead.
    sparse: Cell<bool>,
}

/// One tree node of a block.
#[derive(Clone)]
pub(crate) struct TreeNode {
    block: Arc<Node>,
    pub seq: u64,
    pub offset: u64,
}

impl TreeNode {
    pub fn level(&self) -> Level<'_> {
        self.block.index.level(self.offset).unwrap_or(Level { keys: &[], children: &[] })
    }

    pub fn child(&self, i: usize) -> (u64, u64) {
        let children = self.level().children;
        (children[2 * i], children[2 * i + 1])
    }
}

impl Reader {
    pub fn new(feed: Arc<dyn Feed>, cache: Arc<Cache>, fork: u64, version: u64) -> Self {
        Reader { feed, cache, fork, version, sparse: Cell::new(false) }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// Block `seq`, from the cache if possible.
    pub fn block(&self, seq: u64) -> Result<Arc<Node>, ReadError> {
        if let Some(node) = self.cache.node(self.fork, seq) {
            return Ok(node);
        }
        let node = Arc::new(unshared(self.fetch(seq)?));
        self.cache.insert_node(self.fork, seq, &node);
        Ok(node)
    }

    /// Block `seq`, which will hardly be asked for again.
    pub fn block_once(&self, seq: u64) -> Result<Arc<Node>, ReadError> {
        match self.cache.node(self.fork, seq) {
            Some(node) => Ok(node),
            None => self.fetch(seq).map(Arc::new),
        }
    }

    /// The key that block `seq` put.
    pub fn key(&self, seq: u64) -> Result<KeyBytes, ReadError> {
        if let Some(key) = self.cache.key(self.fork, seq) {
            return Ok(key);
        }
        let block = self.raw(seq)?;
        let key = KeyBytes::from(Node::key_of(&block).ok_or_else(|| unreadable(seq))?);
        self.cache.insert_key(self.fork, seq, key.clone());
        Ok(key)
    }

    /// The tree node at `offset` of block `seq`, if it is one that a writer could have made.
    pub fn tree_node(&self, seq: u64, offset: u64) -> Result<TreeNode, ReadError> {
        self.tree_node_of(self.block(seq)?, seq, offset)
    }

    fn tree_node_of(&self, block: Arc<Node>, seq: u64, offset: u64) -> Result<TreeNode, ReadError> {
        let broken = |what| ReadError::Malformed { seq, what };
        let level = block.index.level(offset).ok_or(broken("it lacks a tree node that another names"))?;
        let (keys, children) = (level.keys, level.children);
        if !children.is_empty() && (keys.is_empty() || children.len() != 2 * (keys.len() + 1)) {
            return Err(broken("a tree node has not one child more than keys"));
        }
        let behind = |number: &u64| (1..=seq).contains(number);
        if !keys.iter().all(behind) || !children.iter().step_by(2).all(behind) {
            return Err(broken("a tree node names a block that was not there yet"));
        }
        let node = TreeNode { block, seq, offset };
        if self.sparse.get() {
            self.ask_ahead(&node);
        }
        Ok(node)
    }

    /// JS asks for all of a node's blocks at once too, so that a search takes one round trip a level.
    fn ask_ahead(&self, node: &TreeNode) {
        let level = node.level();
        for &seq in level.keys.iter().chain(level.children.iter().step_by(2)) {
            if seq != node.seq {
                self.feed.prefetch(seq..seq + 1);
            }
        }
    }

    /// Keeps blocks that were just appended at the end of this version: they are likely to be read next. A batch that
    /// would push out most of what is kept is not.
    pub fn remember(&self, blocks: &[Bytes]) {
        let bytes: usize = blocks.iter().map(Bytes::len).sum();
        if bytes > self.cache.budget() / 4 || self.feed.fork() != self.fork {
            return;
        }
        for (seq, block) in (self.version..).zip(blocks) {
            if let Some(node) = Node::parse(block) {
                self.cache.insert_node(self.fork, seq, &Arc::new(unshared(node)));
            }
        }
    }

    fn fetch(&self, seq: u64) -> Result<Node, ReadError> {
        Node::parse(&self.raw(seq)?).ok_or_else(|| unreadable(seq))
    }

    fn raw(&self, seq: u64) -> Result<Bytes, ReadError> {
        if seq == 0 || seq >= self.version {
            return Err(ReadError::Malformed { seq, what: "it lies outside of the version that names it" });
        }
        let found = match self.feed.get_local(seq) {
            Ok(None) => {
                self.sparse.set(true);
                self.feed.get(seq)
            }
            Ok(Some(block)) => Ok(block),
            Err(error) => Err(error),
        };
        if self.feed.fork() != self.fork {
            return Err(ReadError::Truncated { version: self.version });
        }
        found.map_err(|source| ReadError::Block { seq, source })
    }
}

fn unreadable(seq: u64) -> ReadError {
    ReadError::Malformed { seq, what: "it does not parse" }
}

/// `node` with memory of its own, so that the cache knows what it keeps.
fn unshared(node: Node) -> Node {
    let keys = node.key.len();
    let value = node.value.as_deref();
    let both = Bytes::from([&node.key, value.unwrap_or_default()].concat());
    Node { key: both.slice(..keys), value: value.map(|_| both.slice(keys..)), index: node.index }
}

impl Tree for Reader {
    type Node = TreeNode;

    fn root(&mut self) -> Result<Option<TreeNode>, ReadError> {
        if self.version < 2 { Ok(None) } else { self.tree_node(self.version - 1, 0).map(Some) }
    }

    fn keys(&self, node: &TreeNode) -> usize {
        node.level().keys.len()
    }

    fn is_leaf(&self, node: &TreeNode) -> bool {
        node.level().children.is_empty()
    }

    fn key(&mut self, node: &TreeNode, i: usize) -> Result<KeyBytes, ReadError> {
        Reader::key(self, node.level().keys[i])
    }

    fn child(&mut self, node: &TreeNode, i: usize) -> Result<TreeNode, ReadError> {
        let (seq, offset) = node.child(i);
        if seq == node.seq {
            return self.tree_node_of(node.block.clone(), seq, offset);
        }
        self.tree_node(seq, offset)
    }

    fn entry(&mut self, node: &TreeNode, i: usize) -> Result<Entry, ReadError> {
        let seq = node.level().keys[i];
        let block = self.block(seq)?;
        Ok(Entry { seq, key: block.key.clone(), value: block.value.clone() })
    }

    fn seq(&self, node: &TreeNode) -> u64 {
        node.seq
    }
}
