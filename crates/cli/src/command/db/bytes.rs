//! Keys and values as people type and read them.

use super::args::Coding;
use crate::failure::{Exit, Failure};
use crate::printable::word;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

impl Coding {
    /// What was typed, as bytes.
    pub fn read(self, text: &str) -> Result<Bytes, Failure> {
        let read = match (self.hex, self.base64) {
            (true, _) => hex::decode(text).map_err(|error| not(text, "hexadecimal digits", error)),
            (_, true) => STANDARD.decode(text).map_err(|error| not(text, "base64", error)),
            _ => Ok(text.as_bytes().to_vec()),
        };
        read.map(Bytes::from)
    }
}

fn not(text: &str, what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::because(Exit::Usage, format!("`{text}` is not {what}"), error)
}

/// Bytes on a line for people.
pub fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => word(text).into_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}
