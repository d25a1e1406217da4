//! Pages come in here: read, checked, and kept in a cache of bounded size.

use crate::pages::page;
use crate::segment::{Block, Index, Segment};
use crate::{Pages, ReadError};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use std::cell::Cell;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
    pub source: Source<'a, P>,
    pub cache: &'a PageCache,
}

/// Pages as they come, and where it is noted that one was not what was written there.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, P> {
    pub pages: &'a P,
    pub damaged: &'a AtomicU32,
}

impl<P: Pages> Load for ThroughCache<'_, P> {
    fn index(&self, segment: &Segment) -> Result<Arc<Index>, ReadError> {
        let number = page(segment.body.id(), segment.sizes.blocks);
        if let Some(Cached::Index(index)) = self.cache.pages.get(&number) {
            return Ok(index);
        }
        let index = self.source.index(segment)?;
        self.cache.pages.insert(number, Cached::Index(index.clone()));
        Ok(index)
    }

    fn block(&self, segment: &Segment, block: u32) -> Result<Arc<Block>, ReadError> {
        let number = page(segment.body.id(), block);
        if let Some(Cached::Block(block)) = self.cache.pages.get(&number) {
            return Ok(block);
        }
        let block = self.source.block(segment, block)?;
        self.cache.pages.insert(number, Cached::Block(block.clone()));
        Ok(block)
    }
}

/// For compaction, which reads everything once and would only push out what readers want.
pub(crate) struct Straight<'a, P> {
    source: Source<'a, P>,
    bytes: Cell<u64>,
}

impl<'a, P> Straight<'a, P> {
    pub fn new(source: Source<'a, P>) -> Self {
        Straight { source, bytes: Cell::new(0) }
    }

    /// Bytes of the blocks that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

impl<P: Pages> Load for Straight<'_, P> {
    fn index(&self, segment: &Segment) -> Result<Arc<Index>, ReadError> {
        self.source.index(segment)
    }

    fn block(&self, segment: &Segment, block: u32) -> Result<Arc<Block>, ReadError> {
        let block = self.source.block(segment, block)?;
        self.bytes.set(self.bytes.get() + block.page().len() as u64);
        Ok(block)
    }
}

impl<P: Pages> Source<'_, P> {
    fn index(&self, segment: &Segment) -> Result<Arc<Index>, ReadError> {
        let number = page(segment.body.id(), segment.sizes.blocks);
        self.noted(
            segment,
            read(self.pages, number).and_then(|page| {
                let index = Index::parse(page, segment.sizes.blocks);
                index.map_err(|detail| ReadError::Damaged { page: number, detail })
            }),
        )
    }

    fn block(&self, segment: &Segment, block: u32) -> Result<Arc<Block>, ReadError> {
        let number = page(segment.body.id(), block);
        self.noted(
            segment,
            read(self.pages, number).and_then(|page| {
                Block::parse(page).map_err(|detail| ReadError::Damaged { page: number, detail })
            }),
        )
    }

    fn noted<T>(&self, segment: &Segment, loaded: Result<T, ReadError>) -> Result<Arc<T>, ReadError> {
        if matches!(loaded, Err(ReadError::Damaged { .. })) {
            self.damaged.store(segment.body.id(), Ordering::Release);
        }
        loaded.map(Arc::new)
    }
}

/// A page that must be there.
fn read<P: Pages>(pages: &P, page: u64) -> Result<Bytes, ReadError> {
    match pages.get(page) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(ReadError::Damaged { page, detail: "it is missing" }),
        Err(source) => Err(ReadError::of(page, source)),
    }
}
