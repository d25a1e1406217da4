//! Giving back the blocks that the present version does not need.

use crate::bee::Shared;
use crate::reader::{Reader, TreeNode};
use crate::tree::{MAX_DEPTH, Tree, too_deep};
use crate::{ClearError, ReadError};

/// One bit a block.
struct Needed {
    bits: Vec<u64>,
    nodes_left: u64,
}

impl Shared {
    /// See [`Bee::clear_unlinked`](crate::Bee::clear_unlinked).
    pub fn clear_unlinked(&self) -> Result<u64, ClearError> {
        let _guard = self.lock()?;
        let (fork, length) = self.now();
        if length < 2 {
            return Ok(0);
        }
        let mut reader = self.reader(fork, length);
        let mut needed = Needed { bits: vec![0; length as usize / 64 + 1], nodes_left: length };
        if let Some(root) = reader.root()? {
            needed.mark(&mut reader, &root, 0)?;
        }
        let (mut cleared, mut seq) = (0, 1);
        while seq < length {
            let end = (seq..length).find(|&seq| needed.has(seq)).unwrap_or(length);
            if end > seq {
                if self.now().0 != fork {
                    return Err(ReadError::Truncated { version: length }.into());
                }
                let failed = |source| ClearError::Clear { from: seq, until: end, source };
                self.feed().clear(seq..end).map_err(failed)?;
                cleared += end - seq;
            }
            seq = end + 1;
        }
        Ok(cleared)
    }
}

impl Needed {
    fn has(&self, seq: u64) -> bool {
        self.bits[seq as usize / 64] >> (seq % 64) & 1 == 1
    }

    fn add(&mut self, seq: u64) {
        self.bits[seq as usize / 64] |= 1 << (seq % 64);
    }

    /// Marks the blocks of `node` and of all below it. A sound tree has fewer nodes than the log has blocks.
    fn mark(&mut self, reader: &mut Reader, node: &TreeNode, depth: usize) -> Result<(), ReadError> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or_else(|| too_deep(node.seq))?;
        if depth >= MAX_DEPTH {
            return Err(too_deep(node.seq));
        }
        self.add(node.seq);
        node.level().keys.iter().for_each(|&seq| self.add(seq));
        for i in 0..node.level().children.len() / 2 {
            let child = reader.child(node, i)?;
            self.mark(reader, &child, depth + 1)?;
        }
        Ok(())
    }
}
