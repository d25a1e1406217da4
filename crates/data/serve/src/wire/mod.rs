//! The messages of the WebSocket: small, binary, and read by total parsers. `docs/database-api.md` describes them.
//!
//! A message is a row of frames, each a length and so many bytes, so that many small requests or answers share one.
//! Numbers, buffers and strings are those of npm's `compact-encoding`, as in Hypercore's protocol.

mod answer;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Event, Found, Page, error, event, ok};
pub use request::{Bound, Bounds, Find, Hello, Origin, Request, Start, Step, Write};

use crate::code::{Code, Failure};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader};

/// The only version so far.
pub const VERSION: u64 = 1;
/// Bytes of a message, at most: a value of the largest size fits.
pub const MAX_MESSAGE: usize = 20 << 20;
/// Frames of a message, at most.
pub const MAX_FRAMES: usize = 4096;
/// The name of the protocol in the handshake of the WebSocket.
pub const SUBPROTOCOL: &str = "cloudpal-db";

/// A request and the number that its answer will bear. Zero: no answer is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Chosen by the client.
    pub id: u64,
    /// What it asks.
    pub request: Request,
}

/// The requests of a message. Keys and values are slices of it.
pub fn parse(message: &Bytes) -> Result<Vec<Numbered>, Failure> {
    if message.len() > MAX_MESSAGE {
        return Err(Failure::new(Code::TooLarge, format!("a message has at most {MAX_MESSAGE} bytes")));
    }
    frames(message).and_then(|frames| frames.iter().map(Numbered::parse).collect()).map_err(|error| {
        Failure::new(Code::Malformed, format!("this is no message of the protocol: {error}"))
    })
}

fn frames(message: &Bytes) -> Result<Vec<Bytes>, CodecError> {
    let mut reader = Reader::new(message);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        if frames.len() == MAX_FRAMES {
            return Err(CodecError::Value("the number of frames"));
        }
        frames.push(message.slice_ref(reader.buffer("a frame")?));
    }
    Ok(frames)
}
