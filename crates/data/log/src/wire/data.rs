use crate::codec::{CodecError, Reader, Write, uint_len};
use crate::{BlockProof, HashProof, Manifest, Node, Proof, SeekProof, UpgradeProof};
use bytes::Bytes;

const BLOCK: u64 = 1;
const HASH: u64 = 2;
const SEEK: u64 = 4;
const UPGRADE: u64 = 8;
const MANIFEST: u64 = 16;

/// A proof, in answer to a request or (request 0) sent without one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// The request's number.
    pub request: u64,
    /// What it shows.
    pub proof: Proof,
}

impl Data {
    fn flags(&self) -> u64 {
        let proof = &self.proof;
        (if proof.block.is_some() { BLOCK } else { 0 })
            | (if proof.hash.is_some() { HASH } else { 0 })
            | (if proof.seek.is_some() { SEEK } else { 0 })
            | (if proof.upgrade.is_some() { UPGRADE } else { 0 })
            | (if proof.manifest.is_some() { MANIFEST } else { 0 })
    }

    pub(super) fn encoded_len(&self) -> usize {
        let proof = &self.proof;
        let mut len = 1 + uint_len(self.request) + uint_len(proof.fork);
        if let Some(block) = &proof.block {
            len += uint_len(block.index) + buffer_len(&block.value) + nodes_len(&block.nodes);
        }
        if let Some(hash) = &proof.hash {
            len += uint_len(hash.index) + nodes_len(&hash.nodes);
        }
        if let Some(seek) = &proof.seek {
            len += uint_len(seek.bytes) + nodes_len(&seek.nodes);
        }
        if let Some(upgrade) = &proof.upgrade {
            len += uint_len(upgrade.start) + uint_len(upgrade.length);
            len += nodes_len(&upgrade.nodes)
                + nodes_len(&upgrade.additional_nodes)
                + buffer_len(&upgrade.signature);
        }
        if let Some(manifest) = &proof.manifest {
            len += manifest.encode().len();
        }
        len
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let proof = &self.proof;
        out.uint(self.flags());
        out.uint(self.request);
        out.uint(proof.fork);
        if let Some(block) = &proof.block {
            out.uint(block.index);
            out.buffer(&block.value);
            Node::write_all(&block.nodes, out);
        }
        if let Some(hash) = &proof.hash {
            out.uint(hash.index);
            Node::write_all(&hash.nodes, out);
        }
        if let Some(seek) = &proof.seek {
            out.uint(seek.bytes);
            Node::write_all(&seek.nodes, out);
        }
        if let Some(upgrade) = &proof.upgrade {
            out.uint(upgrade.start);
            out.uint(upgrade.length);
            Node::write_all(&upgrade.nodes, out);
            Node::write_all(&upgrade.additional_nodes, out);
            out.buffer(&upgrade.signature);
        }
        if let Some(manifest) = &proof.manifest {
            out.raw(&manifest.encode());
        }
    }

    /// Reads it; block and signature are slices of `payload`, which is what `reader` reads.
    pub(super) fn decode(reader: &mut Reader<'_>, payload: &Bytes) -> Result<Self, CodecError> {
        let flags = reader.uint()?;
        let request = reader.uint()?;
        let mut proof = Proof { fork: reader.uint()?, ..Proof::default() };
        if flags & BLOCK != 0 {
            let index = reader.uint()?;
            let value = payload.slice_ref(reader.buffer("a block")?);
            proof.block = Some(BlockProof { index, value, nodes: Node::read_all(reader)? });
        }
        if flags & HASH != 0 {
            proof.hash = Some(HashProof { index: reader.uint()?, nodes: Node::read_all(reader)? });
        }
        if flags & SEEK != 0 {
            proof.seek = Some(SeekProof { bytes: reader.uint()?, nodes: Node::read_all(reader)? });
        }
        if flags & UPGRADE != 0 {
            proof.upgrade = Some(UpgradeProof {
                start: reader.uint()?,
                length: reader.uint()?,
                nodes: Node::read_all(reader)?,
                additional_nodes: Node::read_all(reader)?,
                signature: payload.slice_ref(reader.buffer("a signature")?),
            });
        }
        if flags & MANIFEST != 0 {
            proof.manifest = Some(Manifest::read(reader)?);
        }
        Ok(Data { request, proof })
    }
}

fn buffer_len(bytes: &[u8]) -> usize {
    uint_len(bytes.len() as u64) + bytes.len()
}

fn nodes_len(nodes: &[Node]) -> usize {
    let each = nodes.iter().map(|node| uint_len(node.index) + uint_len(node.size) + node.hash.len());
    uint_len(nodes.len() as u64) + each.sum::<usize>()
}
