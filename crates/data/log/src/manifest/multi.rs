//! Signatures of several signers as bytes: npm hypercore 11.37.1 `lib/multisig.js` and `lib/messages.js`,
//! `multiSignature` and `multiSignaturev0`.

use super::Manifest;
use crate::codec::{CodecError, Reader, Write};
use crate::{Node, flat};

/// One signer's part of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialSignature {
    /// Which signer of the manifest, from 0.
    pub signer: u64,
    /// Its signature.
    pub signature: [u8; 64],
    /// By how many blocks the tree that it signed is longer than the one that all of them sign.
    pub patch: u64,
    /// Nodes that make the one into the other; none without a patch.
    pub nodes: Vec<Node>,
}

/// What a signature of several says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MultiSignature {
    pub proofs: Vec<Part>,
    pub patch: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub signer: u64,
    pub signature: [u8; 64],
    pub patch: u64,
}

impl Manifest {
    /// Puts signatures together into the one that the log carries.
    pub fn assemble(&self, parts: &[PartialSignature]) -> Vec<u8> {
        if self.version == 0 { assemble_v0(parts) } else { assemble(parts) }
    }
}

pub(super) fn assemble(parts: &[PartialSignature]) -> Vec<u8> {
    let mut patch: Vec<Node> = Vec::new();
    for node in parts.iter().flat_map(|part| &part.nodes) {
        if !patch.iter().any(|other| other.index == node.index) {
            patch.push(*node);
        }
    }
    let mut to = Vec::with_capacity(2 + 66 * parts.len());
    to.uint(parts.len() as u64);
    for part in parts {
        to.uint(part.signer);
        to.raw(&part.signature);
        to.uint(part.patch);
    }
    Node::write_all(&patch, &mut to);
    to
}

fn assemble_v0(parts: &[PartialSignature]) -> Vec<u8> {
    let mut patch: Vec<Node> = Vec::new();
    let mut to = Vec::with_capacity(2 + 66 * parts.len());
    to.uint(parts.len() as u64);
    for part in parts {
        let last = part.nodes.last().filter(|_| part.patch > 0);
        to.uint(u64::from(last.is_some()));
        to.uint(part.signer);
        to.raw(&part.signature);
        let Some(last) = last else { continue };
        to.uint(flat::right_span(last.index) / 2 + 1);
        to.uint(part.patch);
        to.uint(part.nodes.len() as u64);
        for node in &part.nodes {
            let place = patch.iter().position(|other| other == node).unwrap_or(patch.len());
            if place == patch.len() {
                patch.push(*node);
            }
            to.uint(place as u64);
        }
    }
    Node::write_all(&patch, &mut to);
    to
}

impl MultiSignature {
    pub fn decode(version: u8, bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let proofs = match version {
            0 => reader.array(66, "signatures", read_part_v0)?,
            _ => reader.array(66, "signatures", read_part)?,
        };
        Ok(MultiSignature { proofs, patch: Node::read_all(&mut reader)? })
    }
}

fn read_part(reader: &mut Reader<'_>) -> Result<Part, CodecError> {
    Ok(Part { signer: reader.uint()?, signature: reader.fixed("a signature")?, patch: reader.uint()? })
}

fn read_part_v0(reader: &mut Reader<'_>) -> Result<Part, CodecError> {
    let flags = reader.uint()?;
    let mut part = Part { signer: reader.uint()?, signature: reader.fixed("a signature")?, patch: 0 };
    if flags & 1 != 0 {
        reader.uint()?; // where the patch begins: always the length that is signed for
        part.patch = reader.uint()?;
        reader.array(1, "places of nodes", Reader::uint)?; // all nodes are looked up by index instead, as JS does
    }
    Ok(part)
}
