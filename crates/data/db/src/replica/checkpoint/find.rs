use super::Checkpoint;
use super::standing::Standing;
use crate::WriterId;
use crate::error::{KeepError, ReadError};
use crate::members::{Members, Records};
use crate::replica::{Logs, Replica};
use crate::valid::Fault;
use crate::wire::{CheckpointBlock, EpochId, Tail, What};
use cloudpal_sorted::Pages;

/// A checkpoint later than the one that this copy builds upon.
pub struct Found {
    pub checkpoint: Checkpoint,
    pub tail: Tail,
    /// The first of its blocks.
    pub first: u64,
    /// Blocks before this one are known to be here.
    pub held: u64,
    /// Under which key they are sealed.
    pub epoch: Option<EpochId>,
    pub standing: Standing,
    pub records: Records,
    /// Who belonged to the database when it was made.
    pub members: Members,
}

enum Looked {
    /// There is none, or none that is later than what is known.
    Nothing,
    /// This block is needed to tell.
    Missing(u64),
    Found(Box<Found>),
}

impl<P: Pages> Replica<P> {
    /// Looks for the latest checkpoint.
    pub(super) fn find(
        &mut self,
        logs: &dyn Logs,
        missing: &mut Vec<(WriterId, u64)>,
    ) -> Result<(), KeepError> {
        for log in self.checkpoint_logs.clone() {
            let length = logs.length(&log);
            if length == 0 || self.looked.get(&log) == Some(&length) {
                continue;
            }
            match self.look_at(log, length, logs)? {
                Looked::Missing(position) => {
                    missing.push((log, position));
                    continue;
                }
                Looked::Nothing => {}
                Looked::Found(found) => {
                    self.latest_checkpoint = Some((log, found.first..found.checkpoint.tail + 1));
                    self.found = Some(*found);
                }
            }
            self.looked.insert(log, length);
        }
        Ok(())
    }

    /// The last whole checkpoint of a log of `length` blocks.
    fn look_at(&mut self, log: WriterId, length: u64, logs: &dyn Logs) -> Result<Looked, KeepError> {
        let mut behind = length;
        while let Some(at) = behind.checked_sub(1) {
            let Some(bytes) = logs.block(&log, at).map_err(ReadError::from)? else {
                return Ok(Looked::Missing(at));
            };
            let block = match CheckpointBlock::decode(&bytes) {
                Ok(block) => block,
                Err(error) => {
                    self.refuse(log.client(), at, Fault::Block(error.to_string()));
                    return Ok(Looked::Nothing);
                }
            };
            // What was not finished has no tail; before it lies one that was.
            let Some(first) = at.checked_sub(block.back) else { return Ok(Looked::Nothing) };
            match block.what {
                What::Tail(tail) if !self.spoiled.contains(&(log, at)) => {
                    return self.read_standing(log, (first, at), tail, logs);
                }
                _ => behind = first,
            }
        }
        Ok(Looked::Nothing)
    }

    fn read_standing(
        &mut self,
        log: WriterId,
        (first, at): (u64, u64),
        tail: Tail,
        logs: &dyn Logs,
    ) -> Result<Looked, KeepError> {
        let rank = (tail.made_ms, log, at);
        let base = self.base.as_ref().map(|base| (base.made_ms, base.log, base.tail));
        if base == Some(rank) {
            self.latest_checkpoint = Some((log, first..at + 1));
        }
        let found = self.found.as_ref().map(|found| &found.checkpoint);
        let found = found.map(|found| (found.made_ms, found.log, found.tail));
        if base.is_some_and(|base| rank < base || rank == base && !self.stale)
            || found.is_some_and(|found| rank <= found)
        {
            return Ok(Looked::Nothing);
        }
        let mut bytes = Vec::new();
        for position in at - tail.standing..at {
            let Some(block) = logs.block(&log, position).map_err(ReadError::from)? else {
                return Ok(Looked::Missing(position));
            };
            match CheckpointBlock::decode(&block) {
                Ok(CheckpointBlock { what: What::Standing(piece), .. }) => bytes.extend_from_slice(&piece),
                _ => return Ok(self.spoilt(log, at, "a part of a checkpoint is missing")),
            }
        }
        let (Some(standing), Some(founder)) = (Standing::decode(&bytes), &self.founder) else {
            return Ok(self.spoilt(log, at, "what a checkpoint says of members cannot be read"));
        };
        let records = standing.records(founder);
        let settled = match (standing.base(), &self.base) {
            (Some(theirs), Some(ours)) if theirs == (ours.log, ours.tail) => ours.heads.clone(),
            _ => crate::Heads::new(),
        };
        let members = Members::of(founder, &records, &settled);
        let checkpoint = Checkpoint { log, tail: at, made_ms: tail.made_ms, heads: standing.heads() };
        Ok(Looked::Found(Box::new(Found {
            checkpoint,
            tail,
            first,
            held: first,
            epoch: None,
            standing,
            records,
            members,
        })))
    }

    fn spoilt(&mut self, log: WriterId, tail: u64, why: &str) -> Looked {
        self.spoil(log, tail, why);
        Looked::Nothing
    }

    /// Leaves a checkpoint alone that makes no sense.
    pub(super) fn spoil(&mut self, log: WriterId, tail: u64, why: &str) {
        self.refuse(log.client(), tail, Fault::Block(why.to_owned()));
        self.spoiled.insert((log, tail));
        // Before it there may be another.
        self.looked.remove(&log);
    }
}
