//! Checkpoints in a world, and forgetting what lies before them.

use crate::disk::Disk;
use crate::world::{Trouble, World, trouble};
use bytes::Bytes;
use cloudpal_db::record::SignedRecord;
use cloudpal_db::wire::{CheckpointBlock, What};
use cloudpal_db::{Checkpoint, Dot, Heads, KeepError, Standing, WriteError, WriterId};
use std::collections::BTreeMap;

/// Whether devices forget what they need no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// All of it is kept.
    Kept,
    /// The owner makes checkpoints, and devices forget what lies before them.
    Forgotten,
}

impl History {
    /// What the world of a seed has when many are played: every other forgets.
    pub const fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) { History::Kept } else { History::Forgotten }
    }
}

/// Blocks of all logs.
pub type Blocks = BTreeMap<WriterId, BTreeMap<u64, Bytes>>;

/// What a checkpoint settled.
pub struct Settled {
    /// How much of each log lies before it.
    pub heads: Heads,
    /// What its maker knew, and where it lay.
    pub records: Vec<(SignedRecord, Vec<Dot>)>,
}

impl World {
    /// Now and then the owner makes a checkpoint, or a device forgets.
    pub(crate) fn tend_history(&mut self, at: usize) -> Result<(), Trouble> {
        if self.history == History::Kept {
            return Ok(());
        }
        match self.dice.below(24) {
            0 => self.checkpoint(),
            1 => self.forget(at),
            _ => Ok(()),
        }
    }

    fn checkpoint(&mut self) -> Result<(), Trouble> {
        let now_ms = self.devices[0].clock(self.now_ms);
        let device = &self.devices[0];
        let Some(manifest) = device.replica.own_checkpoints() else { return Ok(()) };
        let log = WriterId(manifest.key());
        let mut writing = match device.replica.checkpoint(now_ms) {
            Ok(writing) => writing,
            Err(WriteError::Waiting) => return Ok(()),
            Err(source) => return Err(trouble(0, "begin a checkpoint", source)),
        };
        // Some are never finished.
        let most = if self.dice.one_in(6) { self.dice.below(3) } else { u64::MAX };
        for position in (device.disk.length(&log)..).take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let block = writing.next(position, self.dice.bytes());
            match block.map_err(|source| trouble(0, "write a checkpoint", source))? {
                Some(block) => device.disk.put(log, position, vec![block]),
                None => {
                    self.counts.checkpoints += 1;
                    break;
                }
            }
        }
        self.read(0)
    }

    /// A device that holds all of the checkpoint it builds upon forgets what lies before it.
    fn forget(&mut self, at: usize) -> Result<(), Trouble> {
        let device = &mut self.devices[at];
        let Some(base) = device.replica.base().cloned() else { return Ok(()) };
        let Some((log, blocks)) = device.replica.latest_checkpoint() else { return Ok(()) };
        let holds = |disk: &Disk| blocks.clone().all(|position| disk.get(&log, position).is_some());
        if (log, blocks.end) != (base.log, base.tail + 1) || !holds(&device.disk) {
            return Ok(());
        }
        // The archive is for what a crash cannot undo.
        device.disk.sync();
        let failed = |source: KeepError| trouble(at, "forget", source);
        device.replica.forget_history(&base.heads).map_err(failed)?;
        for writer in device.disk.logs() {
            // The first block says what a log is.
            let gone = if writer == log { 0..blocks.start } else { 1..base.heads.get(writer.client()) };
            for position in gone.clone() {
                if let Some(block) = device.disk.get(&writer, position) {
                    self.archive.entry(writer).or_default().insert(position, block);
                    self.counts.forgotten += 1;
                }
            }
            device.disk.clear(writer, gone);
        }
        Ok(())
    }
}

/// The checkpoints that `last` is built upon, and itself, the oldest first.
pub fn chain(last: Option<&Checkpoint>, logs: &Blocks) -> Vec<Settled> {
    let mut chain = Vec::new();
    let mut next = last.map(|base| (base.log, base.tail));
    while let Some(standing) = next.and_then(|(log, tail)| standing(logs.get(&log)?, tail)) {
        next = standing.base();
        let records = standing.places().map(|(signed, places)| (signed.clone(), places)).collect();
        chain.push(Settled { heads: standing.heads(), records });
    }
    chain.reverse();
    chain
}

fn standing(log: &BTreeMap<u64, Bytes>, tail: u64) -> Option<Standing> {
    let block = |position| CheckpointBlock::decode(log.get(&position)?).ok();
    let What::Tail(last) = block(tail)?.what else { return None };
    let mut bytes = Vec::new();
    for position in tail - last.standing..tail {
        let What::Standing(piece) = block(position)?.what else { return None };
        bytes.extend_from_slice(&piece);
    }
    Standing::decode(&bytes)
}
