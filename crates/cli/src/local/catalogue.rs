//! Which logs, sorted maps and drives a store has: a sorted map on a log of its own, laid out as a pal lays out its
//! own, so that a folder can move to a pal.
//!
//! ```text
//! name/KIND/NAME -> Item as JSON        key/HEX -> KIND/NAME
//! ```

use super::failure::failed;
use super::key::Key;
use crate::failure::{Exit, Failure};
use cloudpal_bee::{Bee, Options, Range, WriteError};
use cloudpal_core::Secret;
use cloudpal_log::{Durability, EncryptionKey};
use cloudpal_store::{Namespace, Store};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroizing;

/// No name is longer, in bytes.
const MAX_NAME: usize = 128;

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// In a word, as commands say it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Bee => "bee",
            Kind::Drive => "drive",
        }
    }
}

/// One log, map or drive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name, unique among its kind.
    pub name: String,
    /// Its key, in hex.
    key: String,
    /// Signed as npm hypercore 10 does it by default.
    #[serde(default)]
    pub compat: bool,
    /// Someone else writes it.
    #[serde(default)]
    pub copy: bool,
    /// The key of its encrypted blocks, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption: Option<Sealer>,
}

/// An encryption key on its way to and from the catalogue, which the store encrypts.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
struct Sealer(Zeroizing<String>);

impl From<String> for Sealer {
    fn from(text: String) -> Self {
        Sealer(Zeroizing::new(text))
    }
}

impl Serialize for Sealer {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Item {
    /// A thing that is not in the catalogue yet.
    pub fn new(kind: Kind, name: &str, key: Key) -> Self {
        Item {
            kind,
            name: name.to_owned(),
            key: key.to_string(),
            compat: false,
            copy: false,
            encryption: None,
        }
    }

    /// Encrypted with `key`.
    #[must_use]
    pub fn encrypted(mut self, key: Option<&Secret<32>>) -> Self {
        self.encryption = key.map(|key| Sealer(Zeroizing::new(hex::encode(key.expose()))));
        self
    }

    /// Its key.
    pub fn key(&self) -> Result<Key, Failure> {
        self.key
            .parse()
            .map_err(|error| Failure::because(Exit::Failed, "the store's list of names is damaged", error))
    }

    /// Whether its blocks are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// What lets its blocks be read.
    pub fn encryption(&self) -> Option<EncryptionKey> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(self.encryption.as_ref()?.0.as_bytes(), &mut *key).ok()?;
        Some(EncryptionKey::Log(Secret::new(*key)))
    }
}

/// Refuses what is no name: it must not be taken for a key, a path or nothing.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let fits = (1..=MAX_NAME).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || c == '/')
        && name.parse::<Key>().is_err();
    if fits {
        return Ok(());
    }
    let message =
        format!("a name has 1 to {MAX_NAME} bytes, no slash and no control characters, and is not a key");
    Err(Failure::new(Exit::Usage, message))
}

/// The list of all things.
pub struct Catalogue(Bee);

impl Catalogue {
    /// In a log of `store` that only this knows.
    pub fn open(store: &Store) -> Result<Self, Failure> {
        let log = store.log_in(&Namespace::ROOT.child(b"cloudpal"), "catalogue").map_err(failed)?;
        Ok(Catalogue(Bee::new(Arc::new(log.with_durability(Durability::Durable)), Options::default())))
    }

    /// Adds a thing, or changes what is known of it.
    pub fn put(&self, item: &Item) -> Result<(), Failure> {
        let place = format!("{}/{}", item.kind.word(), item.name);
        let text = Zeroizing::new(serde_json::to_vec(item).map_err(failed)?);
        let write = || -> Result<(), WriteError> {
            let mut batch = self.0.batch();
            batch.put(format!("key/{}", item.key), &place)?;
            batch.put(format!("name/{place}"), text.as_slice())?;
            batch.flush().map(drop)
        };
        write().map_err(failed)
    }

    /// The thing of this kind with this name or key.
    pub fn find(&self, kind: Kind, wanted: &str) -> Result<Option<Item>, Failure> {
        let place = match wanted.parse::<Key>() {
            Err(_) => format!("{}/{wanted}", kind.word()),
            Ok(key) => match self.0.get(format!("key/{key}")).map_err(failed)? {
                Some(entry) => entry.value_str().unwrap_or_default().to_owned(),
                None => return Ok(None),
            },
        };
        let Some(entry) = self.0.get(format!("name/{place}")).map_err(failed)? else { return Ok(None) };
        let item: Item = entry.value_json().map_err(failed)?;
        Ok(Some(item).filter(|item| item.kind == kind))
    }

    /// All things of a kind, by name.
    pub fn list(&self, kind: Kind) -> Result<Vec<Item>, Failure> {
        let entries = self.0.range(Range::prefix(format!("name/{}/", kind.word())));
        entries.map(|entry| entry.map_err(failed)?.value_json().map_err(failed)).collect()
    }
}
