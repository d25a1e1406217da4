use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Names one pal at its data centre: 16 random bytes, unrelated to any key or purse. 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PalId([u8; 16]);

impl PalId {
    /// From 16 bytes of the operating system's randomness.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        PalId(bytes)
    }

    /// The bytes themselves.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The first eight hex digits, for interface names and logs.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl fmt::Display for PalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PalId({self})")
    }
}

/// Text that is not an id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is not a pal's id; an id has 32 hexadecimal digits (see `cloudpal list`)")]
pub struct ParseIdError(String);

impl FromStr for PalId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError(text.chars().take(40).collect()))?;
        Ok(PalId(bytes))
    }
}

impl TryFrom<String> for PalId {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PalId> for String {
    fn from(id: PalId) -> String {
        id.to_string()
    }
}
