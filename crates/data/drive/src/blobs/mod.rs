//! Contents in a log: blocks of 65,536 bytes put end to end, as npm hyperblobs 2 lays them out.

mod map;
mod read;
mod write;

pub use map::BlockMap;
pub use read::BlobReader;

use crate::entry::BlobId;
use cloudpal_log::codec::CodecError;
use cloudpal_log::{Feed, FeedError};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes of each block but a content's last.
pub const BLOCK_SIZE: usize = 65_536;

/// The contents in one blob log. Clones share the log and take turns writing.
#[derive(Clone)]
pub struct Blobs {
    feed: Arc<dyn Feed>,
    writing: Arc<Mutex<()>>,
    wait: Duration,
}

/// Why a content could not be stored, read or freed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The blob log below.
    #[error("cannot {doing}")]
    Log {
        /// What was attempted.
        doing: &'static str,
        /// What the log said.
        source: FeedError,
    },
    /// The id leads past what the log has, and no peer brought more in time.
    #[error(
        "the content ends at block {end}, but the blob log has {length} here: connect a peer that has more"
    )]
    Beyond {
        /// First block after the content.
        end: u64,
        /// Blocks in the log.
        length: u64,
    },
    /// The blocks are not as long as the id says.
    #[error(
        "the content at block {block} is not as long as its entry says; the drive's writer is faulty or hostile"
    )]
    Length {
        /// Where it starts.
        block: u64,
    },
    /// A list of blocks that does not parse.
    #[error("the block list at block {block} cannot be read; the drive's writer is faulty or hostile")]
    Map {
        /// Where it starts.
        block: u64,
        /// What is wrong with it.
        source: CodecError,
    },
    /// Where the content comes from.
    #[error("cannot read the content to be stored")]
    Source(#[source] std::io::Error),
    /// Where the content goes to.
    #[error("cannot write the content that was read")]
    Sink(#[source] std::io::Error),
    /// Another session wrote to the same log in between.
    #[error(
        "the blob log grew while a content was being stored: write to a drive through one `Drive` at a time"
    )]
    Interleaved,
}

impl BlobError {
    pub(crate) fn log(doing: &'static str) -> impl FnOnce(FeedError) -> Self {
        move |source| Self::Log { doing, source }
    }
}

impl Blobs {
    /// Contents in `feed`. A read that leads past the log's end waits for `wait` that a peer brings more.
    pub fn new(feed: Arc<dyn Feed>, wait: Duration) -> Self {
        Self { feed, writing: Arc::default(), wait }
    }

    /// The log below.
    pub fn feed(&self) -> &Arc<dyn Feed> {
        &self.feed
    }

    /// The blocks that hold `blob`, and its list of blocks where it has one; none if that list is not held here.
    pub fn ranges(&self, blob: &BlobId) -> Result<Option<Vec<Range<u64>>>, BlobError> {
        let mut ranges = vec![blob.blocks()];
        if blob.mapped {
            let Some(map) = BlockMap::read_local(self, blob)? else { return Ok(None) };
            ranges.extend(map.blocks().iter().map(|block| block.index..block.index + 1));
        }
        Ok(Some(ranges))
    }

    /// Frees `blocks` here: they stay part of the log, and peers may still have them.
    pub fn clear(&self, blocks: Range<u64>) -> Result<(), BlobError> {
        let blocks = blocks.start..blocks.end.min(self.feed.length());
        if blocks.is_empty() {
            return Ok(());
        }
        self.feed.clear(blocks).map_err(BlobError::log("free blocks of the blob log"))
    }

    /// Asks peers for the blocks of `blob`, and returns at once.
    pub fn prefetch(&self, blob: &BlobId) -> Result<(), BlobError> {
        self.feed.prefetch(blob.blocks());
        if blob.mapped {
            for block in BlockMap::read(self, blob)?.blocks() {
                self.feed.prefetch(block.index..block.index + 1);
            }
        }
        Ok(())
    }

    /// Whether all blocks of `blob` are held here.
    pub fn has(&self, blob: &BlobId) -> Result<bool, BlobError> {
        let Some(ranges) = self.ranges(blob)? else { return Ok(false) };
        for index in ranges.into_iter().flatten() {
            if index >= self.feed.length() || self.local(index)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn local(&self, index: u64) -> Result<Option<bytes::Bytes>, BlobError> {
        self.feed.get_local(index).map_err(BlobError::log("read a block of the blob log"))
    }

    /// Waits until the log has `end` blocks. A log that we write has all it will get.
    fn reach(&self, end: u64) -> Result<(), BlobError> {
        let started = std::time::Instant::now();
        loop {
            let seen = (self.feed.fork(), self.feed.length());
            if seen.1 >= end {
                return Ok(());
            }
            let left = self.wait.saturating_sub(started.elapsed());
            if left.is_zero() || self.feed.writable() {
                return Err(BlobError::Beyond { end, length: seen.1 });
            }
            self.feed.wait_change(seen, left);
        }
    }
}
