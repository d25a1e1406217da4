//! Pages come in here: read, checked, and kept in a cache of bounded size.

use crate::error::Detail;
use crate::pages::page;
use crate::segment::{Block, Index, Segment};
use crate::{Pages, ReadError};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use std::cell::Cell;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Gives the pages of segments, checked.
pub(crate) trait Load {
    fn index(&self, segment: &Segment) -> Result<Arc<Index>, ReadError>;

    fn block(&self, segment: &Segment, block: u32) -> Result<Arc<Block>, ReadError>;
}

/// Keeps what was read.
#[derive(Debug)]
pub(crate) struct PageCache {
    pages: Cache<u64, Cached, Weigh, BuildHasherDefault<PageHasher>>,
}

#[derive(Debug, Clone)]
enum Cached {
    Index(Arc<Index>),
    Block(Arc<Block>),
}

#[derive(Debug, Clone)]
struct Weigh;

/// What a page in the cache costs beside its bytes.
const OVERHEAD: u64 = 128;

impl Weighter<u64, Cached> for Weigh {
    fn weight(&self, _: &u64, page: &Cached) -> u64 {
        OVERHEAD
            + match page {
                Cached::Index(index) => index.bytes() as u64,
                Cached::Block(block) => block.page().len() as u64,
            }
    }
}

/// Spreads numbers of pages, which nobody chooses, over all bits (the finish of splitmix64).
#[derive(Debug, Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = self.0.rotate_left(5) ^ number;
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = mixed ^ (mixed >> 31);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl PageCache {
    /// `bytes`: how much it holds; `page`: bytes of a usual page.
    pub fn new(bytes: usize, page: usize) -> Self {
        let (pages, hasher) = (bytes / page.max(1) + 16, BuildHasherDefault::default());
        PageCache { pages: Cache::with(pages, bytes as u64, Weigh, hasher, DefaultLifecycle::default()) }
    }

    pub fn bytes(&self) -> u64 {
        self.pages.weight()
    }

    pub fn clear(&self) {
        self.pages.clear();
    }
}

/// For readers.
pub(crate) struct ThroughCache<'a, P> {
    pub pages: &'a P,
    pub cache: &'a PageCache,
}

impl<P: Pages> Load for ThroughCache<'_, P> {
    fn index(&self, segment: &Segment) -> Result<Arc<Index>, ReadError> {
        let number = page(segment.body.id(), segment.sizes.blocks);
        if let Some(Cached::Index(index)) = self.cache.pages.get(&number) {
            return Ok(index);
        }
        let index = parse_index(self.pages, segment)?;
        self.cache.pages.insert(number, Cached::Index(index.clone()));
        Ok(index)
    }

    fn block(&self, segment: &Segment, block: u32) -> Result<Arc<Block>, ReadError> {
        let number = page(segment.body.id(), block);
        if let Some(Cached::Block(block)) = self.cache.pages.get(&number) {
            return Ok(block);
        }
        let block = parse_block(self.pages, segment, block)?;
        self.cache.pages.insert(number, Cached::Block(block.clone()));
        Ok(block)
    }
}

/// For compaction, which reads everything once and would only push out what readers want.
pub(crate) struct Straight<'a, P> {
    pages: &'a P,
    bytes: Cell<u64>,
}

impl<'a, P> Straight<'a, P> {
    pub fn new(pages: &'a P) -> Self {
        Straight { pages, bytes: Cell::new(0) }
    }

    /// Bytes of the blocks that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

impl<P: Pages> Load for Straight<'_, P> {
    fn index(&self, segment: &Segment) -> Result<Arc<Index>, ReadError> {
        parse_index(self.pages, segment)
    }

    fn block(&self, segment: &Segment, block: u32) -> Result<Arc<Block>, ReadError> {
        let block = parse_block(self.pages, segment, block)?;
        self.bytes.set(self.bytes.get() + block.page().len() as u64);
        Ok(block)
    }
}

fn parse_index<P: Pages>(pages: &P, segment: &Segment) -> Result<Arc<Index>, ReadError> {
    let number = page(segment.body.id(), segment.sizes.blocks);
    checked(number, Index::parse(read(pages, number)?, segment.sizes.blocks))
}

fn parse_block<P: Pages>(pages: &P, segment: &Segment, block: u32) -> Result<Arc<Block>, ReadError> {
    let number = page(segment.body.id(), block);
    checked(number, Block::parse(read(pages, number)?))
}

fn read<P: Pages>(pages: &P, page: u64) -> Result<Bytes, ReadError> {
    let found = pages.get(page).map_err(|source| ReadError::Pages { page, source })?;
    found.ok_or(ReadError::Damaged { page, detail: "it is missing" })
}

fn checked<T>(page: u64, parsed: Result<T, Detail>) -> Result<Arc<T>, ReadError> {
    parsed.map(Arc::new).map_err(|detail| ReadError::Damaged { page, detail })
}
