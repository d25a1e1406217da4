use super::Run;
use crate::load::Load;
use crate::pages::page;
use crate::segment::{Block, Interval};
use crate::{Order, ReadError};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

/// A place in a run.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    order: Order,
    /// Only keys above this one count: those up to it are in the run that is being made of this one and others.
    after: Option<Bytes>,
    segment: usize,
    number: u32,
    block: Option<Arc<Block>>,
    interval: usize,
    items: Interval,
    item: usize,
    /// Of the last block that was left, to see that the next one follows it.
    edge: Vec<u8>,
    has_edge: bool,
}

impl RunCursor {
    /// At the first entry within `from`, which is the lower bound when ascending and the upper one when descending.
    pub fn new(
        run: Arc<Run>,
        after: Option<Bytes>,
        from: Bound<&[u8]>,
        order: Order,
        load: &dyn Load,
    ) -> Result<Self, ReadError> {
        let mut cursor = RunCursor {
            run,
            order,
            after,
            segment: 0,
            number: 0,
            block: None,
            interval: 0,
            items: Interval::default(),
            item: 0,
            edge: Vec::new(),
            has_edge: false,
        };
        let fence = cursor.after.clone();
        let from = match (order, &fence) {
            (Order::Ascending, Some(fence)) => higher(from, fence),
            _ => from,
        };
        match from {
            Bound::Included(key) | Bound::Excluded(key) => cursor.seek(key, from, load)?,
            Bound::Unbounded => cursor.seek_edge(load)?,
        }
        cursor.stop_at_fence();
        Ok(cursor)
    }

    /// None past the last.
    pub fn key(&self) -> Option<&[u8]> {
        self.block.as_ref().map(|_| self.items.key(self.item))
    }

    /// The value of the entry there, a part of its page; none when the key was deleted or past the last.
    pub fn value(&self) -> Option<Bytes> {
        let block = self.block.as_ref()?;
        Some(block.page().slice(self.items.value(self.item)?))
    }

    /// As [`value`](Self::value), borrowed.
    pub fn value_bytes(&self) -> Option<&[u8]> {
        let block = self.block.as_ref()?;
        Some(&block.page()[self.items.value(self.item)?])
    }

    pub fn advance(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        match self.order {
            Order::Ascending if self.item + 1 < self.items.len() => self.item += 1,
            Order::Descending if self.item > 0 => self.item -= 1,
            _ => self.next_interval(load)?,
        }
        self.stop_at_fence();
        Ok(())
    }

    fn stop_at_fence(&mut self) {
        if self.order == Order::Descending
            && let (Some(fence), Some(key)) = (&self.after, self.key())
            && key <= &**fence
        {
            self.block = None;
        }
    }

    /// To the first entry of all in this order.
    fn seek_edge(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        self.segment = match self.order {
            Order::Ascending => 0,
            Order::Descending => self.run.segments.len().wrapping_sub(1),
        };
        self.enter_segment(load)
    }

    fn seek(&mut self, key: &[u8], from: Bound<&[u8]>, load: &dyn Load) -> Result<(), ReadError> {
        let segments = &self.run.segments;
        self.segment = match self.order {
            Order::Ascending => segments.partition_point(|segment| *segment.last < *key),
            Order::Descending => segments.partition_point(|segment| *segment.first <= *key).wrapping_sub(1),
        };
        let Some(segment) = segments.get(self.segment) else { return Ok(()) };
        self.number = load.index(segment)?.find(key) as u32;
        self.load_block(load)?;
        let Some(block) = &self.block else { return Ok(()) };
        let found = block.find(key);
        self.interval = found.map_err(|detail| self.damaged(detail))?;
        self.read_interval()?;
        // How many entries come before the bound; when descending, how many are within it.
        let before = match (self.items.find(key), self.order, from) {
            (Ok(at), Order::Ascending, Bound::Excluded(_)) => at + 1,
            (Ok(at), Order::Descending, Bound::Included(_)) => at + 1,
            (Ok(at) | Err(at), ..) => at,
        };
        match self.order {
            Order::Ascending if before < self.items.len() => self.item = before,
            Order::Descending if before > 0 => self.item = before - 1,
            _ => self.next_interval(load)?,
        }
        Ok(())
    }

    fn next_interval(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        let Some(block) = &self.block else { return Ok(()) };
        let next = match self.order {
            Order::Ascending => Some(self.interval + 1).filter(|next| *next < block.intervals()),
            Order::Descending => self.interval.checked_sub(1),
        };
        match next {
            Some(next) => {
                self.interval = next;
                self.read_interval()?;
                self.item = self.first_item();
                Ok(())
            }
            None => self.next_block(load),
        }
    }

    fn next_block(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        self.edge.clear();
        self.edge.extend_from_slice(self.items.key(self.first_item_reversed()));
        self.has_edge = true;
        let blocks = self.run.segments.get(self.segment).map_or(0, |segment| segment.sizes.blocks);
        let next = match self.order {
            Order::Ascending => Some(self.number + 1).filter(|next| *next < blocks),
            Order::Descending => self.number.checked_sub(1),
        };
        if let Some(next) = next {
            self.number = next;
            return self.enter_block(load);
        }
        self.segment = match self.order {
            Order::Ascending => self.segment + 1,
            Order::Descending => self.segment.wrapping_sub(1),
        };
        self.enter_segment(load)
    }

    fn enter_segment(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        self.block = None;
        let Some(segment) = self.run.segments.get(self.segment) else { return Ok(()) };
        self.number = match self.order {
            Order::Ascending => 0,
            Order::Descending => segment.sizes.blocks.saturating_sub(1),
        };
        self.enter_block(load)
    }

    fn enter_block(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        self.load_block(load)?;
        let Some(block) = &self.block else { return Ok(()) };
        self.interval = match self.order {
            Order::Ascending => 0,
            Order::Descending => block.intervals() - 1,
        };
        self.read_interval()?;
        self.item = self.first_item();
        let key = self.items.key(self.item);
        let follows = match self.order {
            Order::Ascending => key > &*self.edge,
            Order::Descending => key < &*self.edge,
        };
        if self.has_edge && !follows { Err(self.damaged("it does not follow its neighbour")) } else { Ok(()) }
    }

    fn load_block(&mut self, load: &dyn Load) -> Result<(), ReadError> {
        self.block = None;
        if let Some(segment) = self.run.segments.get(self.segment) {
            self.block = Some(load.block(segment, self.number)?);
        }
        Ok(())
    }

    fn read_interval(&mut self) -> Result<(), ReadError> {
        let Some(block) = &self.block else { return Ok(()) };
        let read = block.read(self.interval, &mut self.items);
        read.map_err(|detail| self.damaged(detail))
    }

    fn first_item(&self) -> usize {
        match self.order {
            Order::Ascending => 0,
            Order::Descending => self.items.len() - 1,
        }
    }

    fn first_item_reversed(&self) -> usize {
        self.items.len() - 1 - self.first_item()
    }

    /// Ends the cursor, which is at no entry any more.
    fn damaged(&mut self, detail: &'static str) -> ReadError {
        self.block = None;
        let id = self.run.segments.get(self.segment).map_or(0, |segment| segment.body.id());
        ReadError::Damaged { page: page(id, self.number), detail }
    }
}

/// The tighter of a lower bound and "above the fence".
fn higher<'a>(from: Bound<&'a [u8]>, fence: &'a [u8]) -> Bound<&'a [u8]> {
    match from {
        Bound::Included(key) if key > fence => from,
        Bound::Excluded(key) if key >= fence => from,
        _ => Bound::Excluded(fence),
    }
}
