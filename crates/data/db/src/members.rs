//! Who may write what, out of the records alone: the same records give the same members, whatever order they came in.
//!
//! The owner's word counts wherever it is found. A manager's word counts where it lies in the part of the manager's own log that
//! counts; the owner alone says how long that is, so there is no circle.

use crate::record::{Admission, Candidate, Cut, Record, Rights, Role, Says, SignedRecord};
use crate::wire::EpochId;
use crate::{ClientId, Dot, Heads, Sub, WriterId};
use cloudpal_core::PublicKey;
use std::collections::{BTreeMap, BTreeSet};

/// A member of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its log and public keys.
    pub candidate: Candidate,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// How much of its log counts, if not all.
    pub cut: Option<Cut>,
    /// What of its log lies before the checkpoint that this copy builds upon, and counts whatever is said.
    settled: u64,
}

impl Member {
    /// Its log.
    pub const fn writer(&self) -> WriterId {
        self.candidate.writer()
    }

    /// How many blocks of its log count.
    pub fn limit(&self) -> u64 {
        self.cut.as_ref().map_or(u64::MAX, |cut| cut.length.max(self.settled))
    }

    /// Whether it may write to `sub`, in an entry stamped `wall_ms`.
    pub(crate) fn may_write(&self, sub: &Sub, wall_ms: u64) -> bool {
        let scope = &self.rights.scope;
        self.rights.role != Role::Reader
            && self.rights.until_ms.is_none_or(|until| wall_ms < until)
            && (scope.is_empty() || scope.iter().any(|path| sub.lies_under(path)))
    }
}

/// The founder of a database: its first block says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Founder {
    pub candidate: Candidate,
    pub owner: PublicKey,
}

/// All records that were found, and where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    by_digest: BTreeMap<[u8; 32], Held>,
    /// Writers that some record is about.
    about: BTreeSet<ClientId>,
    /// Whom the owner ever made a manager, and the keys they sign with.
    managers: BTreeSet<(ClientId, [u8; 32])>,
}

#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub signed: SignedRecord,
    pub record: Record,
    /// Where it lies: more than one place when it was carried on.
    pub places: BTreeSet<Dot>,
}

impl Records {
    /// Takes in what lies at `at`: whether that was not known. A record that can count for nothing there is not kept, so that nobody
    /// fills this copy with them; the error says why.
    /// Behind the `limit` up to which the log counts, a manager's word gives keys and nothing else.
    pub fn insert(
        &mut self,
        founder: &Founder,
        signed: SignedRecord,
        at: Dot,
        limit: u64,
    ) -> Result<bool, &'static str> {
        let by_owner = signed.signer() == founder.owner;
        let signer = (at.client, *signed.signer().as_bytes());
        let first = (founder.candidate.writer().client(), *founder.candidate.signer.as_bytes());
        if !by_owner && signer != first && !self.managers.contains(&signer) {
            return Err("neither the owner nor the manager in whose log it lies has signed it");
        }
        let digest = signed.digest();
        if let Some(held) = self.by_digest.get_mut(&digest) {
            return Ok(held.places.insert(at));
        }
        let record = signed.verify().ok_or("its signature is not right")?;
        if record.database != founder.candidate.writer {
            return Err("it is for another database");
        }
        if at.position >= limit && !by_owner && !matches!(record.says, Says::Epoch { .. }) {
            // Whom it admits has no say; but those who took in what he wrote before they knew must not wait for him for ever.
            return Ok(record.about().is_some_and(|client| self.about.insert(client)));
        }
        if let Says::Admit(Admission { candidate, rights, .. }) = &record.says
            && rights.role == Role::Manager
        {
            if !by_owner {
                return Err("only the owner makes managers");
            }
            self.managers.insert((candidate.writer().client(), *candidate.signer.as_bytes()));
        }
        self.about.extend(record.about());
        self.by_digest.insert(digest, Held { signed, record, places: BTreeSet::from([at]) });
        Ok(true)
    }

    /// Whether any record is about this writer.
    pub fn speak_of(&self, client: ClientId) -> bool {
        self.about.contains(&client)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.by_digest.values()
    }

    /// Writers that some record is about.
    pub fn about(&self) -> impl Iterator<Item = ClientId> {
        self.about.iter().copied()
    }

    /// Records, and where they lie.
    pub fn into_pairs(self) -> Vec<(SignedRecord, Vec<(u64, u64)>)> {
        let pairs = |held: Held| {
            let places = held.places.iter().map(|dot| (dot.client.get(), dot.position)).collect();
            (held.signed, places)
        };
        self.by_digest.into_values().map(pairs).collect()
    }

    /// What [`into_pairs`](Self::into_pairs) gave.
    pub fn restore(
        founder: &Founder,
        pairs: Vec<(SignedRecord, Vec<(u64, u64)>)>,
        about: impl Iterator<Item = ClientId>,
    ) -> Self {
        let mut records = Records { about: about.collect(), ..Records::default() };
        // The owner's word first: it says whose else counts.
        let (first, then): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(signed, _)| signed.signer() == founder.owner);
        for (signed, places) in first.into_iter().chain(then) {
            for (client, position) in places {
                if let Some(client) = ClientId::new(client) {
                    let _ = records.insert(founder, signed.clone(), Dot { client, position }, u64::MAX);
                }
            }
        }
        records
    }

    /// Adds all of `others`; whether something was new.
    pub fn add_all(&mut self, founder: &Founder, others: &Records) -> bool {
        self.about.extend(others.about());
        self.add(founder, others, |_, _| true)
    }

    /// Adds of `others` the owner's, and what lies behind `settled`: what managers said before that is said there, or counts no more.
    pub fn add_later(&mut self, founder: &Founder, others: Records, settled: &Heads) {
        self.add(founder, &others, |held, place| {
            held.signed.signer() == founder.owner || !settled.contains(*place)
        });
        self.about.extend(others.about);
    }

    fn add(&mut self, founder: &Founder, others: &Records, wanted: impl Fn(&Held, &Dot) -> bool) -> bool {
        let (first, then): (Vec<&Held>, Vec<&Held>) =
            others.iter().partition(|held| held.signed.signer() == founder.owner);
        let mut new = false;
        for held in first.into_iter().chain(then) {
            for place in held.places.iter().filter(|place| wanted(held, place)) {
                new |= self.insert(founder, held.signed.clone(), *place, u64::MAX).unwrap_or(false);
            }
        }
        new
    }
}

/// The members, and which records about epochs count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    by_client: BTreeMap<ClientId, Member>,
    pub(crate) epochs: BTreeSet<EpochId>,
    /// Who may have records in their logs that were passed over before.
    pub(crate) managers: BTreeSet<ClientId>,
}

impl Members {
    /// What the records come to, when what lies before `settled` stays as it is.
    pub(crate) fn of(founder: &Founder, records: &Records, settled: &Heads) -> Self {
        let managers = records.managers.iter().map(|(client, _)| *client).collect();
        let mut members = Members { managers, ..Members::default() };
        let first = Member {
            candidate: founder.candidate,
            name: "founder".to_owned(),
            rights: Rights::all(Role::Manager),
            cut: None,
            settled: settled.get(founder.candidate.writer().client()),
        };
        members.by_client.insert(first.writer().client(), first);
        let by_owner: Vec<&Held> =
            records.iter().filter(|held| held.signed.signer() == founder.owner).collect();
        members.admit(&by_owner, Role::Manager, settled);
        members.cut(&by_owner, |_| true);
        let by_managers: Vec<&Held> = records.iter().filter(|held| members.manages(held)).collect();
        members.admit(&by_managers, Role::Writer, settled);
        members.cut(&by_owner, |_| true);
        // The owner beats a delegate.
        members.cut(&by_managers, |member| member.rights.role != Role::Manager && member.cut.is_none());
        members.epochs = by_owner.iter().chain(&by_managers).filter_map(|held| epoch(&held.record)).collect();
        members
    }

    /// Whether the record is of a manager and lies where its word counts.
    fn manages(&self, held: &Held) -> bool {
        let signed = |member: &&Member| {
            member.rights.role == Role::Manager && member.candidate.signer == held.signed.signer()
        };
        self.by_client.values().filter(signed).any(|member| {
            let client = member.writer().client();
            held.places.iter().any(|place| place.client == client && place.position < member.limit())
        })
    }

    /// Adds whom the records admit, with no more than `most`; of two admissions of one writer the later counts. A short id belongs to
    /// the founder, or to whoever was admitted with it first.
    fn admit(&mut self, records: &[&Held], most: Role, settled: &Heads) {
        let mut admissions: Vec<(u64, &Admission)> = records
            .iter()
            .filter_map(|held| match &held.record.says {
                Says::Admit(admission) => Some((held.record.signed_ms, admission)),
                _ => None,
            })
            .collect();
        // Stable: what was signed in the same millisecond stays in the order of the digests.
        admissions.sort_by_key(|(signed_ms, _)| *signed_ms);
        let mut latest: BTreeMap<ClientId, &Admission> = BTreeMap::new();
        for (_, admission) in admissions {
            let writer = admission.candidate.writer();
            let holder = match latest.get(&writer.client()) {
                Some(first) => first.candidate.writer(),
                None => self.get(writer.client()).map_or(writer, Member::writer),
            };
            if holder == writer {
                latest.insert(writer.client(), admission);
            }
        }
        for (client, admission) in latest {
            if admission.rights.role > most || (most < Role::Manager && self.by_client.contains_key(&client))
            {
                continue;
            }
            let member = Member {
                candidate: admission.candidate,
                name: admission.name.clone(),
                rights: admission.rights.clone(),
                cut: None,
                settled: settled.get(client),
            };
            self.by_client.insert(client, member);
        }
    }

    /// Cuts the logs of those whom `may` allows; of several cuts the lowest counts.
    fn cut(&mut self, records: &[&Held], may: impl Fn(&Member) -> bool) {
        let allowed: BTreeSet<ClientId> =
            self.by_client.iter().filter(|(_, member)| may(member)).map(|(client, _)| *client).collect();
        for held in records {
            let Says::Cut(cut) = &held.record.says else { continue };
            let client = WriterId(cut.writer).client();
            let Some(member) = self.by_client.get_mut(&client).filter(|_| allowed.contains(&client)) else {
                continue;
            };
            let lower = |old: &Cut| (cut.length, cut.tree_hash) < (old.length, old.tree_hash);
            if member.cut.as_ref().is_none_or(lower) {
                member.cut = Some(cut.clone());
            }
        }
    }

    /// The member known as `client`.
    pub fn get(&self, client: ClientId) -> Option<&Member> {
        self.by_client.get(&client)
    }

    /// All, in the order of their short ids.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, &Member)> {
        self.by_client.iter().map(|(client, member)| (*client, member))
    }

    /// The logs of managers.
    pub(crate) fn managers_logs(&self) -> impl Iterator<Item = WriterId> {
        let manages = |member: &&Member| member.rights.role == Role::Manager;
        self.by_client.values().filter(manages).map(Member::writer)
    }

    /// How many blocks of `client` count; all of someone who is not known.
    pub fn limit(&self, client: ClientId) -> u64 {
        self.get(client).map_or(u64::MAX, Member::limit)
    }
}

fn epoch(record: &Record) -> Option<EpochId> {
    match record.says {
        Says::Epoch { id, .. } => Some(id),
        _ => None,
    }
}
