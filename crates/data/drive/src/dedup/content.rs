//! Contents before they are stored: hashed, and compared with what is stored.

use super::index::Fingerprint;
use crate::blobs::{BlobError, Blobs};
use crate::entry::BlobId;
use bytes::Bytes;
use std::io::{self, Read, Seek};
use twox_hash::XxHash3_128;

/// Bytes of a file that are hashed at a time.
const PIECE: usize = 1 << 18;

/// Content that can be read twice: once to be hashed, once to be compared or stored.
pub(crate) enum Content<'c> {
    Memory(Bytes),
    File(&'c mut dyn ReadSeek),
}

/// What a file gives.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

impl Content<'_> {
    pub fn fingerprint(&mut self) -> io::Result<Fingerprint> {
        match self {
            Self::Memory(bytes) => Ok(Fingerprint::of(bytes)),
            Self::File(file) => {
                file.rewind()?;
                let mut hasher = XxHash3_128::new();
                let mut piece = vec![0; PIECE];
                let mut length = 0;
                loop {
                    match file.read(&mut piece) {
                        Ok(0) => return Ok(Fingerprint { length, hash: hasher.finish_128() }),
                        Ok(count) => {
                            hasher.write(&piece[..count]);
                            length += count as u64;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Whether the blocks of `blob` are held here and equal the content. Blocks that cannot be read do not.
    pub fn is_at(&mut self, blobs: &Blobs, blob: &BlobId) -> Result<bool, BlobError> {
        let start = (blob.block_offset, 0);
        // After a truncation the blocks may be others, even if this content is at the same place again.
        if blob.blocks().end > blobs.feed().length()
            || blobs.feed().seek(blob.byte_offset).ok() != Some(start)
        {
            return Ok(false);
        }
        if let Self::File(file) = self {
            file.rewind().map_err(BlobError::Source)?;
        }
        let mut at = 0;
        let mut piece = Vec::new();
        for index in blob.blocks() {
            let Ok(Some(block)) = blobs.local(index) else { return Ok(false) };
            let equal = match self {
                Self::Memory(bytes) => bytes.get(at..at + block.len()).is_some_and(|part| part == block),
                Self::File(file) => {
                    piece.resize(block.len(), 0);
                    match file.read_exact(&mut piece) {
                        Ok(()) => piece == block,
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                        Err(error) => return Err(BlobError::Source(error)),
                    }
                }
            };
            if !equal {
                return Ok(false);
            }
            at += block.len();
        }
        Ok(at as u64 == blob.byte_length && self.ends_at(at)?)
    }

    /// Whether there is nothing after the bytes that were compared.
    fn ends_at(&mut self, at: usize) -> Result<bool, BlobError> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() == at),
            Self::File(file) => file.read(&mut [0]).map(|count| count == 0).map_err(BlobError::Source),
        }
    }
}
