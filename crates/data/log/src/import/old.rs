//! The files of npm hypercore 10 as one log: what lies in the oplog goes before what lies in the others.

use super::{ImportError, OldFile, OldFiles, Oplog, OplogHeader, OplogHeld, OplogState};
use crate::proof::Nodes;
use crate::{Node, StorageError, flat};
use std::cell::RefCell;
use std::collections::HashMap;

/// Blocks whose bits are read at once: 4,096 bytes.
pub const PAGE_BITS: u64 = 8 * 4096;
/// The longest state that is read: npm makes a new one every 64 KiB of oplog.
const MAX_STATE: usize = 64 * 1024 * 1024;
/// Bytes of a node in the file `tree`, and how many are read at once.
const NODE: u64 = 40;
const NODES: u64 = 512;

pub struct Old<'a, F> {
    files: &'a F,
    pub state: OplogState,
    nodes: HashMap<u64, Node>,
    held: Vec<OplogHeld>,
    /// Two parts of the file `tree`: the way down a tree goes to and fro between far and near.
    pages: RefCell<[(u64, Vec<u8>); 2]>,
}

impl<'a, F: OldFiles> Old<'a, F> {
    pub fn open(files: &'a F) -> Result<Self, ImportError> {
        let read = |file, offset, length| {
            files.read(file, offset, length).map_err(|source| ImportError::Read { file, source })
        };
        let oplog = Oplog::decode(&read(OldFile::Oplog, 0, MAX_STATE)?).map_err(ImportError::Oplog)?;
        let state = match oplog.header {
            OplogHeader::Here(state) => *state,
            OplogHeader::Elsewhere(place) => {
                let length = usize::try_from(place.end - place.start).unwrap_or(MAX_STATE).min(MAX_STATE);
                let header = read(OldFile::Header, place.start, length)?;
                OplogState::decode(&header).map_err(ImportError::Oplog)?
            }
        };
        let mut old = Old {
            files,
            state,
            nodes: HashMap::new(),
            held: Vec::new(),
            pages: RefCell::new([(u64::MAX, Vec::new()), (u64::MAX, Vec::new())]),
        };
        for entry in oplog.entries {
            old.nodes.extend(entry.nodes.into_iter().map(|node| (node.index, node)));
            old.held.extend(entry.held);
            if let Some((name, value)) = entry.user_data {
                old.state.user_data.retain(|(other, _)| *other != name);
                old.state.user_data.push((name, value));
            }
            if let Some(upgrade) = entry.upgrade {
                old.state.fork = upgrade.fork;
                old.state.length = upgrade.length;
                old.state.signature = upgrade.signature;
            }
        }
        if old.state.length >= flat::LIMIT / 2 {
            return Err(ImportError::Root { index: old.state.length });
        }
        Ok(old)
    }

    pub fn read(&self, file: OldFile, offset: u64, length: usize) -> Result<Vec<u8>, ImportError> {
        self.files.read(file, offset, length).map_err(|source| ImportError::Read { file, source })
    }

    /// For each block of page `page` of the bitfield, whether it is held.
    pub fn held(&self, page: u64) -> Result<Vec<bool>, ImportError> {
        let bytes = self.read(OldFile::Bitfield, page * PAGE_BITS / 8, PAGE_BITS as usize / 8)?;
        let mut held: Vec<bool> =
            bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect();
        held.resize(PAGE_BITS as usize, false);
        let first = page * PAGE_BITS;
        for change in &self.held {
            let start = change.blocks.start.clamp(first, first + PAGE_BITS) - first;
            let end = change.blocks.end.clamp(first, first + PAGE_BITS) - first;
            if start < end {
                held[start as usize..end as usize].fill(!change.dropped);
            }
        }
        Ok(held)
    }

    fn read_node(&self, index: u64) -> std::io::Result<Option<Node>> {
        let page = index / NODES;
        let mut pages = self.pages.borrow_mut();
        if pages[0].0 != page {
            pages.swap(0, 1);
        }
        if pages[0].0 != page {
            pages[0] = (page, self.files.read(OldFile::Tree, page * NODES * NODE, (NODES * NODE) as usize)?);
        }
        let at = (index % NODES * NODE) as usize;
        let Some((size, hash)) = pages[0].1.get(at..at + NODE as usize).and_then(|node| {
            let (size, hash) = node.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*size), <[u8; 32]>::try_from(hash).ok()?))
        }) else {
            return Ok(None);
        };
        // Holes in the file read as zeros.
        Ok((size != 0 || hash != [0; 32]).then_some(Node { index, size, hash }))
    }
}

impl<F: OldFiles> Nodes for Old<'_, F> {
    fn node(&self, index: u64) -> Result<Option<Node>, StorageError> {
        if let Some(node) = self.nodes.get(&index) {
            return Ok(Some(*node));
        }
        let read = self.read_node(index);
        read.map_err(|source| StorageError::Engine { doing: "read the old tree into", source: source.into() })
    }
}
