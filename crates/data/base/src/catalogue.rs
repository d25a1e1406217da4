//! Which databases a store has, and who this device is in each. It lies, sealed, beside a log of the store that has no
//! blocks, and once more in a page.

use crate::error::OpenError;
use bytes::Bytes;
use cloudpal_core::{AgreementSecret, Secret, SigningKey};
use cloudpal_db::{Identity, WriterId};
use cloudpal_log::{Durability, Feed, FeedError, KeyPair, Manifest, StorageError};
use cloudpal_store::{LogOptions, Namespace, PageChange, Session, Store, Which};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// One database.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Entry {
    /// The founder's log.
    pub database: [u8; 32],
    /// This device takes a new log, with a new number, whenever the old one cannot be trusted any more.
    pub generation: u32,
    agreement: [u8; 32],
    signer: [u8; 32],
    owner: Option<[u8; 32]>,
}

impl Entry {
    /// A new identity; an owner's device has the owner's key, too.
    pub fn new(database: [u8; 32], owner: Option<[u8; 32]>) -> Result<Self, getrandom::Error> {
        Ok(Entry { database, generation: 0, agreement: random()?, signer: random()?, owner })
    }

    /// The founder's identity, which writes to its log of this number.
    pub fn founder(database: [u8; 32], generation: u32, owner: [u8; 32]) -> Result<Self, getrandom::Error> {
        let mut founder = Entry::new(database, Some(owner))?;
        founder.generation = generation;
        Ok(founder)
    }

    /// The same database with a new log and new keys.
    pub fn renewed(&self) -> Result<Self, getrandom::Error> {
        let mut fresh = Entry::new(self.database, self.owner)?;
        fresh.generation = self.generation + 1;
        Ok(fresh)
    }

    /// The owner's key, on the owner's devices.
    pub fn owner_key(&self) -> Option<SigningKey> {
        self.owner.map(|owner| SigningKey::from_secret(&Secret::new(owner)))
    }

    /// Who this device is.
    pub fn identity(&self, writer: WriterId) -> Identity {
        Identity {
            writer,
            agreement: AgreementSecret::from_secret(&Secret::new(self.agreement)),
            signer: SigningKey::from_secret(&Secret::new(self.signer)),
            owner: self.owner_key(),
        }
    }
}

const PLACE: &str = "databases";

/// The page with the second copy: whoever loses the list loses the keys to everything. Pages lie in other files than what is kept
/// beside logs.
const COPY: (&str, u64) = ("databases", 0);

type Entries = BTreeMap<String, Entry>;

/// The databases by name.
pub fn read(store: &Store) -> Result<Entries, OpenError> {
    match (first_copy(store), second_copy(store)) {
        (Ok(Some(entries)), _) => Ok(entries),
        (_, Ok(Some(entries))) => {
            tracing::warn!("the list of databases is damaged; its second copy takes its place");
            write_all(store, &entries)?;
            Ok(entries)
        }
        (Ok(None), Ok(None)) => Ok(Entries::new()),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn first_copy(store: &Store) -> Result<Option<Entries>, OpenError> {
    beside(store)?.user_data(PLACE)?.map(|bytes| decode(&bytes)).transpose()
}

fn second_copy(store: &Store) -> Result<Option<Entries>, OpenError> {
    let page = store.pages(COPY.0).get(COPY.1).map_err(copy_fault)?;
    page.map(|bytes| decode(&bytes)).transpose()
}

fn copy_fault(source: StorageError) -> OpenError {
    OpenError::Feed(FeedError::Storage { doing: "keep the list of databases", source })
}

fn decode(bytes: &[u8]) -> Result<Entries, OpenError> {
    postcard::from_bytes(bytes).map_err(OpenError::Catalogue)
}

/// Adds or replaces one.
pub fn write(store: &Store, name: &str, entry: Entry) -> Result<(), OpenError> {
    let mut entries = read(store)?;
    entries.insert(name.to_owned(), entry);
    write_all(store, &entries)
}

/// The first copy is written last, as it makes both last.
fn write_all(store: &Store, entries: &Entries) -> Result<(), OpenError> {
    let bytes = postcard::to_stdvec(entries).map(Zeroizing::new).map_err(OpenError::Catalogue)?;
    let bytes = Bytes::from_owner(bytes);
    store.pages(COPY.0).commit(vec![PageChange::Put(COPY.1, bytes.clone())]).map_err(copy_fault)?;
    beside(store)?.set_user_data(PLACE, Some(bytes))?;
    Ok(())
}

/// A log for a database that is begun now, and its number: one that nobody has written to. There is one that somebody has when the
/// machine stopped while a database of that name was being made.
pub fn unused_log(store: &Store, name: &str) -> Result<(u32, Session), OpenError> {
    let mut generation = 0;
    loop {
        let log = log(store, name, generation)?;
        if log.length() == 0 {
            return Ok((generation, log));
        }
        generation += 1;
    }
}

/// This device's log of a database.
pub fn log(store: &Store, name: &str, generation: u32) -> Result<Session, OpenError> {
    let which = Which::named(namespace(), format!("{name}/{generation}"));
    let options = LogOptions { durability: Some(Durability::Relaxed), ..LogOptions::default() };
    Ok(store.open_log(which, options)?)
}

/// The log with this device's checkpoints, which the owner's key signs.
pub fn checkpoints(
    store: &Store,
    manifest: Manifest,
    entry: &Entry,
) -> Result<(WriterId, Session), OpenError> {
    let log = WriterId(manifest.key());
    let key_pair = entry.owner.map(|owner| KeyPair::from_seed(&owner));
    let options = LogOptions { durability: Some(Durability::Relaxed), ..LogOptions::default() };
    Ok((log, store.open_log(Which::Manifest { manifest, key_pair }, options)?))
}

/// Under which name the view's pages lie.
pub fn pages(name: &str, generation: u32) -> String {
    format!("database/{name}/{generation}")
}

fn beside(store: &Store) -> Result<Session, OpenError> {
    Ok(store.log_in(&namespace(), "catalogue")?.with_durability(Durability::Durable))
}

fn namespace() -> Namespace {
    Namespace::ROOT.child(b"cloudpal").child(b"databases")
}

pub fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
