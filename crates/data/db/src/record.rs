//! Signed records: who may write, from when to when, and who may read.

use crate::wire::{EpochId, SealedKey};
use crate::{ClientId, WriterId};
use cloudpal_core::{AgreementKey, PublicKey, Signed, SigningKey};
use cloudpal_log::codec::{CodecError, Reader, Write};
use serde::{Deserialize, Serialize};

/// What an owner or a manager says, for one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The founder's log: a record counts in no other database.
    pub database: [u8; 32],
    /// Milliseconds since 1970 when it was signed; of two admissions of one writer the later one counts.
    pub signed_ms: u64,
    /// What is said.
    pub says: Says,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Says {
    /// This writer belongs to the database.
    Admit(Admission),
    /// Of this writer's log only a beginning counts.
    Cut(Cut),
    /// From now on entries are sealed under a new key.
    Epoch {
        /// Which.
        id: EpochId,
        /// The key, sealed to each member that may read on.
        keys: Vec<(u64, SealedKey)>,
    },
}

/// That a writer belongs to the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Who.
    pub candidate: Candidate,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// The keys of all epochs so far, sealed to it.
    pub keys: Vec<(EpochId, SealedKey)>,
}

/// Who asks to be admitted: all of it public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its log.
    pub writer: [u8; 32],
    /// To whom epoch keys are sealed.
    pub agreement: AgreementKey,
    /// Who signs its own records, should it be a manager.
    pub signer: PublicKey,
}

impl Candidate {
    /// Its log.
    pub const fn writer(&self) -> WriterId {
        WriterId(self.writer)
    }
}

/// What a member may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Reading, writing, or managing others.
    pub role: Role,
    /// Paths of sub-databases that it may write to; all when there are none.
    pub scope: Vec<String>,
    /// From this time on, in milliseconds since 1970 and by the stamps of its entries, it may not write.
    pub until_ms: Option<u64>,
}

impl Rights {
    /// Everything that `role` allows, without end.
    pub const fn all(role: Role) -> Self {
        Rights { role, scope: Vec::new(), until_ms: None }
    }
}

/// Kinds of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes.
    Writer,
    /// Admits and cuts readers and writers, too.
    Manager,
}

/// That only the first blocks of a log count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Whose log.
    pub writer: [u8; 32],
    /// So many blocks count.
    pub length: u64,
    /// The tree hash of a log of that length: of two histories it tells the one that counts.
    pub tree_hash: [u8; 32],
    /// For people.
    pub reason: String,
}

/// A record with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord(Signed<Record>);

impl SignedRecord {
    /// Signs.
    pub fn sign(record: &Record, key: &SigningKey) -> Self {
        SignedRecord(Signed::sign(record, key))
    }

    /// Who claims to have signed it.
    pub fn signer(&self) -> PublicKey {
        self.0.signer()
    }

    /// What it says; none if the signature does not fit.
    pub fn verify(&self) -> Option<Record> {
        self.0.verify(&self.0.signer()).ok()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // Nothing in it can fail to encode.
        out.buffer(&postcard::to_stdvec(&self.0).unwrap_or_default());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let bytes = reader.buffer("a record")?;
        postcard::from_bytes(bytes).map(SignedRecord).map_err(|_| CodecError::Value("a record"))
    }

    /// Its hash, by which it is known.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        cloudpal_log::hash::blake2b(&[&bytes])
    }
}

impl Record {
    /// The writer it is about.
    pub fn about(&self) -> Option<ClientId> {
        match &self.says {
            Says::Admit(admission) => Some(admission.candidate.writer().client()),
            Says::Cut(cut) => Some(WriterId(cut.writer).client()),
            Says::Epoch { .. } => None,
        }
    }
}
