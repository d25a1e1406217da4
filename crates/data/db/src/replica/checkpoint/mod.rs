//! Beginning from a checkpoint instead of from nothing.
//!
//! A checkpoint is what an owner's device showed when it had read so much of each log (its *heads*). It settles what lies before them:
//! which of those entries count was decided by the records that its maker knew, and nothing decides it again. So history before it may
//! be forgotten, and who comes later begins with it. Every copy comes to build upon the same checkpoint, the latest that it hears of:
//! one that has read the same under the same records takes it as it is, any other loads its contents.

mod find;
mod load;
mod standing;
mod write;

pub(super) use find::Found;
pub(super) use standing::Pairs;
pub use standing::Standing;
pub use write::Writing;

use super::{Advanced, Logs, Replica, advance};
use crate::error::KeepError;
use crate::members::Members;
use crate::wire::EpochId;
use crate::{ClientId, Heads, WriterId, row};
use cloudpal_core::PublicKey;
use cloudpal_log::{Manifest, Signer};
use cloudpal_sorted::{Batch, Pages};

/// A checkpoint that a copy builds upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log it lies in.
    pub log: WriterId,
    /// Its last block there.
    pub tail: u64,
    /// Milliseconds since 1970 when it was made.
    pub made_ms: u64,
    /// How many blocks of each log lie before it.
    pub heads: Heads,
}

/// The manifest of the log in which an owner's device, known by the log it writes to, keeps its checkpoints. Everybody can work it out,
/// so nobody has to be told where checkpoints are; only the owner's key signs it.
pub fn checkpoint_manifest(owner: &PublicKey, database: &WriterId, writer: &WriterId) -> Manifest {
    let namespace = cloudpal_log::hash::blake2b(&[b"cloudpal checkpoints", &database.0, &writer.0]);
    Manifest::quorum(1, vec![Signer { namespace, public_key: *owner.as_bytes() }])
}

/// Entries taken out of the change feed at once.
const FORGOTTEN_AT_ONCE: usize = 4096;

/// What came of looking for a checkpoint.
pub(super) enum Settled {
    Nothing,
    /// There is more to read now.
    News,
}

impl<P: Pages> Replica<P> {
    /// The checkpoint that this copy builds upon, if any.
    pub const fn base(&self) -> Option<&Checkpoint> {
        self.base.as_ref()
    }

    /// The log in which this device keeps its checkpoints; none if it has not the owner's key.
    pub fn own_checkpoints(&self) -> Option<Manifest> {
        let founder = self.founder.as_ref()?;
        self.me.owner.as_ref().filter(|owner| owner.public() == founder.owner)?;
        Some(checkpoint_manifest(&founder.owner, &self.database, &self.me.writer))
    }

    /// The logs in which there may be checkpoints, to be had beside the members' logs.
    pub fn checkpoint_logs(&self) -> &[WriterId] {
        &self.checkpoint_logs
    }

    /// The blocks of the latest checkpoint that was found, of which this copy should hold all.
    pub fn latest_checkpoint(&self) -> Option<(WriterId, std::ops::Range<u64>)> {
        self.latest_checkpoint.clone()
    }

    /// Whether anything was merged or loaded.
    pub const fn has_begun(&self) -> bool {
        self.feed > 0 || self.base.is_some()
    }

    /// How much of each log need not be had, as there is a checkpoint with what lies before.
    pub fn settled(&self) -> Heads {
        match (&self.found, &self.base) {
            (Some(found), _) if self.feed == 0 && self.base.is_none() => found.checkpoint.heads.clone(),
            (_, Some(base)) => base.heads.clone(),
            _ => Heads::new(),
        }
    }

    /// Whether a log of checkpoints of this length was looked through.
    pub fn has_looked(&self, log: &WriterId, length: u64) -> bool {
        self.looked.get(log) == Some(&length)
    }

    /// Entries that count and are not in the change feed: behind the last of each writer.
    pub const fn untold(&self) -> &Heads {
        &self.untold
    }

    /// Forgets, in the change feed, entries that lie before `heads`: their blocks are to be cleared. How many there were.
    pub fn forget_history(&mut self, heads: &Heads) -> Result<u64, KeepError> {
        let (view, mut number, mut forgotten) = (self.view(), 0, 0);
        loop {
            let changes = view.changes(number, FORGOTTEN_AT_ONCE)?;
            let Some(last) = changes.last() else { return Ok(forgotten) };
            number = last.number + 1;
            let mut batch = Batch::new();
            for change in changes.iter().filter(|change| heads.contains(change.dot)) {
                batch.delete(row::feed(change.number));
                self.untold.see(change.dot.client, change.dot.position + 1);
                forgotten += 1;
            }
            self.sorted.write(batch);
            self.keep()?;
        }
    }

    pub(super) fn know_checkpoint_logs(&mut self) {
        let Some(founder) = &self.founder else { return };
        let (owner, database) = (founder.owner, self.database);
        let key = |writer: &WriterId| WriterId(checkpoint_manifest(&owner, &database, writer).key());
        self.checkpoint_logs = self.members.managers_logs().map(|writer| key(&writer)).collect();
    }

    /// Takes the latest checkpoint for the base, or loads it, if that can be.
    pub(super) fn settle(&mut self, logs: &dyn Logs, advanced: &mut Advanced) -> Result<Settled, KeepError> {
        self.find(logs, &mut advanced.missing)?;
        let Some(found) = &self.found else { return Ok(Settled::Nothing) };
        if self.is_at(found) {
            let found = self.found.take();
            found.into_iter().for_each(|found| self.adopt(found));
            return Ok(Settled::News);
        }
        self.load_found(logs, advanced)
    }

    /// Whether this copy has merged what lies before a checkpoint just as its maker has.
    fn is_at(&self, found: &Found) -> bool {
        let same_base = found.standing.base() == self.base.as_ref().map(|base| (base.log, base.tail));
        same_base && !self.stale && self.has_merged(&found.checkpoint.heads) && self.agrees(found)
    }

    fn has_merged(&self, heads: &Heads) -> bool {
        heads
            .iter()
            .all(|(client, length)| self.writers.get(&client).is_some_and(|writer| writer.read >= length))
    }

    /// Whether the members here would have the same entries before the checkpoint count as those that its maker knew.
    fn agrees(&self, found: &Found) -> bool {
        let (theirs, heads) = (&found.members, &found.checkpoint.heads);
        let alike = |client: ClientId| match (theirs.get(client), self.members.get(client)) {
            (Some(then), Some(now)) => {
                // Where it was not cut, all that was seen of it lies before the checkpoint.
                let length = match then.cut {
                    Some(_) => now.limit() == then.limit(),
                    None => now.limit() >= heads.get(client),
                };
                then.candidate == now.candidate && then.rights == now.rights && length
            }
            (None, Some(_)) => !found.records.speak_of(client),
            (_, None) => false,
        };
        let all = |members: &Members| members.iter().all(|(client, _)| alike(client));
        all(theirs) && all(&self.members)
    }

    fn adopt(&mut self, found: Found) {
        self.settle_records(&found);
        self.base = Some(found.checkpoint);
        if self.members_changed() {
            self.stale = true;
        }
    }

    fn settle_records(&mut self, found: &Found) {
        let Some(founder) = self.founder else { return };
        let later = std::mem::replace(&mut self.records, found.records.clone());
        self.records.add_later(&founder, later, &found.checkpoint.heads);
    }

    /// Who was admitted after the checkpoint finds the key for it in records that lie behind it.
    fn look_for_key(&mut self, epoch: EpochId, logs: &dyn Logs) -> Result<Settled, KeepError> {
        let (Some(founder), Some(found)) = (self.founder, self.found.take()) else {
            return Ok(Settled::Nothing);
        };
        let mut over = self.records.add_all(&founder, &found.records) && self.members_changed();
        for (client, length) in found.checkpoint.heads.iter() {
            if let Some(writer) = self.writers.get_mut(&client) {
                writer.scanned = writer.scanned.max(length);
            }
        }
        self.found = Some(found);
        let clients: Vec<ClientId> = self.writers.keys().copied().collect();
        for client in clients {
            over |= matches!(self.look_ahead(client, logs)?, advance::Ahead::Over);
        }
        if over {
            self.start_over()?;
        }
        Ok(if self.keys.contains_key(&epoch) { Settled::News } else { Settled::Nothing })
    }
}
