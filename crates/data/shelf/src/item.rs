//! What a shelf holds, as its catalogue remembers it.

use crate::{Key, ShelfError};
use cloudpal_core::Secret;
use cloudpal_log::EncryptionKey;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// No name is longer, in bytes.
const MAX_NAME: usize = 128;

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
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Log, Kind::Bee, Kind::Drive];

    /// In a word, as commands say it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Bee => "bee",
            Kind::Drive => "drive",
        }
    }

    /// The word for several.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Log => "logs",
            Kind::Bee => "bees",
            Kind::Drive => "drives",
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
    /// Its key.
    pub key: Key,
    /// Signed as npm hypercore 10 does it by default.
    #[serde(default)]
    pub compat: bool,
    /// Someone else writes it.
    #[serde(default)]
    pub copy: bool,
    /// Encrypts its blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Sealer>,
}

impl Item {
    /// Whether its blocks are encrypted with a key that is known here.
    pub fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// That key, for whoever is to read it elsewhere.
    pub fn encryption_key(&self) -> Option<&Secret<32>> {
        self.encryption.as_ref().map(|sealer| &sealer.0)
    }

    /// What lets its blocks be read.
    pub fn encryption(&self) -> Option<EncryptionKey> {
        self.encryption_key().cloned().map(EncryptionKey::Log)
    }
}

/// An encryption key on its way to and from the catalogue, which the store encrypts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealer(pub Secret<32>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Sealer {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(hex::encode(self.0.expose())))
    }
}

impl<'de> Deserialize<'de> for Sealer {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.as_bytes(), &mut *key).map_err(serde::de::Error::custom)?;
        Ok(Sealer(Secret::new(*key)))
    }
}

/// Refuses what is no name: it must not be taken for a key, a path or nothing.
pub(crate) fn check_name(name: &str) -> Result<(), ShelfError> {
    let fits = (1..=MAX_NAME).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || c == '/')
        && name.parse::<Key>().is_err();
    if fits { Ok(()) } else { Err(ShelfError::Name { limit: MAX_NAME }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_key_no_path_and_not_nothing() {
        for good in ["diary", "Ärger & more", &"n".repeat(128)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a\nb", &"n".repeat(129), &"ab".repeat(32), &"y".repeat(52)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
