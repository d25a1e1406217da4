//! A run: segments in the order of their keys, none overlapping.

mod cursor;

use crate::ReadError;
use crate::filter;
use crate::load::Load;
use crate::pages::page;
use crate::segment::{Segment, Sizes};
use bytes::Bytes;
pub(crate) use cursor::RunCursor;
use std::ops::Range;

#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub segments: Vec<Segment>,
}

/// Values from this length on are handed out without copying, and then hold their whole page in memory.
const SHARED: usize = 4096;

impl Run {
    pub fn sizes(&self) -> Sizes {
        let mut all = Sizes::default();
        self.segments.iter().for_each(|segment| all += segment.sizes);
        all
    }

    /// What the run says of a key: nothing, that it was deleted, or its value.
    pub fn get(&self, load: &dyn Load, key: &[u8], hash: u64) -> Result<Option<Option<Bytes>>, ReadError> {
        let at = self.segments.partition_point(|segment| *segment.last < *key);
        let Some(segment) = self.segments.get(at).filter(|segment| *segment.first <= *key) else {
            return Ok(None);
        };
        let index = load.index(segment)?;
        if !index.may_have(hash) {
            return Ok(None);
        }
        let number = index.find(key) as u32;
        let block = load.block(segment, number)?;
        let found = block
            .get(key)
            .map_err(|detail| ReadError::Damaged { page: page(segment.body.id(), number), detail })?;
        let value = |range: Range<usize>| match range.len() {
            ..SHARED => Bytes::copy_from_slice(&block.page()[range]),
            SHARED.. => block.page().slice(range),
        };
        Ok(found.map(|found| found.map(value)))
    }
}

/// What [`Run::get`] looks for in filters.
pub(crate) fn hash(key: &[u8]) -> u64 {
    filter::hash(key)
}
