use super::standing::Standing;
use crate::error::{ReadError, WriteError};
use crate::replica::Replica;
use crate::row;
use crate::view::StateHash;
use crate::wire::{CheckpointBlock, Chunk, EpochId, EpochKey, Item, PIECE, Tail, What, push_row};
use crate::{Heads, WriterId};
use bytes::Bytes;
use cloudpal_sorted::{Cursor, Order, Pages, Snapshot};
use std::ops::Bound;

/// A checkpoint that is being made, of the database as it was when it was begun. Append its blocks to the log of
/// [`own_checkpoints`](Replica::own_checkpoints), one behind the other.
pub struct Writing<P: Pages> {
    log: WriterId,
    epoch: (EpochId, EpochKey),
    view: Snapshot<P>,
    /// The rows that come next, and the rooms after them.
    cursor: Option<Cursor<P>>,
    rooms: std::slice::Iter<'static, u8>,
    /// Contents that are not in blocks yet.
    text: Vec<u8>,
    hash: StateHash,
    standing: Bytes,
    standing_blocks: u64,
    made_ms: u64,
    heads: Heads,
    back: u64,
    step: Step,
}

enum Step {
    Contents,
    Standing,
    Tail,
    Done,
}

impl<P: Pages> Replica<P> {
    /// Begins a checkpoint. Only an owner's device can, and only one that has read its own log to the end.
    pub fn checkpoint(&self, now_ms: u64) -> Result<Writing<P>, WriteError> {
        let manifest = self.own_checkpoints().ok_or(WriteError::NotOwner)?;
        self.standing()?;
        if self.stale {
            return Err(WriteError::Waiting);
        }
        let (id, key) = self.epoch().ok_or(WriteError::NoKey)?;
        let mut text = Vec::new();
        for (client, writer) in &self.writers {
            Item::Seen(*client, writer.seen.clone()).encode(&mut text);
        }
        for (sub, path) in self.tally.indexes.iter() {
            let (name, path) = (sub.name().to_owned(), path.to_owned());
            Item::Index { kind: sub.kind() as u8, name, path }.encode(&mut text);
        }
        let (latest, stamp) = (self.latest.clone(), self.clock.0);
        Item::Rest { latest, stamp, conflicts: self.tally.conflicts }.encode(&mut text);
        let base = self.base.as_ref();
        let read = self.writers.values().map(|writer| (writer.id, writer.read));
        let standing = Standing::new(base.map(|base| (base.log, base.tail)), read, &self.records);
        let later = base.map_or(0, |base| base.made_ms + 1);
        Ok(Writing {
            log: WriterId(manifest.key()),
            epoch: (id, key.clone()),
            view: self.sorted.snapshot(),
            cursor: None,
            rooms: row::STATE.iter(),
            text,
            hash: StateHash::new(),
            standing: standing.encode().into(),
            standing_blocks: 0,
            made_ms: now_ms.max(later),
            heads: self.heads(),
            back: 0,
            step: Step::Contents,
        })
    }
}

impl<P: Pages> Writing<P> {
    /// What of each log lies before it.
    pub const fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The next block, to lie at `position` of the log; none when it is whole.
    pub fn next(&mut self, position: u64, nonce: [u8; 24]) -> Result<Option<Bytes>, ReadError> {
        if matches!(self.step, Step::Contents) {
            self.gather()?;
        }
        let what = match self.step {
            Step::Contents => {
                let rest = self.text.split_off(self.text.len().min(PIECE));
                let piece = std::mem::replace(&mut self.text, rest);
                if piece.len() < PIECE {
                    self.step = Step::Standing;
                }
                let (id, key) = &self.epoch;
                What::Chunk(Chunk::seal(piece, (*id, key), &self.log, position, nonce))
            }
            Step::Standing => {
                let piece = self.standing.split_to(self.standing.len().min(PIECE));
                self.standing_blocks += 1;
                if self.standing.is_empty() {
                    self.step = Step::Tail;
                }
                What::Standing(piece)
            }
            Step::Tail => {
                self.step = Step::Done;
                let state_hash = std::mem::replace(&mut self.hash, StateHash::new()).finish();
                What::Tail(Tail { standing: self.standing_blocks, made_ms: self.made_ms, state_hash })
            }
            Step::Done => return Ok(None),
        };
        let block = CheckpointBlock { back: self.back, what };
        self.back += 1;
        Ok(Some(block.encode()))
    }

    /// Adds rows until there are enough for a block, or no more.
    fn gather(&mut self) -> Result<(), ReadError> {
        while self.text.len() < PIECE {
            let Some(cursor) = &mut self.cursor else {
                let Some(room) = self.rooms.next() else { return Ok(()) };
                let bounds = (Bound::Included(&[*room][..]), Bound::Excluded(&[*room + 1][..]));
                self.cursor = Some(self.view.cursor(bounds, Order::Ascending)?);
                continue;
            };
            match cursor.entry() {
                Some((row, value)) => {
                    push_row(&mut self.text, row, &value);
                    self.hash.add(row, &value);
                    cursor.advance()?;
                }
                None => self.cursor = None,
            }
        }
        Ok(())
    }
}
