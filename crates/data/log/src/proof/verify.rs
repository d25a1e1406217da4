//! Checking what a peer answered: npm hypercore 11.37.1 `lib/merkle-tree.js`, `verifyTree` and `verifyUpgrade`.

use super::{Proof, UpgradeProof, path};
use crate::tree::Misplaced;
use crate::{Manifest, Node, Prologue, Tree, flat, hash};

/// Nodes that a proof ties together, not yet to anything known.
#[derive(Debug, Default)]
pub(crate) struct Loose {
    /// Nodes whose sizes follow from hashes, once the root is known to be right.
    pub nodes: Vec<Node>,
    /// Nodes whose hashes do and whose sizes do not: a node and its sibling that were both only told. A parent's
    /// hash covers no more than the sum of their sizes, so a liar can move bytes from one to the other.
    pub told: Vec<Node>,
    /// The one above all others; none when there are none.
    pub root: Option<Node>,
}

/// Why the bytes of a proof cannot be true, whatever the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// A node is not where the proof needs one.
    #[error("node {wanted} is missing from the proof")]
    Gap {
        /// The node that should have come.
        wanted: u64,
    },
    /// A node past every possible log.
    #[error("node {0} cannot exist")]
    Index(u64),
    /// Sizes that add up to no number.
    #[error("the sizes in the proof are too large")]
    Size,
    /// A node that does not continue the tree.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// The longer tree ends inside what the log must begin with, or begins with something else.
    #[error("the proof does not begin with the log's prologue")]
    Prologue,
    /// More nodes than the proof needs.
    #[error("the proof has nodes that it does not need")]
    Surplus,
}

/// Nodes in the order in which a proof must use them; `extra` may be used in place of the one with its index.
struct Queue<'a> {
    nodes: std::slice::Iter<'a, Node>,
    extra: Option<Node>,
}

impl Queue<'_> {
    fn take(&mut self, wanted: u64) -> Result<Node, BadProof> {
        if self.extra.is_some_and(|extra| extra.index == wanted) {
            return self.extra.take().ok_or(BadProof::Gap { wanted });
        }
        self.nodes.next().filter(|node| node.index == wanted).copied().ok_or(BadProof::Gap { wanted })
    }

    fn is_empty(&self) -> bool {
        self.extra.is_none() && self.nodes.len() == 0
    }
}

/// Computes everything above the block, node and seek of `proof`; `body` is the hash of its body.
pub(crate) fn loose(proof: &Proof, body: Option<[u8; 32]>) -> Result<Loose, BadProof> {
    let mut loose = Loose::default();
    if let Some(first) = proof.seek.as_ref().and_then(|seek| seek.nodes.first().map(|_| &seek.nodes)) {
        loose.climb_from_told(check(first[0].index)?, first)?;
    }
    if let Some(block) = &proof.block {
        let hash = body.unwrap_or_else(|| hash::leaf(&block.value));
        let leaf = Node { index: 2 * check(block.index)?, size: block.value.len() as u64, hash };
        let queue = Queue { nodes: block.nodes.iter(), extra: loose.root };
        loose.nodes.push(leaf);
        loose.climb(leaf, queue)?;
    } else if let Some(hash) = &proof.hash {
        loose.climb_from_told(check(hash.index)?, &hash.nodes)?;
    }
    Ok(loose)
}

const fn check(index: u64) -> Result<u64, BadProof> {
    // Blocks are asked for by number, nodes by twice that: half the limit is right for both.
    if index < flat::LIMIT / 2 { Ok(index) } else { Err(BadProof::Index(index)) }
}

impl Loose {
    /// Climbs from the first of `nodes`; the root so far stands in for one of the others.
    fn climb_from_told(&mut self, index: u64, nodes: &[Node]) -> Result<(), BadProof> {
        let mut queue = Queue { nodes: nodes.iter(), extra: self.root };
        let start = queue.take(index)?;
        if queue.is_empty() {
            // It may be the root so far, taken for itself.
            self.told.extend(self.root.is_none().then_some(start));
            self.root = Some(start);
            return Ok(());
        }
        let sibling_is_made = queue.extra.is_some_and(|extra| extra.index == flat::sibling(index));
        if sibling_is_made {
            self.nodes.push(start);
            return self.climb(start, queue);
        }
        let sibling = queue.take(flat::sibling(index))?;
        let parent = Node::parent(&start, &sibling).ok_or(BadProof::Size)?;
        self.told.extend([start, sibling]);
        self.nodes.push(parent);
        self.climb(parent, queue)
    }

    /// Climbs from a node whose size is right if its hash is.
    fn climb(&mut self, from: Node, mut queue: Queue<'_>) -> Result<(), BadProof> {
        let mut root = from;
        while !queue.is_empty() {
            if root.index >= flat::LIMIT {
                return Err(BadProof::Index(root.index));
            }
            let sibling = queue.take(flat::sibling(root.index))?;
            root = Node::parent(&root, &sibling).ok_or(BadProof::Size)?;
            self.nodes.push(sibling);
            self.nodes.push(root);
        }
        self.root = Some(root);
        Ok(())
    }
}

/// What an upgrade makes of a tree.
pub(crate) struct Grown {
    pub tree: Tree,
    /// Nodes of the new tree that the old one did not have.
    pub nodes: Vec<Node>,
    /// The loose root, when the upgrade did not use it.
    pub unused: Option<Node>,
}

/// Makes `tree` longer by what `upgrade` says; `root` may stand in for one of its nodes.
pub(crate) fn upgrade(
    mut tree: Tree,
    upgrade: &UpgradeProof,
    root: Option<Node>,
    manifest: Option<&Manifest>,
) -> Result<Grown, BadProof> {
    let prologue = manifest.and_then(|manifest| manifest.prologue.as_ref());
    if prologue.is_some_and(|prologue| breaks(prologue, upgrade)) {
        return Err(BadProof::Prologue);
    }
    let to = upgrade.start.checked_add(upgrade.length).filter(|to| *to < flat::LIMIT / 2);
    let to = to.ok_or(BadProof::Index(flat::LIMIT))?;
    let mut nodes = Vec::new();
    let mut queue = Queue { nodes: upgrade.nodes.iter(), extra: root };
    for index in path::path(tree.length(), to) {
        tree.push(queue.take(index)?, |node| nodes.push(node))?;
    }
    if queue.nodes.len() > 0 {
        return Err(BadProof::Surplus);
    }
    if prologue.is_some_and(|prologue| tree.length() == prologue.length && tree.hash() != prologue.hash) {
        return Err(BadProof::Prologue);
    }
    for node in &upgrade.additional_nodes {
        tree.push(*node, |node| nodes.push(node))?;
    }
    Ok(Grown { tree, nodes, unused: queue.extra })
}

/// Whether the upgrade begins inside the prologue without covering all of it.
const fn breaks(prologue: &Prologue, upgrade: &UpgradeProof) -> bool {
    upgrade.start < prologue.length && (upgrade.start != 0 || upgrade.length < prologue.length)
}
