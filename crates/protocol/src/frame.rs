//! Frames on the byte channel between host and guest: `"CPf1"`, length (u32 LE), CRC-32 of the body
//! (u32 LE), body (postcard). The channel may be cut anywhere when either side restarts, so a reader
//! skips what is not a frame and goes on at the next magic number.

use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: [u8; 4] = *b"CPf1";
const HEADER: usize = 12;

/// No frame's body is longer, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// A message that does not fit a frame.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Larger than [`MAX_BODY`].
    #[error("the message has {0} bytes; a frame holds at most {MAX_BODY}")]
    TooLarge(usize),
    /// Not encodable.
    #[error("the message cannot be encoded")]
    Encode(#[from] postcard::Error),
}

/// A frame that arrived whole but holds no message that this version knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a frame of {size} bytes holds no message that this version knows")]
pub struct DecodeError {
    size: usize,
}

/// The frame for one message.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EncodeError> {
    wrap(&postcard::to_stdvec(message)?)
}

/// The frame for a body that is encoded already.
pub fn wrap(body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    if body.len() > MAX_BODY {
        return Err(EncodeError::TooLarge(body.len()));
    }
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&crc32(body).to_le_bytes());
    frame.extend_from_slice(body);
    Ok(frame)
}

/// Collects bytes and gives back messages. Holds at most one frame and what came with it.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Adds bytes as they came.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, or `None` until more bytes came. Call it until it gives `None`.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Option<Result<T, DecodeError>> {
        loop {
            self.skip_to_magic();
            let header: &[u8; HEADER] = self.buffer.first_chunk()?;
            let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let crc = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
            if length > MAX_BODY {
                self.buffer.drain(..1);
                continue;
            }
            let body = self.buffer.get(HEADER..HEADER + length)?;
            if crc32(body) != crc {
                self.buffer.drain(..1);
                continue;
            }
            let message = postcard::from_bytes(body).map_err(|_| DecodeError { size: length });
            self.buffer.drain(..HEADER + length);
            return Some(message);
        }
    }

    fn skip_to_magic(&mut self) {
        let start = (0..self.buffer.len())
            .find(|&at| {
                let rest = &self.buffer[at..];
                MAGIC.starts_with(&rest[..rest.len().min(4)])
            })
            .unwrap_or(self.buffer.len());
        self.buffer.drain(..start);
    }
}

/// CRC-32 as in IEEE 802.3 (reflected, polynomial 0xEDB88320): finds a cut frame, authenticates nothing.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn finds_frames_however_they_are_cut() {
        let frames = [encode(&"one").unwrap(), encode(&"two").unwrap()].concat();
        for cut in 0..frames.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for part in [&frames[..cut], &frames[cut..]] {
                decoder.extend(part);
                while let Some(message) = decoder.pop::<String>() {
                    found.push(message.unwrap());
                }
            }
            assert_eq!(found, ["one", "two"], "cut at {cut}");
        }
    }

    #[test]
    fn goes_on_after_a_frame_that_was_cut_short() {
        let frame = encode(&"whole").unwrap();
        for cut in 1..frame.len() {
            let mut decoder = Decoder::default();
            decoder.extend(&frame[..cut]);
            // A cut frame swallows what its length covers; the one after that is read.
            decoder.extend(&[frame.clone(), frame.clone()].concat());
            let found: Vec<String> = std::iter::from_fn(|| decoder.pop()).filter_map(Result::ok).collect();
            assert!(found.contains(&"whole".to_owned()), "cut at {cut}");
        }
    }

    #[test]
    fn a_false_length_is_skipped() {
        let mut decoder = Decoder::default();
        decoder.extend(b"CPf1\xff\xff\xff\xff\0\0\0\0");
        decoder.extend(&encode(&7u8).unwrap());
        assert_eq!(decoder.pop::<u8>(), Some(Ok(7)));
    }
}
