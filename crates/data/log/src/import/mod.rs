//! Taking over a log from the files of npm hypercore 10.
//!
//! Nothing in those files is believed: the tree is taken as a signed upgrade and each block as a proof, as if a
//! peer had sent them. What does not hold is left out, and can be fetched from a peer later.

mod old;
mod oplog;

pub use oplog::{
    Entry as OplogEntry, Header as OplogHeader, Held as OplogHeld, Oplog, State as OplogState,
    Upgrade as OplogUpgrade,
};

use crate::codec::CodecError;
use crate::proof::{Nodes as _, byte_offset};
use crate::{
    BlockProof, Create, Durability, KeyPair, Log, MAX_BLOCK, OpenError, Proof, ProofError, Storage,
    StorageError, UpgradeProof, flat,
};
use old::{Old, PAGE_BITS};
use std::io;

/// A file in the folder of a log of npm hypercore 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OldFile {
    /// `oplog`: the state and what happened lately.
    Oplog,
    /// `header`: the state, when it is too long for the oplog.
    Header,
    /// `tree`: 40 bytes for each node.
    Tree,
    /// `bitfield`: a bit for each block.
    Bitfield,
    /// `data`: the blocks put end to end.
    Data,
}

/// Those files.
pub trait OldFiles {
    /// At most `length` bytes of `file` from `offset` on; fewer only where it ends, and none past that or when there
    /// is no such file.
    fn read(&self, file: OldFile, offset: u64, length: usize) -> io::Result<Vec<u8>>;
}

/// What an import brought besides the log.
#[derive(Debug)]
pub struct Imported {
    /// The key pair that writes the log, if it lay beside it.
    pub key_pair: Option<KeyPair>,
    /// How many blocks are held.
    pub blocks: u64,
    /// Blocks that should be there and are not, or are damaged.
    pub lost: Vec<u64>,
}

/// Why a log cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read the old log's file {file:?}")]
    Read {
        /// Which.
        file: OldFile,
        /// What the system said.
        source: io::Error,
    },
    /// The state is not readable.
    #[error("the old log's oplog is damaged")]
    Oplog(#[source] CodecError),
    /// The tree is not the one that was signed.
    #[error("the old log's tree does not hold")]
    Tree(#[source] ProofError),
    /// A root of the tree is missing.
    #[error("the old log's tree lacks node {index}")]
    Root {
        /// The root.
        index: u64,
    },
    /// The new log cannot be made.
    #[error("cannot create the new log")]
    Create(#[from] OpenError),
    /// The engine below.
    #[error("cannot write the new log")]
    Storage(#[from] StorageError),
}

/// Blocks taken in one commit.
const AT_ONCE: usize = 128;

impl<S: Storage> Log<S> {
    /// Makes a log in empty storage out of the files of npm hypercore 10.
    pub fn import(storage: S, files: &impl OldFiles) -> Result<(Self, Imported), ImportError> {
        let mut old = Old::open(files)?;
        let create = match &old.state.manifest {
            Some(manifest) if manifest.key() == old.state.key => Create::with_manifest(manifest.clone()),
            Some(manifest) if manifest.is_compat(&old.state.key) => Create::compat(old.state.key),
            _ => Create::remote(old.state.key),
        };
        let mut log = Log::create(storage, create)?;
        for (name, value) in &old.state.user_data {
            log.set_user_data(name, Some(value.clone().into()), Durability::Relaxed)?;
        }
        if old.state.length > 0 {
            log.take_tree(&old)?;
        }
        let lost = log.take_blocks(&old)?;
        log.storage().sync()?;
        let blocks = log.count_held(0..log.length());
        Ok((log, Imported { key_pair: old.state.key_pair.take(), blocks, lost }))
    }

    fn take_tree<F: OldFiles>(&mut self, old: &Old<'_, F>) -> Result<(), ImportError> {
        let mut nodes = Vec::new();
        for index in flat::roots(old.state.length) {
            nodes.push(old.node(index)?.ok_or(ImportError::Root { index })?);
        }
        let proof = Proof {
            fork: old.state.fork,
            manifest: old.state.manifest.clone(),
            upgrade: Some(UpgradeProof {
                start: 0,
                length: old.state.length,
                nodes,
                additional_nodes: Vec::new(),
                signature: old.state.signature.clone().into(),
            }),
            ..Proof::default()
        };
        let taken = if old.state.fork == self.fork() {
            self.apply(&proof, Durability::Relaxed)
        } else {
            self.begin_reorg(&proof).and_then(|reorg| self.finish_reorg(reorg, Durability::Relaxed))
        };
        taken.map(|_| ()).map_err(ImportError::Tree)
    }

    /// Takes the bodies that are held; those that are not as signed are named.
    fn take_blocks<F: OldFiles>(&mut self, old: &Old<'_, F>) -> Result<Vec<u64>, ImportError> {
        let mut lost = Vec::new();
        for page in 0..self.length().div_ceil(PAGE_BITS) {
            let held = old.held(page)?;
            let blocks = page * PAGE_BITS..self.length().min((page + 1) * PAGE_BITS);
            let held: Vec<u64> = blocks.zip(held).filter_map(|(block, held)| held.then_some(block)).collect();
            for blocks in held.chunks(AT_ONCE) {
                self.take_some(old, blocks, &mut lost)?;
            }
        }
        Ok(lost)
    }

    fn take_some<F: OldFiles>(
        &mut self,
        old: &Old<'_, F>,
        blocks: &[u64],
        lost: &mut Vec<u64>,
    ) -> Result<(), ImportError> {
        let mut proofs = Vec::with_capacity(blocks.len());
        for index in blocks {
            match self.old_block(old, *index)? {
                Some(block) => {
                    proofs.push(Proof { fork: self.fork(), block: Some(block), ..Proof::default() });
                }
                None => lost.push(*index),
            }
        }
        let taken = self.apply_all(&proofs, Durability::Relaxed)?;
        for (proof, taken) in proofs.iter().zip(taken) {
            match taken {
                Ok(_) => {}
                Err(ProofError::Storage(error)) => return Err(error.into()),
                Err(_) => lost.extend(proof.block.as_ref().map(|block| block.index)),
            }
        }
        Ok(())
    }

    /// A block of the old log with the nodes that tie it to one that is known here; none when some are missing.
    fn old_block<F: OldFiles>(
        &self,
        old: &Old<'_, F>,
        index: u64,
    ) -> Result<Option<BlockProof>, ImportError> {
        let Some(leaf) = old.node(2 * index)? else { return Ok(None) };
        let Some(offset) = byte_offset(self.tree(), old, 2 * index)? else { return Ok(None) };
        let Some(size) = usize::try_from(leaf.size).ok().filter(|size| *size <= MAX_BLOCK) else {
            return Ok(None);
        };
        let value = old.read(OldFile::Data, offset, size)?;
        let mut nodes = Vec::new();
        let mut at = 2 * index;
        for _ in 0..self.missing_nodes(at)? {
            let Some(sibling) = old.node(flat::sibling(at))? else { return Ok(None) };
            nodes.push(sibling);
            at = flat::parent(at);
        }
        Ok((value.len() == size).then(|| BlockProof { index, value: value.into(), nodes }))
    }
}
