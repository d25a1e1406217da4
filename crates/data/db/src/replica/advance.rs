use super::checkpoint::Settled;
use super::{Replica, Waiting, Writer};
use crate::error::{KeepError, LogsError, ReadError};
use crate::members::Founder;
use crate::merge::{Author, Merge};
use crate::record::{Candidate, SignedRecord};
use crate::rows::Overlay;
use crate::valid::{self, Fault};
use crate::wire::{Block, Entry, Header, Part};
use crate::{ClientId, Dot, Heads, WriterId, row};
use bytes::Bytes;
use cloudpal_log::codec::Write as _;
use cloudpal_sorted::Pages;

/// The logs that the caller has.
pub trait Logs {
    /// How many blocks the log of `writer` has, held here or not; 0 if it is not known.
    fn length(&self, writer: &WriterId) -> u64;
    /// Block `position` of it, if it is held here.
    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError>;
}

/// What came of reading the logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advanced {
    /// Entries merged.
    pub merged: u64,
    /// Whether the view was filled from a checkpoint.
    pub loaded: bool,
    /// Blocks that are needed to go on and are not held here, the first of each log.
    pub missing: Vec<(WriterId, u64)>,
    /// When, in milliseconds since 1970, the earliest of the entries that are ahead of the clock is due.
    pub due_ms: Option<u64>,
    /// Writers whose next entry waits for something that others have seen and this copy has not.
    pub behind: Vec<WriterId>,
    /// Writers whose next entry is sealed under a key that is not here.
    pub locked: Vec<WriterId>,
}

/// Why a writer's next block was not dealt with.
enum Halt {
    End,
    Missing(u64),
    Due(u64),
    Behind,
    Locked,
}

enum Stepped {
    On,
    Halted(Halt),
    /// Members changed so that what was merged must be merged again.
    Over,
}

impl<P: Pages> Replica<P> {
    /// Reads the logs as far as they go and merges what is ready.
    pub fn advance(&mut self, logs: &dyn Logs, now_ms: u64) -> Result<Advanced, KeepError> {
        let (mut merged, mut loaded) = (0, false);
        loop {
            let mut advanced = if self.stale {
                Advanced::default()
            } else if let Some(advanced) = self.pass(logs, now_ms)? {
                advanced
            } else {
                self.start_over()?;
                continue;
            };
            merged += advanced.merged;
            advanced.merged = merged;
            advanced.loaded = loaded;
            if let Settled::Nothing = self.settle(logs, &mut advanced)? {
                return Ok(advanced);
            }
            loaded = advanced.loaded;
        }
    }

    /// As [`advance`](Self::advance); none if everything must begin anew.
    fn pass(&mut self, logs: &dyn Logs, now_ms: u64) -> Result<Option<Advanced>, KeepError> {
        if self.founder.is_none() {
            let first = WriterId(self.database.0);
            self.writers.entry(first.client()).or_insert_with(|| Writer::new(first));
        }
        let mut advanced = Advanced::default();
        let mut rows = Overlay::new(self.sorted.snapshot());
        loop {
            let mut moved = false;
            advanced = Advanced { merged: advanced.merged, ..Advanced::default() };
            let clients: Vec<ClientId> = self.writers.keys().copied().collect();
            for client in clients {
                loop {
                    let merged = self.feed;
                    match self.step(client, logs, now_ms, &mut rows)? {
                        Stepped::On => moved = true,
                        Stepped::Over => return Ok(None),
                        Stepped::Halted(halt) => {
                            let waits = matches!(halt, Halt::Due(_) | Halt::Behind | Halt::Locked)
                                || matches!(halt, Halt::End) && self.members.limit(client) < u64::MAX;
                            advanced.halted(self.writers[&client].id, halt);
                            match if waits { self.look_ahead(client, logs)? } else { Ahead::Nothing } {
                                Ahead::Nothing => {}
                                Ahead::News => moved = true,
                                Ahead::Over => return Ok(None),
                            }
                            break;
                        }
                    }
                    advanced.merged += self.feed - merged;
                    if rows.is_large() {
                        rows = self.put(rows)?;
                    }
                }
            }
            if !moved {
                self.put(rows)?;
                return Ok(Some(advanced));
            }
        }
    }

    /// Looks for records behind an entry that waits: who is a member does not have to wait for it, and the key that
    /// it waits for may be among them. Also behind a cut, as members may have written under a key that a manager gave them there
    /// before they knew that he was cut.
    pub(super) fn look_ahead(&mut self, client: ClientId, logs: &dyn Logs) -> Result<Ahead, KeepError> {
        let Some(writer) = self.writers.get(&client) else { return Ok(Ahead::Nothing) };
        let (id, from) = (writer.id, writer.scanned.max(writer.read));
        let end = logs.length(&id);
        let (mut at, mut new) = (from, false);
        while at < end {
            let Some(bytes) = logs.block(&id, at).map_err(ReadError::from)? else { break };
            if let Ok(Block::Records(records)) = Block::decode(&bytes) {
                new |= self.take_in(records, Dot { client, position: at });
            }
            at += 1;
        }
        if let Some(writer) = self.writers.get_mut(&client) {
            writer.scanned = at;
        }
        Ok(match new.then(|| self.members_changed()) {
            None => Ahead::Nothing,
            Some(false) => Ahead::News,
            Some(true) => Ahead::Over,
        })
    }

    fn take_in(&mut self, records: Vec<SignedRecord>, at: Dot) -> bool {
        let Some(founder) = self.founder else { return false };
        let limit = self.members.limit(at.client);
        let mut new = false;
        for record in records {
            match self.records.insert(&founder, record, at, limit) {
                Ok(known) => new |= known,
                Err(why) => self.refuse(at.client, at.position, Fault::Record(why)),
            }
        }
        new
    }

    /// Puts merged rows into the view.
    fn put(&mut self, rows: Overlay<P>) -> Result<Overlay<P>, KeepError> {
        if !rows.is_empty() {
            self.sorted.write(rows.into_batch());
            self.version += 1;
            self.keep()?;
        }
        Ok(Overlay::new(self.sorted.snapshot()))
    }

    /// Deals with the next block of a log.
    fn step(
        &mut self,
        client: ClientId,
        logs: &dyn Logs,
        now_ms: u64,
        rows: &mut Overlay<P>,
    ) -> Result<Stepped, KeepError> {
        let Some(writer) = self.writers.get_mut(&client) else { return Ok(Stepped::Halted(Halt::End)) };
        let (id, at) = (writer.id, writer.read);
        let counts = match &self.founder {
            None => 1,
            Some(_) => self.members.get(client).map_or(0, crate::Member::limit),
        };
        // A cut may have come while it waited.
        writer.waiting.take_if(|waiting| waiting.last >= counts);
        if writer.waiting.is_none() {
            if at >= logs.length(&id).min(counts) {
                return Ok(Stepped::Halted(Halt::End));
            }
            let Some(bytes) = logs.block(&id, at).map_err(ReadError::from)? else {
                return Ok(Stepped::Halted(Halt::Missing(at)));
            };
            match Block::decode(&bytes) {
                Ok(Block::Header(header)) if at == 0 => return Ok(self.header(client, header)),
                Ok(Block::Records(records)) => {
                    let new = self.take_in(records, Dot { client, position: at });
                    self.read_to(client, at + 1);
                    let over = new && self.members_changed();
                    return Ok(if over { Stepped::Over } else { Stepped::On });
                }
                Ok(Block::Part(first)) => match self.gather(logs, id, at, counts, first)? {
                    Gathered::Halted(halt) => return Ok(Stepped::Halted(halt)),
                    Gathered::Bad(position, fault) => {
                        self.refuse(client, position, fault);
                        self.read_to(client, position + 1);
                        return Ok(Stepped::On);
                    }
                    Gathered::Whole(entry, last) => {
                        if client == self.me.client() {
                            // It was all taken in before, whatever the clock says now.
                            self.vouched.merge(&entry.seen);
                            self.vouched.see(client, last + 1);
                        }
                        if let Some(writer) = self.writers.get_mut(&client) {
                            writer.waiting = Some(Box::new(Waiting { entry, last }));
                        }
                        return Ok(Stepped::On);
                    }
                },
                Ok(Block::Header(_)) => {
                    self.refuse(client, at, Fault::Block("a header that is not the first block".to_owned()));
                    self.read_to(client, at + 1);
                    return Ok(Stepped::On);
                }
                Err(error) => {
                    self.refuse(client, at, Fault::Block(error.to_string()));
                    self.read_to(client, at + 1);
                    return Ok(Stepped::On);
                }
            }
        }
        self.merge_waiting(client, now_ms, rows)
    }

    fn header(&mut self, client: ClientId, header: Header) -> Stepped {
        match header {
            Header::Founder { owner, agreement, signer } if client == self.database.client() => {
                let candidate = Candidate { writer: self.database.0, agreement, signer };
                self.founder = Some(Founder { candidate, owner });
                self.members_changed();
            }
            Header::Member { database } if database == self.database => {}
            _ => self.refuse(client, 0, Fault::Block("the header of another database".to_owned())),
        }
        self.read_to(client, 1);
        Stepped::On
    }

    /// The entry whose first part lies at `at`.
    fn gather(
        &self,
        logs: &dyn Logs,
        id: WriterId,
        at: u64,
        counts: u64,
        first: Part,
    ) -> Result<Gathered, KeepError> {
        let Some(key) = self.keys.get(&first.epoch) else { return Ok(Gathered::Halted(Halt::Locked)) };
        if first.part != 0 {
            return Ok(Gathered::Bad(at, Fault::Entry("its first parts are missing".to_owned())));
        }
        let (epoch, count) = (first.epoch, first.parts);
        let mut parts = vec![first];
        // All of it is there before any of it is opened: it is asked for again with every block that comes.
        for position in at + 1..at + count {
            if position >= counts {
                let fault = Fault::Entry("its log was cut within it".to_owned());
                return Ok(Gathered::Bad(position - 1, fault));
            }
            if position >= logs.length(&id) {
                return Ok(Gathered::Halted(Halt::End));
            }
            let Some(bytes) = logs.block(&id, position).map_err(ReadError::from)? else {
                return Ok(Gathered::Halted(Halt::Missing(position)));
            };
            match Block::decode(&bytes) {
                Ok(Block::Part(part))
                    if (part.part, part.parts, part.epoch) == (position - at, count, epoch) =>
                {
                    parts.push(part);
                }
                // What is no further part may be something of its own, so reading goes on with it.
                _ => return Ok(Gathered::Bad(position - 1, Fault::Entry("a part is missing".to_owned()))),
            }
        }
        let mut text = Vec::new();
        for (position, part) in (at..).zip(&parts) {
            match part.open(key, &id, position) {
                Some(more) => text.raw(&more),
                None => return Ok(Gathered::Bad(position, Fault::Sealed)),
            }
        }
        let last = at + count - 1;
        Ok(match Entry::decode(&text.into()) {
            Ok(entry) if entry.seen.get(id.client()) > 0 => Gathered::Bad(last, Fault::Future),
            Ok(entry) => Gathered::Whole(entry, last),
            Err(error) => Gathered::Bad(last, Fault::Entry(error.to_string())),
        })
    }

    /// The entry that begins at `dot`, read again from its log; none if there is none that can be read.
    pub fn entry_at(&self, logs: &dyn Logs, dot: Dot) -> Result<Option<Entry>, KeepError> {
        let Some(writer) = self.writers.get(&dot.client) else { return Ok(None) };
        let missing = ReadError::History { client: dot.client, position: dot.position };
        let Some(bytes) = logs.block(&writer.id, dot.position).map_err(ReadError::from)? else {
            return Err(missing.into());
        };
        let Ok(Block::Part(first)) = Block::decode(&bytes) else { return Ok(None) };
        match self.gather(logs, writer.id, dot.position, u64::MAX, first)? {
            Gathered::Whole(entry, _) => Ok(Some(entry)),
            Gathered::Bad(..) => Ok(None),
            Gathered::Halted(_) => Err(missing.into()),
        }
    }

    /// Merges the entry that waits, if it is time.
    fn merge_waiting(
        &mut self,
        client: ClientId,
        now_ms: u64,
        rows: &mut Overlay<P>,
    ) -> Result<Stepped, KeepError> {
        let Some(writer) = self.writers.get(&client) else { return Ok(Stepped::Halted(Halt::End)) };
        let Some(waiting) = &writer.waiting else { return Ok(Stepped::Halted(Halt::End)) };
        if !waiting.entry.seen.iter().all(|(other, length)| self.has_read(other, length)) {
            return Ok(Stepped::Halted(Halt::Behind));
        }
        let own = Dot { client, position: writer.read };
        if waiting.entry.stamp.is_ahead(now_ms) && !self.vouched.contains(own) {
            let due = waiting.entry.stamp.wall_ms - crate::clock::PATIENCE_MS;
            return Ok(Stepped::Halted(Halt::Due(due)));
        }
        let Some(writer) = self.writers.get_mut(&client) else { return Ok(Stepped::Halted(Halt::End)) };
        let Some(waiting) = writer.waiting.take() else { return Ok(Stepped::Halted(Halt::End)) };
        let Waiting { entry, last } = *waiting;
        let position = writer.read;
        writer.seen.merge(&entry.seen);
        writer.seen.see(client, last + 1);
        let seen = writer.seen.clone();
        self.read_to(client, last + 1);
        let own = Dot { client, position };
        match self.members.get(client).map(|member| valid::check(&entry, member, own, &seen)) {
            Some(Ok(())) => self.merge(client, position, &entry, &seen, rows).map_err(KeepError::from)?,
            Some(Err(fault)) => self.refuse(client, position, fault),
            None => {}
        }
        Ok(Stepped::On)
    }

    fn merge(
        &mut self,
        client: ClientId,
        position: u64,
        entry: &Entry,
        seen: &Heads,
        rows: &mut Overlay<P>,
    ) -> Result<(), ReadError> {
        let dot = Dot { client, position };
        let author = Author { dot, stamp: entry.stamp, seen, all: seen.covers(&self.latest) };
        Merge::new(rows, author, &mut self.tally).entry(entry)?;
        self.merged(dot, entry, rows);
        Ok(())
    }

    /// Notes that an entry was merged.
    pub(super) fn merged(&mut self, dot: Dot, entry: &Entry, rows: &mut Overlay<P>) {
        rows.put(row::feed(self.feed), row::feed_value(dot, entry.stamp));
        self.feed += 1;
        self.latest.see(dot.client, dot.position + 1);
        self.clock.see(entry.stamp);
    }

    /// Whether as much of a log as counts, or `length` of it, was dealt with. What was never admitted has nothing that counts,
    /// but of a writer that nobody has spoken of yet, word may still come.
    fn has_read(&self, client: ClientId, length: u64) -> bool {
        let counts = match self.members.get(client) {
            Some(member) => member.limit(),
            None if self.records.speak_of(client) => 0,
            None => u64::MAX,
        };
        self.writers.get(&client).map_or(0, |writer| writer.read) >= length.min(counts)
    }

    fn read_to(&mut self, client: ClientId, length: u64) {
        if let Some(writer) = self.writers.get_mut(&client) {
            writer.read = length;
        }
    }
}

pub(super) enum Ahead {
    Nothing,
    News,
    Over,
}

enum Gathered {
    /// The entry, and the block that completes it.
    Whole(Entry, u64),
    Bad(u64, Fault),
    Halted(Halt),
}

impl Advanced {
    fn halted(&mut self, writer: WriterId, halt: Halt) {
        match halt {
            Halt::End => {}
            Halt::Missing(position) => self.missing.push((writer, position)),
            Halt::Due(due) => self.due_ms = Some(self.due_ms.map_or(due, |earliest| earliest.min(due))),
            Halt::Behind => self.behind.push(writer),
            Halt::Locked => self.locked.push(writer),
        }
    }
}
