//! Keys in both forms that are in use: 64 hexadecimal digits, and the 52 letters of z-base-32 that npm prints.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// z-base-32, Zooko O'Whielacronx 2002: no letters that are easily mixed up.
const LETTERS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// The public key of a log, map or drive. Whoever has it can read the thing. As JSON it is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key(pub [u8; 32]);

/// Text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no key: a key has 64 hexadecimal digits, or 52 letters and digits as npm prints it")]
pub struct ParseKeyError(String);

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut key = [0; 32];
        if hex::decode_to_slice(text, &mut key).is_ok() {
            return Ok(Key(key));
        }
        from_z32(text).map(Key).ok_or_else(|| ParseKeyError(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<Self, ParseKeyError> {
        text.parse()
    }
}

impl Key {
    /// As npm prints it.
    pub fn z32(&self) -> String {
        let bit = |at: usize| self.0.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
        let letter = |first: usize| (first..first + 5).fold(0, |five, at| five << 1 | usize::from(bit(at)));
        (0..52).map(|at| char::from(LETTERS[letter(at * 5)])).collect()
    }
}

/// 52 letters hold 260 bits; the last four say nothing.
fn from_z32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 52 {
        return None;
    }
    let mut key = [0_u8; 33];
    for (at, byte) in text.bytes().enumerate() {
        let five = LETTERS.iter().position(|&letter| letter == byte)? as u16;
        // Eleven bits to the right of the first bit of its byte.
        let wide = five << (11 - at * 5 % 8);
        key[at * 5 / 8] |= (wide >> 8) as u8;
        key[at * 5 / 8 + 1] |= wide as u8;
    }
    key[..32].try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_the_same_key() {
        // As hypercore-id-encoding prints the key d8c3a059...6e72.
        let hex = "d8c3a0597903b28d751c6e0b7107775e388ec5a3cf669bdd1e7ec41b8b8f6e72";
        let key: Key = hex.parse().unwrap();
        assert_eq!(key.to_string(), hex);
        assert_eq!(key.z32().parse::<Key>().unwrap(), key);
        assert_eq!(key.z32(), "5db4ysm3yq3e47ehpafznb5zmahe7tpd37ujzze6x5nbznhxp33y");
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_one_looks_like() {
        for text in ["", "diary", "d8c3", &"z".repeat(51), &"l".repeat(52), &"ü".repeat(26)] {
            let error = text.parse::<Key>().unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
        }
    }
}
