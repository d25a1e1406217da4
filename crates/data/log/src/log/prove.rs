//! Answering what peers ask for.

use super::Log;
use crate::proof::create;
use crate::{BlockProof, Proof, ProofRequest, RequestError, Storage, StorageError};

impl<S: Storage> Log<S> {
    /// The answer to `request`, with the block's body if it asks for one.
    pub fn proof(&self, request: &ProofRequest) -> Result<Proof, RequestError> {
        if request.fork != self.tree.fork {
            return Err(RequestError::Fork { asked: request.fork, fork: self.tree.fork });
        }
        let mut proof = Proof { fork: self.tree.fork, ..Proof::default() };
        if request.manifest {
            proof.manifest = self.manifest().cloned();
        }
        if self.tree.length() == 0 {
            return Ok(proof);
        }
        if request.block.is_some_and(|block| !self.held.contains(block.index)) {
            return Err(RequestError::NotHeld);
        }
        let prologue = self.manifest().and_then(|manifest| manifest.prologue.as_ref());
        let parts = create(&self.tree, self, request, prologue, &self.head.signature)?;
        if let (Some(block), Some(nodes)) = (request.block, parts.block) {
            let value = self.get_raw(block.index).map_err(|error| match error {
                super::ReadError::Storage { source, .. } => RequestError::Storage(source),
                _ => RequestError::Invalid("block past the end"),
            })?;
            let value = value.ok_or(RequestError::NotHeld)?;
            proof.block = Some(BlockProof { index: block.index, value, nodes });
        }
        proof.hash = parts.hash;
        proof.seek = parts.seek;
        proof.upgrade = parts.upgrade;
        Ok(proof)
    }

    /// Whether the nodes are held that [`proof`](Self::proof) takes to bring a peer at `length` blocks up to this
    /// log's length.
    pub fn can_upgrade(&self, length: u64) -> Result<bool, StorageError> {
        for index in crate::proof::path(length, self.tree.length()) {
            if self.stored_node(index)?.is_none() {
                return Ok(false);
            }
        }
        Ok(length < self.tree.length())
    }
}
