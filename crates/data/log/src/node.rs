use crate::codec::{CodecError, MAX_UINT, Reader, Write};
use crate::hash;

/// A node of the Merkle tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Where it is, in flat in-order numbering.
    pub index: u64,
    /// Bytes of all blocks below it, with the padding of encryption.
    pub size: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Node {
    /// The fewest bytes that one takes on the wire.
    pub const LEAST: usize = 34;

    /// The leaf of block `block` with the body `value`.
    pub fn leaf(block: u64, value: &[u8]) -> Self {
        Node { index: 2 * block, size: value.len() as u64, hash: hash::leaf(value) }
    }

    /// The parent of two siblings, in either order. None when their sizes add up to more than a number can say.
    pub fn parent(a: &Node, b: &Node) -> Option<Self> {
        let (left, right) = if a.index < b.index { (a, b) } else { (b, a) };
        let size = left.size.checked_add(right.size).filter(|size| *size <= MAX_UINT)?;
        let hash = hash::parent(size, &left.hash, &right.hash);
        Some(Node { index: crate::flat::parent(a.index), size, hash })
    }

    /// Reads one as on the wire.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let index = reader.uint()?;
        let size = reader.uint()?;
        Ok(Node { index, size, hash: reader.fixed("a node's hash")? })
    }

    /// Writes one as on the wire.
    pub fn write(&self, to: &mut impl Write) {
        to.uint(self.index);
        to.uint(self.size);
        to.raw(&self.hash);
    }

    /// Reads an array of them.
    pub fn read_all(reader: &mut Reader<'_>) -> Result<Vec<Self>, CodecError> {
        reader.array(Self::LEAST, "tree nodes", Self::read)
    }

    /// Writes an array of them.
    pub fn write_all(nodes: &[Self], to: &mut impl Write) {
        to.uint(nodes.len() as u64);
        for node in nodes {
            node.write(to);
        }
    }
}
