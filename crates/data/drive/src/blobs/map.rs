//! Lists of blocks: npm hyperblobs stores a content written with `dedup` as the list of blocks that hold it.

use super::{BlobError, Blobs};
use crate::entry::BlobId;
use cloudpal_log::codec::{CodecError, Reader};

/// npm hyperblobs refuses a list longer than this many blocks of the log,
const MAX_MAP_BLOCKS: u64 = 64;
/// and writes at most this many items into each.
const MAX_ITEMS: usize = 8192 * MAX_MAP_BLOCKS as usize;

/// Which blocks of the log hold a content, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockMap {
    pub(super) blocks: Vec<MappedBlock>,
}

/// One block of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedBlock {
    /// Where in the log.
    pub index: u64,
    /// Its bytes.
    pub byte_length: u64,
}

impl BlockMap {
    pub(super) fn read(blobs: &Blobs, id: &BlobId) -> Result<Self, BlobError> {
        check(id)?;
        blobs.reach(id.blocks().end)?;
        blobs.feed.prefetch(id.blocks());
        let mut map = Self::default();
        for index in id.blocks() {
            let bytes = blobs.feed.get(index).map_err(BlobError::log("read a block list of the blob log"))?;
            map.extend(&bytes).map_err(bad(id))?;
        }
        Ok(map)
    }

    /// Asks nobody: none if a block of the list is not held here.
    pub(super) fn read_local(blobs: &Blobs, id: &BlobId) -> Result<Option<Self>, BlobError> {
        check(id)?;
        if id.blocks().end > blobs.feed.length() {
            return Ok(None);
        }
        let mut map = Self::default();
        for index in id.blocks() {
            let Some(bytes) = blobs.local(index)? else { return Ok(None) };
            map.extend(&bytes).map_err(bad(id))?;
        }
        Ok(Some(map))
    }

    /// Adds the items of one block of the list.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let mut reader = Reader::new(bytes);
        if reader.uint()? != 0 {
            return Err(CodecError::Value("the version of a block list"));
        }
        let items = reader.array(2, "a block list", |r| {
            let block = MappedBlock { index: r.uint()?, byte_length: r.uint()? };
            // An index of 2^53 - 1 would have no end.
            if block.index == cloudpal_log::codec::MAX_UINT { Err(CodecError::Number) } else { Ok(block) }
        })?;
        if self.blocks.len() + items.len() > MAX_ITEMS {
            return Err(CodecError::Value("the length of a block list"));
        }
        self.blocks.extend(items);
        Ok(())
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[MappedBlock] {
        &self.blocks
    }

    /// Bytes of the content.
    pub fn byte_length(&self) -> u64 {
        self.blocks.iter().fold(0, |sum, block| sum.saturating_add(block.byte_length))
    }
}

fn check(id: &BlobId) -> Result<(), BlobError> {
    match id.block_length > MAX_MAP_BLOCKS {
        true => Err(bad(id)(CodecError::Value("the length of a block list"))),
        false => Ok(()),
    }
}

fn bad(id: &BlobId) -> impl FnOnce(CodecError) -> BlobError {
    let block = id.block_offset;
    move |source| BlobError::Map { block, source }
}
