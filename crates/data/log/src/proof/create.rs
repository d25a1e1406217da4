//! Making proofs: npm hypercore 11.37.1 `lib/merkle-tree.js`, `generateProof` and what it calls. Peers expect
//! the nodes in exactly this order.

use super::{HashProof, ProofRequest, SeekProof, SeekRequest, UpgradeProof, path};
use crate::{Node, Prologue, StorageError, Tree, flat};
use bytes::Bytes;

/// Where nodes come from.
pub(crate) trait Nodes {
    /// Node `index`, or none when it is not held here.
    fn node(&self, index: u64) -> Result<Option<Node>, StorageError>;
}

/// Why a request has no answer here.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request makes no sense for a log of this length.
    #[error("the request makes no sense: {0}")]
    Invalid(&'static str),
    /// It asks about another fork.
    #[error("the request is about fork {asked}, the log is at fork {fork}")]
    Fork {
        /// What it asks about.
        asked: u64,
        /// What the log is at.
        fork: u64,
    },
    /// Something that it takes is not on this device.
    #[error("a block or node that the answer needs is not on this device")]
    NotHeld,
    /// The engine below.
    #[error("cannot read what the answer needs")]
    Storage(#[from] StorageError),
}

impl RequestError {
    /// Whether the peer asked for what cannot be; an honest one may, just after the log changed.
    pub const fn is_senseless(&self) -> bool {
        matches!(self, RequestError::Invalid(_))
    }
}

/// The parts of an answer that are made of nodes.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub block: Option<Vec<Node>>,
    pub hash: Option<HashProof>,
    pub seek: Option<SeekProof>,
    pub upgrade: Option<UpgradeProof>,
}

/// What is being made.
#[derive(Default)]
struct Pending {
    node: Option<Vec<Node>>,
    seek: Option<Vec<Node>>,
}

/// The node that was asked for.
#[derive(Clone, Copy)]
struct Wanted {
    index: u64,
    parents: u64,
    last_block: u64,
    with_body: bool,
}

struct Maker<'a, N> {
    tree: &'a Tree,
    nodes: &'a N,
    wanted: Option<Wanted>,
    seek: Option<SeekRequest>,
    pending: Pending,
}

/// The nodes that answer `request` about `tree`, which must not be empty.
pub(crate) fn create<N: Nodes>(
    tree: &Tree,
    nodes: &N,
    request: &ProofRequest,
    prologue: Option<&Prologue>,
    signature: &Bytes,
) -> Result<Parts, RequestError> {
    let mut upgrade = request.upgrade;
    if let (Some(upgrade), Some(prologue)) = (&mut upgrade, prologue)
        && upgrade.start < prologue.length
    {
        upgrade.start = 0;
        upgrade.length = prologue.length;
    }
    let length = tree.length();
    let from = upgrade.map_or(0, |upgrade| upgrade.start);
    let to = upgrade.map_or(Some(length), |upgrade| upgrade.start.checked_add(upgrade.length));
    let to = to.filter(|to| from < *to && *to <= length).ok_or(RequestError::Invalid("upgrade"))?;
    let wanted = wanted(request, to)?;
    if request.seek.is_some() && upgrade.is_some() && wanted.is_some_and(|wanted| wanted.index >= 2 * from) {
        return Err(RequestError::Invalid("a seek and a block in the part that is new"));
    }
    let mut maker = Maker { tree, nodes, wanted, seek: request.seek, pending: Pending::default() };
    let mut subtree = None;
    match (wanted, upgrade) {
        (Some(wanted), upgrade) if upgrade.is_none_or(|_| wanted.last_block < from) => {
            let root = climb(wanted, to)?;
            let seek_root = maker.seek.map(|seek| maker.seek_within(root, seek)).transpose()?;
            maker.block_and_seek(seek_root, root)?;
        }
        (wanted, Some(_)) => {
            subtree = match maker.seek {
                Some(seek) => maker.seek_from_head(to, seek)?,
                None => wanted.map(|wanted| wanted.index),
            };
        }
        _ => {}
    }
    let mut parts = Parts::default();
    if let Some(upgrade) = upgrade {
        parts.upgrade = Some(UpgradeProof {
            start: upgrade.start,
            length: upgrade.length,
            nodes: maker.upgrade(from, to, subtree)?,
            additional_nodes: path::path(to, length)
                .map(|index| maker.held(index))
                .collect::<Result<_, _>>()?,
            signature: signature.clone(),
        });
    }
    maker.finish(request, parts)
}

fn wanted(request: &ProofRequest, to: u64) -> Result<Option<Wanted>, RequestError> {
    let wanted = match (request.block, request.hash) {
        (Some(block), _) if block.index >= to => return Err(RequestError::Invalid("block past the end")),
        (Some(block), _) => {
            Wanted { index: 2 * block.index, parents: block.nodes, last_block: block.index, with_body: true }
        }
        (None, Some(hash)) if hash.index >= 2 * to || flat::right_span(hash.index) >= 2 * to => {
            return Err(RequestError::Invalid("node past the end"));
        }
        (None, Some(hash)) => Wanted {
            index: hash.index,
            parents: hash.nodes,
            last_block: flat::right_span(hash.index) / 2,
            with_body: false,
        },
        (None, None) => return Ok(None),
    };
    Ok(Some(wanted))
}

fn climb(wanted: Wanted, to: u64) -> Result<u64, RequestError> {
    let mut index = wanted.index;
    for _ in 0..wanted.parents {
        index = flat::parent(index);
        if flat::contains(index, 2 * to) {
            return Err(RequestError::Invalid("more parents than there are"));
        }
    }
    Ok(index)
}

impl<N: Nodes> Maker<'_, N> {
    fn held(&self, index: u64) -> Result<Node, RequestError> {
        self.nodes.node(index)?.ok_or(RequestError::NotHeld)
    }

    fn finish(self, request: &ProofRequest, mut parts: Parts) -> Result<Parts, RequestError> {
        if let Some(wanted) = self.wanted {
            let nodes = self.pending.node.ok_or(RequestError::Invalid("block"))?;
            if wanted.with_body {
                parts.block = Some(nodes);
            } else {
                parts.hash = Some(HashProof { index: wanted.index, nodes });
            }
        }
        if let (Some(seek), Some(nodes)) = (request.seek, self.pending.seek) {
            parts.seek = Some(SeekProof { bytes: seek.bytes, nodes });
        }
        Ok(parts)
    }

    /// Nodes from `from` to `to`; the subtree that was asked for goes in place of the node that holds it.
    fn upgrade(&mut self, from: u64, to: u64, subtree: Option<u64>) -> Result<Vec<Node>, RequestError> {
        let mut nodes = Vec::new();
        for index in path::path(from, to) {
            let unused = self.pending.node.is_none() && self.pending.seek.is_none();
            if unused && subtree.is_some_and(|subtree| flat::contains(index, subtree)) {
                self.block_and_seek(subtree, index)?;
            } else {
                nodes.push(self.held(index)?);
            }
        }
        Ok(nodes)
    }

    fn block_and_seek(&mut self, seek_root: Option<u64>, root: u64) -> Result<(), RequestError> {
        let Some(wanted) = self.wanted else {
            return seek_root.map_or(Ok(()), |seek_root| self.seek(seek_root, root));
        };
        if !flat::contains(root, wanted.index) {
            return Err(RequestError::Invalid("block and seek lie apart"));
        }
        let mut nodes = Vec::new();
        let mut at = wanted.index;
        if !wanted.with_body {
            nodes.push(self.held(at)?);
        }
        while at != root {
            let sibling = flat::sibling(at);
            match seek_root.filter(|_| self.seek.is_some()) {
                Some(seek_root) if sibling != seek_root && flat::contains(sibling, seek_root) => {
                    self.seek(seek_root, sibling)?;
                }
                _ => nodes.push(self.held(sibling)?),
            }
            at = flat::parent(at);
        }
        self.pending.node = Some(nodes);
        Ok(())
    }

    fn seek(&mut self, seek_root: u64, root: u64) -> Result<(), RequestError> {
        if !flat::contains(root, seek_root) {
            return Err(RequestError::Invalid("seek"));
        }
        let mut nodes = vec![self.held(seek_root)?];
        let mut at = seek_root;
        while at != root {
            nodes.push(self.held(flat::sibling(at))?);
            at = flat::parent(at);
        }
        self.pending.seek = Some(nodes);
        Ok(())
    }

    /// The node at which a seek within `root` ends.
    fn seek_within(&self, root: u64, seek: SeekRequest) -> Result<u64, RequestError> {
        let offset = byte_offset(self.tree, self.nodes, root)?.ok_or(RequestError::NotHeld)?;
        let offset = offset.saturating_sub(seek.padding.saturating_mul(flat::blocks(root).start));
        let Some(bytes) = seek.bytes.checked_sub(offset) else { return Err(RequestError::Invalid("seek")) };
        if bytes == 0 {
            return Ok(root);
        }
        if unpadded(&self.held(root)?, seek.padding) <= bytes {
            return Err(RequestError::Invalid("seek"));
        }
        Ok(descend(self.nodes, root, SeekRequest { bytes, ..seek })?)
    }

    /// The node at which a seek in the tree of `to` blocks ends; none past its end.
    fn seek_from_head(&self, to: u64, seek: SeekRequest) -> Result<Option<u64>, RequestError> {
        let mut bytes = seek.bytes;
        for root in flat::roots(to) {
            let size = unpadded(&self.held(root)?, seek.padding);
            if bytes == size {
                return Ok(Some(root));
            }
            if bytes < size {
                return Ok(Some(descend(self.nodes, root, SeekRequest { bytes, ..seek })?));
            }
            bytes -= size;
        }
        Ok(None)
    }
}

/// Goes down from `root` to the node that holds byte `seek.bytes` of it, as far as nodes are held.
fn descend<N: Nodes>(nodes: &N, root: u64, seek: SeekRequest) -> Result<u64, StorageError> {
    let mut at = root;
    let mut bytes = seek.bytes;
    while let Some((left, right)) = flat::children(at).filter(|_| seek.bytes > 0) {
        let Some(node) = nodes.node(left)? else { return Ok(at) };
        let size = unpadded(&node, seek.padding);
        if size == bytes {
            return Ok(left);
        }
        if bytes < size {
            at = left;
        } else {
            bytes -= size;
            at = right;
        }
    }
    Ok(at)
}

/// Bytes below a node without the padding of encryption.
pub(crate) fn unpadded(node: &Node, padding: u64) -> u64 {
    node.size.saturating_sub(padding.saturating_mul(flat::leaves(node.index)))
}

/// Bytes, with padding, of everything left of `index`; none when a node that it takes is not held.
pub(crate) fn byte_offset<N: Nodes>(tree: &Tree, nodes: &N, index: u64) -> Result<Option<u64>, StorageError> {
    let first = flat::left_span(index);
    let mut offset = 0;
    for root in tree.roots() {
        if first > flat::right_span(root.index) {
            offset += root.size;
            continue;
        }
        let mut at = root.index;
        while let Some((left, right)) = flat::children(at).filter(|_| flat::left_span(at) != first) {
            if first < flat::left_span(right) {
                at = left;
                continue;
            }
            let Some(node) = nodes.node(left)? else { return Ok(None) };
            offset += node.size;
            at = right;
        }
        break;
    }
    Ok(Some(offset))
}
