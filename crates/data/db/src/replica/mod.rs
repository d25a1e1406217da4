//! One copy of a database: the logs it has read, the members it knows, and the view.
//!
//! ```text
//!            prepare ──► blocks ──► (the caller appends them to this device's log) ──► commit ─┐
//!                                                                                               ▼
//! other logs ──► advance: whole? sealed for us? seen all it has seen? due? allowed? ──► merge ──► view
//!                   │                                                                           ▲
//!                   └─ records ──► members ──► a cut of what was merged: everything again ──────┘
//! ```

mod advance;
mod checkpoint;
mod manage;
mod state;
mod write;

pub use advance::{Advanced, Logs};
pub use checkpoint::{Checkpoint, Standing, Writing, checkpoint_manifest};
pub use write::{Prepared, Written};

use crate::clock::Clock;
use crate::error::KeepError;
use crate::members::{Founder, Members, Records};
use crate::merge::Tally;
use crate::record::{Candidate, Says};
use crate::valid::Fault;
use crate::view::View;
use crate::wire::{Entry, EpochId, EpochKey, open_key};
use crate::{ClientId, Heads, WriterId};
use cloudpal_core::{AgreementSecret, SigningKey};
use cloudpal_sorted::{Pages, Sorted};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// Who this device is in a database.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its log.
    pub writer: WriterId,
    /// Opens epoch keys.
    pub agreement: AgreementSecret,
    /// Signs its records, should it be a manager.
    pub signer: SigningKey,
    /// The owner's key, on the owner's devices.
    pub owner: Option<SigningKey>,
}

impl Identity {
    /// The public part, to be admitted.
    pub fn candidate(&self) -> Candidate {
        Candidate { writer: self.writer.0, agreement: self.agreement.public(), signer: self.signer.public() }
    }

    /// Its short id.
    pub fn client(&self) -> ClientId {
        self.writer.client()
    }
}

/// An entry that was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose.
    pub client: ClientId,
    /// The block with which it begins, or at which it turned out to be none.
    pub position: u64,
    /// Why.
    pub fault: Fault,
}

/// Refusals that are remembered.
const REFUSALS: usize = 1000;

/// One copy of a database. It does nothing by itself: time, random bytes, logs and pages come in.
pub struct Replica<P: Pages> {
    database: WriterId,
    me: Identity,
    sorted: Sorted<P>,
    founder: Option<Founder>,
    records: Records,
    members: Members,
    keys: BTreeMap<EpochId, EpochKey>,
    writers: BTreeMap<ClientId, Writer>,
    /// Of each writer: behind its last entry that was let in.
    latest: Heads,
    /// What this device's own entries say to have seen.
    vouched: Heads,
    clock: Clock,
    tally: Tally,
    /// The number of the next entry in the change feed.
    feed: u64,
    /// Entries that the change feed does not tell, as they came with a checkpoint or were forgotten.
    untold: Heads,
    /// Rises when the view is built anew: cursors of before mean nothing then.
    generation: u64,
    refusals: VecDeque<Refusal>,
    /// Writers whose word about this device's own log is not believed here.
    disbelieved: BTreeSet<ClientId>,
    version: u64,
    /// The checkpoint that everything else is built upon.
    base: Option<Checkpoint>,
    /// The view is not what the base and the members make of the logs: the base must be loaded again.
    stale: bool,
    checkpoint_logs: Vec<WriterId>,
    /// How long they were when they were last looked at.
    looked: BTreeMap<WriterId, u64>,
    /// A later checkpoint than the base.
    found: Option<checkpoint::Found>,
    latest_checkpoint: Option<(WriterId, Range<u64>)>,
    /// Checkpoints that make no sense.
    spoiled: BTreeSet<(WriterId, u64)>,
}

/// How far a log was read.
#[derive(Debug, Clone)]
struct Writer {
    id: WriterId,
    /// Blocks that were dealt with.
    read: u64,
    /// Blocks that were looked through for records, ahead of entries that wait.
    scanned: u64,
    /// What its entries have seen, all taken together.
    seen: Heads,
    /// The next entry, read but not yet merged.
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug, Clone)]
struct Waiting {
    entry: Entry,
    /// The block that completes it.
    last: u64,
}

impl Writer {
    fn new(id: WriterId) -> Self {
        Writer { id, read: 0, scanned: 0, seen: Heads::new(), waiting: None }
    }
}

impl<P: Pages> Replica<P> {
    /// Opens a copy of `database` whose view lies on the pages of `sorted`. What was not flushed is merged again by the next
    /// [`advance`](Self::advance).
    pub fn open(database: WriterId, me: Identity, sorted: Sorted<P>) -> Result<Self, KeepError> {
        let mut replica = Replica {
            database,
            me,
            sorted,
            founder: None,
            records: Records::default(),
            members: Members::default(),
            keys: BTreeMap::new(),
            writers: BTreeMap::new(),
            latest: Heads::new(),
            vouched: Heads::new(),
            clock: Clock::default(),
            tally: Tally::default(),
            feed: 0,
            untold: Heads::new(),
            generation: 0,
            refusals: VecDeque::new(),
            disbelieved: BTreeSet::new(),
            version: 0,
            base: None,
            stale: false,
            checkpoint_logs: Vec::new(),
            looked: BTreeMap::new(),
            found: None,
            latest_checkpoint: None,
            spoiled: BTreeSet::new(),
        };
        if let Some(mark) = replica.sorted.mark() {
            // A state that cannot be read was written by another version: everything is merged anew.
            match state::State::decode(&mark) {
                Some(state) => state.restore(&mut replica),
                None => replica.sorted.clear()?,
            }
        }
        replica.members_changed();
        Ok(replica)
    }

    /// A copy that has merged nothing yet but knows the members and keys that this one knows. Given logs that end earlier, it comes to the
    /// database as it was then, of which everything before `end` is wanted.
    pub fn past<Q: Pages>(&self, sorted: Sorted<Q>, end: &Heads) -> Result<Replica<Q>, KeepError> {
        let mut past = Replica::open(self.database, self.me.clone(), sorted)?;
        past.founder = self.founder;
        past.records = self.records.clone();
        past.keys = self.keys.clone();
        past.vouched = self.heads();
        past.base = self.base.clone().filter(|base| end.covers(&base.heads));
        past.stale = past.base.is_some();
        past.members_changed();
        Ok(past)
    }

    /// The database's key: the log of its founder.
    pub const fn database(&self) -> WriterId {
        self.database
    }

    /// Who this device is.
    pub const fn me(&self) -> &Identity {
        &self.me
    }

    /// Who belongs to the database, as far as is known here.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// The view as it is now.
    pub fn view(&self) -> View<P> {
        View::new(self.sorted.snapshot(), self.feed, self.generation)
    }

    /// Rises with every change of the view.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// What was read of each log, as [`advance`](Self::advance) left it.
    pub fn heads(&self) -> Heads {
        self.writers.iter().map(|(client, writer)| (*client, writer.read)).collect()
    }

    /// Entries that were not let in, the newest last.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.refusals.iter()
    }

    /// Rows in conflict.
    pub const fn conflicts(&self) -> u64 {
        self.tally.conflicts
    }

    /// Whether an index on the field `path` was declared.
    pub fn has_index(&self, sub: &crate::Sub, path: &str) -> bool {
        self.tally.indexes.has_path(sub, path)
    }

    /// The pages below, for compaction.
    pub const fn sorted(&self) -> &Sorted<P> {
        &self.sorted
    }

    /// From now on `client` is not believed when it says to have seen more of this device's log than there is. Only a person can know
    /// that this device was not restored from a backup: if it was, writing on would give its log two histories.
    pub fn disbelieve(&mut self, client: ClientId) {
        self.disbelieved.insert(client);
    }

    /// Whether the device's log may be written to.
    pub fn is_writable(&self) -> bool {
        self.standing().is_ok()
    }

    /// Writes what is in memory to pages if there is much of it; whether there was.
    pub fn keep(&self) -> Result<bool, KeepError> {
        let full = self.sorted.full();
        if full {
            self.flush()?;
        }
        Ok(full)
    }

    /// Writes what is in memory to pages.
    pub fn flush(&self) -> Result<(), KeepError> {
        Ok(self.sorted.flush(state::State::of(self).encode())?)
    }

    /// Forgets the view, so that the next [`advance`](Self::advance) builds it again from the logs.
    pub fn rebuild(&mut self) -> Result<(), KeepError> {
        self.start_over()
    }

    /// From now on numbers in the change feed belong to `generation`, which must never have been used: whenever entries may have been
    /// merged in another order than before.
    pub const fn renumber(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Works out members and keys again. Whether something that was merged would not be merged now, or the other way.
    fn members_changed(&mut self) -> bool {
        let Some(founder) = &self.founder else { return false };
        let settled = self.base.as_ref().map(|base| base.heads.clone()).unwrap_or_default();
        let old = std::mem::replace(&mut self.members, Members::of(founder, &self.records, &settled));
        self.find_keys();
        self.know_checkpoint_logs();
        let over = self.is_merged_otherwise(&old);
        for (client, member) in self.members.iter() {
            let writer = self.writers.entry(client).or_insert_with(|| Writer::new(member.writer()));
            if writer.id != member.writer() {
                *writer = Writer::new(member.writer());
            }
        }
        over
    }

    /// Whether logs were read that would be read otherwise now than under `old`.
    fn is_merged_otherwise(&self, old: &Members) -> bool {
        let read = |client| self.writers.get(&client).map_or(0, |writer| writer.read);
        let settled = |client| self.base.as_ref().map_or(0, |base| base.heads.get(client));
        // What lies before the checkpoint stays as it is.
        let begun = |client| {
            let looked_at = |writer: &Writer| writer.read.max(writer.scanned);
            self.writers.get(&client).is_some_and(|writer| looked_at(writer) > settled(client))
        };
        // Records in the log of somebody who has become a manager were passed over.
        let speaks = self.members.managers.difference(&old.managers).any(|client| begun(*client));
        speaks
            || old.iter().any(|(client, before)| {
                let now = self.members.get(client);
                let same = now.is_some_and(|now| {
                    now.rights == before.rights
                        && now.candidate == before.candidate
                        && read(client) <= now.limit()
                });
                // What was cut away may count again when a manager who had cut it loses the say.
                let longer = before.cut.is_some() && now.is_some_and(|now| now.limit() > before.limit());
                begun(client) && !same || longer && read(client) >= before.limit()
            })
    }

    /// Opens what was sealed to this device.
    fn find_keys(&mut self) {
        let me = self.me.client();
        for held in self.records.iter() {
            match &held.record.says {
                Says::Admit(admission) if admission.candidate.writer == self.me.writer.0 => {
                    for (id, sealed) in &admission.keys {
                        open_into(&mut self.keys, *id, || open_key(sealed, &self.me.agreement));
                    }
                }
                Says::Epoch { id, keys } => {
                    for (_, sealed) in keys.iter().filter(|(client, _)| *client == me.get()) {
                        open_into(&mut self.keys, *id, || open_key(sealed, &self.me.agreement));
                    }
                }
                _ => {}
            }
        }
    }

    /// The newest epoch whose key is here and whose maker could make one.
    fn epoch(&self) -> Option<(EpochId, &EpochKey)> {
        let known = self.members.epochs.iter().rev();
        known.filter_map(|id| self.keys.get(id).map(|key| (*id, key))).next()
    }

    /// Has everything behind the base merged again.
    fn start_over(&mut self) -> Result<(), KeepError> {
        if self.base.is_some() {
            // What was shown stays until the base is at hand.
            self.stale = true;
            self.looked.clear();
            self.found = None;
            return Ok(());
        }
        self.sorted.clear()?;
        self.forget();
        Ok(())
    }

    /// Forgets what was merged.
    fn forget(&mut self) {
        for writer in self.writers.values_mut() {
            *writer = Writer::new(writer.id);
        }
        self.latest = Heads::new();
        self.untold = Heads::new();
        self.tally = Tally::default();
        self.feed = 0;
        self.generation += 1;
        self.refusals.clear();
        self.version += 1;
    }

    fn refuse(&mut self, client: ClientId, position: u64, fault: Fault) {
        let refusal = Refusal { client, position, fault };
        // A block that is looked at ahead of time is read again later.
        if self.refusals.contains(&refusal) {
            return;
        }
        if self.refusals.len() >= REFUSALS {
            self.refusals.pop_front();
        }
        self.refusals.push_back(refusal);
    }
}

/// Adds a key that fits its id.
fn open_into(keys: &mut BTreeMap<EpochId, EpochKey>, id: EpochId, open: impl FnOnce() -> Option<EpochKey>) {
    if !keys.contains_key(&id)
        && let Some(key) = open().filter(|key| key.id(id.number) == id)
    {
        keys.insert(id, key);
    }
}
