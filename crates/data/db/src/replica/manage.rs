use super::{Identity, Replica};
use crate::error::WriteError;
use crate::members::{Founder, Held};
use crate::record::{Admission, Candidate, Cut, Record, Rights, Role, Says, SignedRecord};
use crate::wire::{Block, EpochId, EpochKey, Header, seal_key};
use crate::{ClientId, WriterId};
use bytes::Bytes;
use cloudpal_core::{AgreementKey, Secret, SigningKey};
use cloudpal_sorted::Pages;
use std::collections::BTreeSet;

/// Who signs a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authority {
    /// The owner: counts wherever it is found.
    Owner,
    /// A manager: counts where it lies in the manager's own log.
    Manager,
}

impl<P: Pages> Replica<P> {
    /// The first blocks of a new database, whose log `me` has: the header, and the first epoch's key.
    ///
    /// `random` gives 32 fresh random bytes at each call.
    pub fn found(
        me: &Identity,
        owner: &SigningKey,
        now_ms: u64,
        random: &mut dyn FnMut() -> Secret<32>,
    ) -> Vec<Bytes> {
        let header = Header::Founder {
            owner: owner.public(),
            agreement: me.agreement.public(),
            signer: me.signer.public(),
        };
        let key = EpochKey(random());
        let id = key.id(0);
        let keys = vec![(me.client().get(), seal_key(&key, &me.agreement.public(), random()))];
        let record = Record { database: me.writer.0, signed_ms: now_ms, says: Says::Epoch { id, keys } };
        vec![
            Block::Header(header).encode(),
            Block::Records(vec![SignedRecord::sign(&record, owner)]).encode(),
        ]
    }

    /// The record that admits `candidate`, to be [carried](Self::carry) by this device's log.
    pub fn admit(
        &self,
        candidate: Candidate,
        name: String,
        rights: Rights,
        now_ms: u64,
        random: &mut dyn FnMut() -> Secret<32>,
    ) -> Result<SignedRecord, WriteError> {
        let (authority, signer) = self.authority()?;
        if authority == Authority::Manager && rights.role == Role::Manager {
            return Err(WriteError::NotManager);
        }
        let client = candidate.writer().client();
        if self.members.get(client).is_some_and(|member| member.writer() != candidate.writer()) {
            return Err(WriteError::ClientTaken);
        }
        let seal = |(id, key): (&EpochId, &EpochKey)| (*id, seal_key(key, &candidate.agreement, random()));
        let keys = self.keys.iter().map(seal).collect();
        Ok(self.sign(Says::Admit(Admission { candidate, name, rights, keys }), now_ms, signer))
    }

    /// The records that cut the log of `client` to `length` blocks, whose tree hash is `tree_hash`, and begin a new epoch that
    /// it cannot read.
    pub fn cut(
        &self,
        client: ClientId,
        (length, tree_hash): (u64, [u8; 32]),
        reason: String,
        now_ms: u64,
        random: &mut dyn FnMut() -> Secret<32>,
    ) -> Result<Vec<SignedRecord>, WriteError> {
        let (authority, signer) = self.authority()?;
        let member = self.members.get(client).ok_or(WriteError::NoMember)?;
        if authority == Authority::Manager && member.rights.role == Role::Manager {
            return Err(WriteError::NotManager);
        }
        let cut = Cut { writer: member.writer().0, length, tree_hash, reason };
        let key = EpochKey(random());
        let number = self.members.epochs.last().map_or(0, |id| id.number + 1);
        let id = key.id(number);
        let readers: Vec<(ClientId, AgreementKey)> = self
            .members
            .iter()
            .filter(|(other, member)| *other != client && member.cut.is_none())
            .map(|(other, member)| (other, member.candidate.agreement))
            .collect();
        let keys = readers
            .into_iter()
            .map(|(other, agreement)| (other.get(), seal_key(&key, &agreement, random())))
            .collect();
        Ok(vec![
            self.sign(Says::Cut(cut), now_ms, signer),
            self.sign(Says::Epoch { id, keys }, now_ms, signer),
        ])
    }

    /// Records that this device should [carry](Self::carry) for others: those of the owner's that lie only in parts of logs that were
    /// cut away, and, if it may, keys of epochs for members that were admitted by somebody who did not have them.
    pub fn chores(&self, now_ms: u64, random: &mut dyn FnMut() -> Secret<32>) -> Vec<SignedRecord> {
        let mut chores = if self.standing().is_ok() { self.astray() } else { Vec::new() };
        let Ok((authority, signer)) = self.authority() else { return chores };
        // Managers may say to have given what they have not, so the owner gives it again.
        let believed =
            |held: &&Held| authority == Authority::Manager || held.signed.signer() == signer.public();
        let mut given: BTreeSet<(EpochId, ClientId)> = BTreeSet::new();
        for held in self.records.iter().filter(believed) {
            match &held.record.says {
                Says::Admit(admission) => {
                    let client = admission.candidate.writer().client();
                    given.extend(admission.keys.iter().map(|(id, _)| (*id, client)));
                }
                Says::Epoch { id, keys } => {
                    given.extend(keys.iter().filter_map(|(client, _)| Some((*id, ClientId::new(*client)?))));
                }
                Says::Cut(_) => {}
            }
        }
        for (id, key) in &self.keys {
            let without = |(client, member): &(ClientId, &crate::Member)| {
                member.cut.is_none() && !given.contains(&(*id, *client))
            };
            let mut seal = |(client, member): (ClientId, &crate::Member)| {
                (client.get(), seal_key(key, &member.candidate.agreement, random()))
            };
            let keys: Vec<_> = self.members.iter().filter(without).map(&mut seal).collect();
            if !keys.is_empty() {
                chores.push(self.sign(Says::Epoch { id: *id, keys }, now_ms, signer));
            }
        }
        chores
    }

    /// With which right this device speaks about members.
    fn authority(&self) -> Result<(Authority, &SigningKey), WriteError> {
        let owns = |founder: &Founder| self.me.owner.as_ref().filter(|owner| owner.public() == founder.owner);
        if let Some(owner) = self.founder.as_ref().and_then(owns) {
            return Ok((Authority::Owner, owner));
        }
        self.standing()?;
        let manages =
            self.members.get(self.me.client()).is_some_and(|member| member.rights.role == Role::Manager);
        if manages { Ok((Authority::Manager, &self.me.signer)) } else { Err(WriteError::NotManager) }
    }

    fn sign(&self, says: Says, now_ms: u64, signer: &SigningKey) -> SignedRecord {
        SignedRecord::sign(&Record { database: self.database.0, signed_ms: now_ms, says }, signer)
    }

    /// The member whose log is `writer`, if any.
    pub fn member(&self, writer: &WriterId) -> Option<&crate::Member> {
        self.members.get(writer.client()).filter(|member| member.writer() == *writer)
    }
}
