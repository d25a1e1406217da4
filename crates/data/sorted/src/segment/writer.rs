use super::block::BlockBuilder;
use super::index::IndexBuilder;
use super::{Body, Segment, Sizes};
use crate::pages::{Change, page};
use bytes::Bytes;
use std::sync::Arc;

/// Makes the pages of one segment out of entries in rising order.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    body: Arc<Body>,
    block_target: usize,
    block: BlockBuilder,
    index: IndexBuilder,
    first: Bytes,
    entries: u64,
    deletions: u64,
    bytes: u64,
    blocks: u32,
    ready: Vec<Change>,
    ready_bytes: usize,
}

impl SegmentWriter {
    /// `block_target`: bytes after which a block is full.
    pub fn new(body: Arc<Body>, block_target: usize) -> Self {
        SegmentWriter {
            body,
            block_target,
            block: BlockBuilder::default(),
            index: IndexBuilder::default(),
            first: Bytes::new(),
            entries: 0,
            deletions: 0,
            bytes: 0,
            blocks: 0,
            ready: Vec::new(),
            ready_bytes: 0,
        }
    }

    /// Appends an entry whose key is greater than all before.
    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let size = key.len() + value.map_or(0, <[u8]>::len);
        if !self.block.is_empty() && self.block.len() + size > self.block_target {
            self.end_block();
        }
        if self.block.is_empty() {
            self.index.begin_block(self.block.last(), key);
        }
        if self.entries == 0 {
            self.first = Bytes::copy_from_slice(key);
        }
        self.block.add(key, value);
        self.index.add(key);
        self.entries += 1;
        self.deletions += u64::from(value.is_none());
    }

    /// Bytes of all blocks so far.
    pub fn bytes(&self) -> u64 {
        self.bytes + if self.block.is_empty() { 0 } else { self.block.len() as u64 }
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of the pages that can be taken.
    pub fn ready(&self) -> usize {
        self.ready_bytes
    }

    /// The pages made since they were taken last. They can be committed before the segment is known to anybody.
    pub fn take(&mut self) -> Vec<Change> {
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready)
    }

    /// The segment, unless it is empty, and the pages that were not taken.
    pub fn finish(mut self) -> Option<(Segment, Vec<Change>)> {
        if self.is_empty() {
            return None;
        }
        self.end_block();
        let last = Bytes::copy_from_slice(self.block.last());
        let (blocks, index) = (self.blocks, self.index.finish());
        let sizes = Sizes {
            blocks,
            bytes: self.bytes + index.len() as u64,
            entries: self.entries,
            deletions: self.deletions,
        };
        self.ready.push(Change::Put(page(self.body.id(), blocks), index));
        Some((Segment { first: self.first, last, sizes, body: self.body }, self.ready))
    }

    fn end_block(&mut self) {
        let bytes = self.block.finish();
        self.bytes += bytes.len() as u64;
        self.ready_bytes += bytes.len();
        self.ready.push(Change::Put(page(self.body.id(), self.blocks), bytes));
        self.blocks += 1;
    }
}
