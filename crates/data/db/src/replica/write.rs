use super::Replica;
use crate::batch::Batch;
use crate::cell::Cell;
use crate::derive::Derive;
use crate::error::{ReadError, WriteError};
use crate::limits::MAX_ENTRY;
use crate::merge::{Author, Merge, Tally};
use crate::record::SignedRecord;
use crate::row;
use crate::rows::{Overlay, Rows};
use crate::valid;
use crate::wire::{Block, Condition, Entry, Header, parts};
use crate::{Dot, Heads, Stamp, value};
use bytes::Bytes;
use cloudpal_sorted::Pages;

/// What a batch was written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Where it lies.
    pub dot: Dot,
    /// When.
    pub stamp: Stamp,
}

/// Batches made into blocks, not yet written. Append [`blocks`](Self::blocks) to this device's log at
/// [`position`](Self::position), then [commit](Replica::commit); or drop it, and nothing has happened.
pub struct Prepared<P: Pages> {
    /// The blocks, to be appended as one.
    pub blocks: Vec<Bytes>,
    /// The length that the log must have.
    pub position: u64,
    /// What became of each batch.
    pub results: Vec<Result<Written, WriteError>>,
    rows: Overlay<P>,
    tally: Tally,
    entries: Vec<(Dot, Entry)>,
    seen: Heads,
}

impl<P: Pages> Replica<P> {
    /// Whether this device may write at all.
    pub(super) fn standing(&self) -> Result<(), WriteError> {
        let member = self.members.get(self.me.client()).ok_or(WriteError::NotAdmitted)?;
        if member.cut.is_some() { Err(WriteError::Cut) } else { Ok(()) }
    }

    /// Makes batches into blocks, each seeing those before it; one that cannot be written is left out and its result says why.
    ///
    /// `length` is how many blocks this device's log has; everything in it must have been [read](Self::advance). `nonces` gives 24
    /// fresh random bytes at each call.
    pub fn prepare(
        &self,
        batches: &[Batch],
        length: u64,
        now_ms: u64,
        nonces: &mut dyn FnMut() -> [u8; 24],
    ) -> Result<Prepared<P>, WriteError> {
        self.standing()?;
        self.check_length(length)?;
        let (epoch, key) = self.epoch().ok_or(WriteError::NoKey)?;
        let me = self.me.client();
        let mut prepared = Prepared {
            blocks: self.first_blocks(length),
            position: length,
            results: Vec::with_capacity(batches.len()),
            rows: Overlay::new(self.sorted.snapshot()),
            tally: self.tally.clone(),
            entries: Vec::new(),
            seen: self.heads(),
        };
        let mut before = self.writers.get(&me).map(|writer| writer.seen.clone()).unwrap_or_default();
        let mut clock = self.clock;
        for batch in batches {
            let position = length + prepared.blocks.len() as u64;
            let stamp = clock.next(now_ms);
            let entry = Entry { stamp, seen: prepared.seen.since(&before, me), ..Entry::default() };
            prepared.rows.begin();
            let tally = prepared.tally.clone();
            let made = self.entry(batch, entry, position, &mut prepared.rows, &mut prepared.tally);
            let made = made.and_then(|entry| {
                let text = entry.encode();
                debug_assert_eq!(Entry::decode(&text.clone().into()).as_ref(), Ok(&entry));
                if text.len() > MAX_ENTRY { Err(WriteError::Batch(text.len())) } else { Ok((entry, text)) }
            });
            let result = match made {
                Ok((entry, text)) => {
                    prepared.blocks.extend(parts(&text, epoch, key, &self.me.writer, position, nonces));
                    let dot = Dot { client: me, position };
                    clock.see(stamp);
                    before.merge(&prepared.seen);
                    prepared.entries.push((dot, entry));
                    Ok(Written { dot, stamp })
                }
                Err(error) => {
                    prepared.rows.take_back();
                    prepared.tally = tally;
                    Err(error)
                }
            };
            prepared.results.push(result);
        }
        Ok(prepared)
    }

    /// Takes what was prepared and is now in the log into the view.
    pub fn commit(&mut self, prepared: Prepared<P>) {
        let Prepared { blocks, position, mut rows, tally, entries, seen, .. } = prepared;
        if blocks.is_empty() {
            return;
        }
        let me = self.me.client();
        let read = position + blocks.len() as u64;
        self.tally = tally;
        for (dot, entry) in &entries {
            self.merged(*dot, entry, &mut rows);
        }
        let id = self.me.writer;
        let writer = self.writers.entry(me).or_insert_with(|| super::Writer::new(id));
        writer.read = read;
        if !entries.is_empty() {
            writer.seen.merge(&seen);
            writer.seen.see(me, read);
        }
        self.sorted.write(rows.into_batch());
        self.version += 1;
    }

    /// Blocks that carry `records`, to be appended at `length`; the next [`advance`](Self::advance) reads them.
    pub fn carry(&self, records: Vec<SignedRecord>, length: u64) -> Result<Vec<Bytes>, WriteError> {
        self.check_length(length)?;
        let mut blocks = if length == 0 { self.begin() } else { Vec::new() };
        blocks.push(Block::Records(records).encode());
        Ok(blocks)
    }

    /// That the log has not lost anything that others have seen, and was read.
    fn check_length(&self, length: u64) -> Result<(), WriteError> {
        let me = self.me.client();
        let read = self.writers.get(&me).map_or(0, |writer| writer.read);
        if read > length {
            return Err(WriteError::RolledBack);
        }
        // Their entries wait, so there is at most one of each writer.
        for (client, writer) in self.writers.iter().filter(|(client, _)| !self.disbelieved.contains(client)) {
            if let Some(waiting) = &writer.waiting
                && waiting.entry.seen.get(me) > length
            {
                return Err(WriteError::SeenMore { client: *client, position: writer.read });
            }
        }
        if read < length || self.stale { Err(WriteError::Waiting) } else { Ok(()) }
    }

    /// What comes in front of this device's next entry: the header of a new log, and records of the owner's that lie only in parts
    /// of logs that were cut away.
    fn first_blocks(&self, length: u64) -> Vec<Bytes> {
        let mut blocks = if length == 0 { self.begin() } else { Vec::new() };
        let astray = self.astray();
        if !astray.is_empty() {
            blocks.push(Block::Records(astray).encode());
        }
        blocks
    }

    fn begin(&self) -> Vec<Bytes> {
        vec![Block::Header(Header::Member { database: self.database }).encode()]
    }

    /// Records of the owner's that no part of a log that counts carries.
    pub fn astray(&self) -> Vec<SignedRecord> {
        let Some(founder) = &self.founder else { return Vec::new() };
        let counts =
            |dot: &Dot| self.members.get(dot.client).is_some_and(|member| dot.position < member.limit());
        let lost = self
            .records
            .iter()
            .filter(|held| held.signed.signer() == founder.owner && !held.places.iter().any(counts));
        lost.map(|held| held.signed.clone()).collect()
    }

    fn entry(
        &self,
        batch: &Batch,
        mut entry: Entry,
        position: u64,
        rows: &mut Overlay<P>,
        tally: &mut Tally,
    ) -> Result<Entry, WriteError> {
        let me = self.me.client();
        let member = self.members.get(me).ok_or(WriteError::NotAdmitted)?;
        for (sub, ..) in &batch.edits {
            if !member.may_write(sub, entry.stamp.wall_ms) {
                return Err(WriteError::Rights { sub: sub.clone() });
            }
        }
        for (sub, key, expected) in &batch.conditions {
            if value::get(rows, sub, key)? != *expected {
                return Err(WriteError::Condition { sub: sub.clone(), key: key.clone() });
            }
        }
        for (sub, key, path, versions) in &batch.seen {
            let cell = rows.get(&row::data(sub, key, path))?.map(|bytes| Cell::decode(&bytes));
            let cell = cell.transpose().map_err(ReadError::from)?.unwrap_or_default();
            let mut now: Vec<Dot> =
                cell.winner().into_iter().chain(cell.losers()).map(|version| version.dot).collect();
            now.sort_unstable();
            if now != *versions {
                return Err(WriteError::Versions { sub: sub.clone(), key: key.clone() });
            }
        }
        let mut seen = self.heads();
        // How many blocks the entry takes is not known yet; all of its log it has seen.
        seen.see(me, u64::MAX);
        let author = Author { dot: Dot { client: me, position }, stamp: entry.stamp, seen: &seen, all: true };
        let mut merge = Merge::new(rows, author, tally);
        let mut own = Vec::with_capacity(16);
        own.extend_from_slice(&me.get().to_be_bytes()[2..]);
        own.extend_from_slice(&position.to_be_bytes());
        let mut derive = Derive { entry: &mut entry, merge: &mut merge, own, documents: 0 };
        for (sub, edit) in &batch.edits {
            derive.edit(sub, edit)?;
        }
        for (sub, key, expected) in &batch.conditions {
            let sub = derive.place(sub);
            let hash = expected.as_ref().map(|value| cloudpal_log::hash::blake2b(&[value]));
            derive.entry.conditions.push(Condition { sub, key: key.clone(), hash });
        }
        merge.finish()?;
        debug_assert_eq!(valid::check(&entry, member, Dot { client: me, position }, &seen), Ok(()));
        Ok(entry)
    }
}
