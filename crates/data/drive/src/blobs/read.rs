//! Reading contents, whole or in part.

use super::map::MappedBlock;
use super::{BLOCK_SIZE, BlobError, Blobs, BlockMap};
use crate::entry::BlobId;
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::ops::Range;

/// Memory is taken for at most this many bytes before they have arrived.
const TRUST: u64 = 16 << 20;

/// The bytes of a content, block by block; or through [`std::io::Read`].
pub struct BlobReader {
    blobs: Blobs,
    source: Source,
    /// First block of the content, for messages.
    at: u64,
    /// Bytes of the next block that lie before the range.
    skip: u64,
    /// Bytes still to be handed out.
    left: u64,
    /// Whether the range goes to the content's end, so that the blocks must end there too.
    to_end: bool,
    rest: Bytes,
}

enum Source {
    Run(Range<u64>),
    Mapped(std::vec::IntoIter<MappedBlock>),
}

impl Blobs {
    /// A whole content.
    pub fn get(&self, blob: &BlobId) -> Result<Bytes, BlobError> {
        let mut reader = self.reader(blob, 0..u64::MAX)?;
        let Some(first) = reader.next_block()? else { return Ok(Bytes::new()) };
        if reader.left == 0 {
            return reader.finish().map(|()| first);
        }
        let mut whole = BytesMut::with_capacity((reader.left.min(TRUST)) as usize + first.len());
        whole.extend_from_slice(&first);
        while let Some(block) = reader.next_block()? {
            whole.extend_from_slice(&block);
        }
        Ok(whole.freeze())
    }

    /// Bytes of the content, which for mapped contents takes reading their list.
    pub fn byte_length(&self, blob: &BlobId) -> Result<u64, BlobError> {
        if blob.mapped { Ok(BlockMap::read(self, blob)?.byte_length()) } else { Ok(blob.byte_length) }
    }

    /// The bytes `range` of a content; what lies past its end is left out.
    pub fn reader(&self, blob: &BlobId, range: Range<u64>) -> Result<BlobReader, BlobError> {
        if blob.mapped {
            return self.mapped_reader(BlockMap::read(self, blob)?, blob, range);
        }
        let end = range.end.min(blob.byte_length);
        let start = range.start.min(end);
        let mut reader = BlobReader {
            blobs: self.clone(),
            source: Source::Run(blob.blocks()),
            at: blob.block_offset,
            skip: 0,
            left: end - start,
            to_end: end == blob.byte_length,
            rest: Bytes::new(),
        };
        if start == end && range.start > 0 {
            reader.source = Source::Run(0..0);
            return Ok(reader);
        }
        if !blob.blocks().is_empty() {
            self.reach(blob.blocks().end)?;
        }
        if start > 0 {
            let doing = BlobError::log("find a byte of the blob log");
            let (index, offset) = self.feed.seek(blob.byte_offset + start).map_err(doing)?;
            if !blob.blocks().contains(&index) {
                return Err(BlobError::Length { block: blob.block_offset });
            }
            reader.source = Source::Run(index..blob.blocks().end);
            reader.skip = offset;
        }
        reader.ask_early();
        Ok(reader)
    }

    fn mapped_reader(
        &self,
        map: BlockMap,
        blob: &BlobId,
        range: Range<u64>,
    ) -> Result<BlobReader, BlobError> {
        let whole = map.byte_length();
        let end = range.end.min(whole);
        let mut start = range.start.min(end);
        let left = end - start;
        let mut blocks = map.blocks.into_iter();
        while let Some(first) = blocks.as_slice().first()
            && start >= first.byte_length
        {
            start -= first.byte_length;
            blocks.next();
        }
        if let Some(last) = blocks.as_slice().iter().map(|block| block.index).max() {
            self.reach(last + 1)?;
        }
        Ok(BlobReader {
            blobs: self.clone(),
            source: Source::Mapped(blocks),
            at: blob.block_offset,
            skip: start,
            left,
            to_end: end == whole,
            rest: Bytes::new(),
        })
    }
}

impl BlobReader {
    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.left + self.rest.len() as u64
    }

    /// The next piece, without a copy; none at the end.
    pub fn next_block(&mut self) -> Result<Option<Bytes>, BlobError> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        while self.left > 0 {
            let mut block = self.fetch()?.ok_or(BlobError::Length { block: self.at })?;
            if self.skip > block.len() as u64 {
                return Err(BlobError::Length { block: self.at });
            }
            block.advance(self.skip as usize);
            self.skip = 0;
            if block.len() as u64 > self.left {
                if self.to_end {
                    return Err(BlobError::Length { block: self.at });
                }
                block.truncate(self.left as usize);
            }
            self.left -= block.len() as u64;
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
        self.finish().map(|()| None)
    }

    /// Writes all that is left to `sink` and returns how many bytes that was.
    pub fn write_to(&mut self, sink: &mut dyn io::Write) -> Result<u64, BlobError> {
        let mut written = 0;
        while let Some(block) = self.next_block()? {
            sink.write_all(&block).map_err(BlobError::Sink)?;
            written += block.len() as u64;
        }
        Ok(written)
    }

    /// After the last byte only empty blocks may follow.
    fn finish(&mut self) -> Result<(), BlobError> {
        while self.to_end && self.left == 0 {
            match self.fetch()? {
                Some(block) if block.is_empty() => {}
                Some(_) => return Err(BlobError::Length { block: self.at }),
                None => break,
            }
        }
        Ok(())
    }

    fn fetch(&mut self) -> Result<Option<Bytes>, BlobError> {
        let doing = BlobError::log("read a block of the blob log");
        match &mut self.source {
            Source::Run(blocks) => match blocks.next() {
                Some(index) => self.blobs.feed.get(index).map(Some).map_err(doing),
                None => Ok(None),
            },
            Source::Mapped(blocks) => {
                let Some(block) = blocks.next() else { return Ok(None) };
                let bytes = self.blobs.feed.get(block.index).map_err(doing)?;
                match bytes.len() as u64 == block.byte_length {
                    true => Ok(Some(bytes)),
                    false => Err(BlobError::Length { block: block.index }),
                }
            }
        }
    }

    /// Tells peers about all blocks of the range at once. How many that are is only known for contents cut
    /// at [`BLOCK_SIZE`]; asking for a few too many or too few does no harm.
    fn ask_early(&self) {
        if let Source::Run(blocks) = &self.source {
            let wanted = (self.left + self.skip).div_ceil(BLOCK_SIZE as u64);
            let end = if self.to_end { blocks.end } else { blocks.end.min(blocks.start + wanted) };
            if end > blocks.start && !self.blobs.feed.writable() {
                self.blobs.feed.prefetch(blocks.start..end);
            }
        }
    }
}

impl io::Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            match self.next_block() {
                Ok(Some(block)) => self.rest = block,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let count = buf.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buf[..count]);
        Ok(count)
    }
}
