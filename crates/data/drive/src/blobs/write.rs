//! Storing contents.

use super::{BLOCK_SIZE, BlobError, Blobs};
use crate::entry::BlobId;
use bytes::{Bytes, BytesMut};
use std::io::{self, Read};
use std::sync::PoisonError;

/// Bytes that a stream gathers before they go to the log in one batch.
const GATHER: usize = 64 * BLOCK_SIZE;

/// Appends are retried this often when another session of the same log came between.
const TRIES: usize = 8;

impl Blobs {
    /// Stores a content that is in memory. Its blocks are parts of `content`, not copies.
    pub fn put(&self, content: Bytes) -> Result<BlobId, BlobError> {
        let ids = self.put_all(std::slice::from_ref(&content))?;
        ids.first().copied().ok_or(BlobError::Interleaved)
    }

    /// Stores contents one after the other in a single append.
    pub fn put_all(&self, contents: &[Bytes]) -> Result<Vec<BlobId>, BlobError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = Vec::new();
        for content in contents {
            cut(content, &mut blocks);
        }
        let mut next = self.append(&blocks)?;
        let place = |content: &Bytes| {
            let id = BlobId {
                block_length: content.len().div_ceil(BLOCK_SIZE) as u64,
                byte_length: content.len() as u64,
                ..next
            };
            next.block_offset += id.block_length;
            next.byte_offset += id.byte_length;
            id
        };
        Ok(contents.iter().map(place).collect())
    }

    /// Stores what `source` gives until its end. When that fails, what was stored so far is freed again.
    pub fn put_reader(&self, source: &mut dyn Read) -> Result<BlobId, BlobError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut id = self.append(&[])?;
        let stored = loop {
            match self.put_part(source, &mut id) {
                Ok(true) => {}
                Ok(false) => break Ok(id),
                Err(error) => break Err(error),
            }
        };
        if stored.is_err() && id.block_length > 0 {
            // The first error says more than a second one could.
            let _ = self.clear(id.blocks());
        }
        stored
    }

    /// Stores the next part; false when the source had no more.
    fn put_part(&self, source: &mut dyn Read, id: &mut BlobId) -> Result<bool, BlobError> {
        let part = gather(source).map_err(BlobError::Source)?;
        if part.is_empty() {
            return Ok(false);
        }
        let mut blocks = Vec::with_capacity(GATHER / BLOCK_SIZE);
        cut(&part, &mut blocks);
        let first = self.feed.append(&blocks).map_err(BlobError::log("append to the blob log"))?;
        if first != id.blocks().end {
            // Blocks of one content must follow each other.
            let _ = self.clear(first..first + blocks.len() as u64);
            return Err(BlobError::Interleaved);
        }
        id.block_length += blocks.len() as u64;
        id.byte_length += part.len() as u64;
        Ok(part.len() == GATHER)
    }

    /// Appends and tells where the first block went, as an id without length.
    fn append(&self, blocks: &[Bytes]) -> Result<BlobId, BlobError> {
        for _ in 0..TRIES {
            let (length, byte_offset) = (self.feed.length(), self.feed.byte_length());
            let first = match blocks {
                [] => self.feed.length(),
                blocks => self.feed.append(blocks).map_err(BlobError::log("append to the blob log"))?,
            };
            if first == length {
                let id = BlobId {
                    block_offset: first,
                    byte_offset,
                    block_length: 0,
                    byte_length: 0,
                    mapped: false,
                };
                return Ok(id);
            }
            self.clear(first..first + blocks.len() as u64)?;
        }
        Err(BlobError::Interleaved)
    }
}

fn cut(content: &Bytes, blocks: &mut Vec<Bytes>) {
    let starts = (0..content.len()).step_by(BLOCK_SIZE);
    blocks.extend(starts.map(|at| content.slice(at..content.len().min(at + BLOCK_SIZE))));
}

/// Reads [`GATHER`] bytes, fewer only at the end.
fn gather(source: &mut dyn Read) -> io::Result<Bytes> {
    let mut part = BytesMut::zeroed(BLOCK_SIZE);
    let mut filled = 0;
    while filled < GATHER {
        if filled == part.len() {
            part.resize((part.len() * 4).min(GATHER), 0);
        }
        match source.read(&mut part[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    part.truncate(filled);
    Ok(part.freeze())
}
