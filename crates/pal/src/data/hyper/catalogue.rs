//! Which logs, maps and drives there are: a sorted map on a log of its own.
//!
//! ```text
//! name/KIND/NAME -> Item as JSON        key/HEX -> KIND/NAME
//! ```

use super::Problem;
use cloudpal_bee::{Bee, Options, Range};
use cloudpal_core::Secret;
use cloudpal_log::{Durability, EncryptionKey};
use cloudpal_store::{Namespace, Store};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// No name is longer, in bytes.
pub const MAX_NAME: usize = 128;
/// No more things are kept, of all kinds together.
pub const MAX_ITEMS: usize = 10_000;
/// Memory for the map's blocks, in bytes.
const CACHE: usize = 256 << 10;

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A log of blocks.
    Log,
    /// A sorted map.
    Bee,
    /// A drive of files.
    Drive,
}

impl Kind {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Bee => "bee",
            Kind::Drive => "drive",
        }
    }
}

/// One log, map or drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name, unique among its kind.
    pub name: String,
    /// Its key, in hex.
    pub key: String,
    /// Signed as npm hypercore 10 does it.
    #[serde(default)]
    pub compat: bool,
    /// Someone else writes it; this is a copy that follows it.
    #[serde(default)]
    pub copy: bool,
    /// Encrypts its blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Sealer>,
}

/// An encryption key on its way to and from the catalogue, which the store encrypts.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealer(pub Secret<32>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Sealer {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(self.0.expose()))
    }
}

impl<'de> Deserialize<'de> for Sealer {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(from)?);
        key_of(&text)
            .map(|key| Sealer(Secret::new(key)))
            .ok_or_else(|| serde::de::Error::custom("an encryption key has 64 hexadecimal digits"))
    }
}

impl Item {
    /// Its key as bytes.
    pub fn key(&self) -> Result<[u8; 32], Problem> {
        key_of(&self.key).ok_or_else(Problem::stumbled)
    }

    /// What lets its blocks be read.
    pub fn encryption(&self) -> Option<EncryptionKey> {
        self.encryption.as_ref().map(|sealer| EncryptionKey::Log(sealer.0.clone()))
    }
}

/// A key of 64 hexadecimal digits.
pub fn key_of(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).ok().map(|()| key)
}

/// Refuses what is no name: it must not be taken for a key, a path or nothing.
pub fn check_name(name: &str) -> Result<(), Problem> {
    let fits = (1..=MAX_NAME).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || c == '/')
        && key_of(name).is_none();
    if fits {
        return Ok(());
    }
    let message =
        format!("a name has 1 to {MAX_NAME} bytes, no slash and no control characters, and is not a key");
    Err(Problem::usage(message))
}

/// The list of all things.
pub struct Catalogue {
    map: Bee,
    /// How many there are; counted when the first one is added.
    count: Mutex<Option<usize>>,
}

impl Catalogue {
    /// In a log of `store` that only this knows.
    pub fn open(store: &Store) -> Result<Self, Problem> {
        let log = store.log_in(&Namespace::ROOT.child(b"cloudpal"), "catalogue")?;
        let feed = Arc::new(log.with_durability(Durability::Durable));
        let map = Bee::new(feed, Options { cache_bytes: CACHE, ..Options::default() });
        Ok(Catalogue { map, count: Mutex::default() })
    }

    /// Adds a thing that is not there yet.
    pub fn put(&self, item: &Item) -> Result<(), Problem> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match *count {
            Some(known) => known,
            None => self.map.range(Range::prefix("key/")).count(),
        };
        if before >= MAX_ITEMS {
            return Err(Problem::too_large(format!("a pal keeps at most {MAX_ITEMS} logs, maps and drives")));
        }
        let mut batch = self.map.batch();
        let place = format!("{}/{}", item.kind.word(), item.name);
        batch.put(format!("key/{}", item.key), &place)?;
        batch.put(format!("name/{place}"), zeroize::Zeroizing::new(serde_json::to_vec(item)?).as_slice())?;
        batch.flush()?;
        *count = Some(before + 1);
        Ok(())
    }

    /// The thing of this kind with this name or key.
    pub fn find(&self, kind: Kind, wanted: &str) -> Result<Option<Item>, Problem> {
        let place = match key_of(wanted) {
            None => format!("{}/{wanted}", kind.word()),
            Some(key) => match self.map.get(format!("key/{}", hex::encode(key)))? {
                Some(entry) => entry.value_str().unwrap_or_default().to_owned(),
                None => return Ok(None),
            },
        };
        let found = self.map.get(format!("name/{place}"))?;
        let item: Option<Item> = found.map(|entry| entry.value_json()).transpose()?;
        Ok(item.filter(|item| item.kind == kind))
    }

    /// All things of a kind, by name.
    pub fn list(&self, kind: Kind) -> Result<Vec<Item>, Problem> {
        let entries = self.map.range(Range::prefix(format!("name/{}/", kind.word())));
        entries.map(|entry| Ok(entry?.value_json()?)).collect()
    }
}
