use super::Replicator;
use super::event::{Event, PeerId, WantId};
use super::peer::Peer;
use crate::{HashRequest, Log, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// In which order blocks are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the first on: for reading while it comes. Its proofs are also the smallest.
    Linear,
    /// From a place that the number chooses, then around: peers that fetch the same log from one source then
    /// soon have different parts for each other.
    Scattered(u64),
}

/// Everything that was asked for and is not here yet.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    pub spans: Vec<SpanWant>,
    /// Single blocks that nobody has been asked for.
    pub urgent: BTreeSet<u64>,
    /// Who waits for which single block.
    pub singles: BTreeMap<u64, Vec<WantId>>,
    pub seeks: Vec<SeekWant>,
}

#[derive(Debug)]
pub(crate) struct SpanWant {
    pub id: WantId,
    pub parts: Vec<Part>,
}

/// Blocks in a row, asked for from the first on.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// All before it are held.
    pub start: u64,
    /// `u64::MAX`: however long the log grows.
    pub end: u64,
    /// All from `start` to here are held or asked for.
    pub cursor: u64,
}

/// A byte that is looked for.
#[derive(Debug)]
pub(crate) struct SeekWant {
    pub id: WantId,
    pub bytes: u64,
    /// Who was asked, for the way from where.
    pub asked: Option<(PeerId, HashRequest)>,
    /// Who refused, and has told of no new blocks since.
    pub refused: BTreeSet<PeerId>,
    /// It lies past the end of the log as it is known here.
    pub beyond: bool,
}

impl Replicator {
    /// Fetches `blocks` as peers have them; an end of `u64::MAX` goes on for ever. [`Event::Done`] follows when
    /// all are held.
    pub fn want<S: Storage>(&mut self, blocks: Range<u64>, order: Order, log: &Log<S>) -> WantId {
        let id = self.next_want();
        let part = |range: Range<u64>| Part { start: range.start, end: range.end, cursor: range.start };
        let middle = match order {
            Order::Linear => blocks.start,
            Order::Scattered(number) => {
                let end = blocks.end.min(log.length().max(blocks.start));
                blocks.start + number % (end - blocks.start).max(1)
            }
        };
        let parts =
            [middle..blocks.end, blocks.start..middle].into_iter().filter(|it| !it.is_empty()).map(part);
        self.wants.spans.push(SpanWant { id, parts: parts.collect() });
        self.progress(log);
        self.wake_all();
        id
    }

    /// Fetches one block before all spans.
    pub fn want_block<S: Storage>(&mut self, block: u64, log: &Log<S>) -> WantId {
        let id = self.next_want();
        if log.has(block) {
            self.events.push_back(Event::Done { want: id });
            return id;
        }
        self.wants.singles.entry(block).or_default().push(id);
        if !self.in_flight.get(block) {
            self.wants.urgent.insert(block);
        }
        self.wake_all();
        id
    }

    /// Looks for the block that holds byte `bytes` of the log, without padding. [`Event::Found`] follows; what
    /// [`Log::seek`] says of a block that is not held holds for it too.
    pub fn want_byte<S: Storage>(&mut self, bytes: u64, log: &Log<S>) -> WantId {
        let id = self.next_want();
        self.wants.seeks.push(SeekWant { id, bytes, asked: None, refused: BTreeSet::new(), beyond: false });
        self.progress(log);
        self.wake_all();
        id
    }

    /// Takes a want back. Requests that nothing else wants are cancelled.
    pub fn unwant(&mut self, want: WantId) {
        self.wants.spans.retain(|span| span.id != want);
        self.wants.seeks.retain(|seek| seek.id != want);
        self.wants.singles.retain(|_, ids| {
            ids.retain(|id| *id != want);
            !ids.is_empty()
        });
        let Wants { urgent, singles, .. } = &mut self.wants;
        urgent.retain(|block| singles.contains_key(block));
        self.cancel_unwanted();
    }

    /// Tells what is done, and moves the marks of what is not.
    pub(super) fn progress<S: Storage>(&mut self, log: &Log<S>) {
        let Replicator { wants, events, .. } = self;
        wants.spans.retain_mut(|span| {
            for part in &mut span.parts {
                part.start = log.next_missing(part.start).min(part.end);
                part.cursor = part.cursor.max(part.start);
            }
            let done = span.parts.iter().all(|part| part.start >= part.end);
            if done {
                events.push_back(Event::Done { want: span.id });
            }
            !done
        });
        self.progress_seeks(log);
    }

    /// Blocks came: whoever waits for one of them alone is told.
    pub(super) fn singles_done(&mut self, blocks: Range<u64>) {
        if self.wants.singles.is_empty() {
            return;
        }
        let done: Vec<u64> = self.wants.singles.range(blocks).map(|(block, _)| *block).collect();
        for block in done {
            for want in self.wants.singles.remove(&block).into_iter().flatten() {
                self.events.push_back(Event::Done { want });
            }
        }
    }

    /// A block that was asked for did not come: somebody else may be asked.
    pub(super) fn release(&mut self, block: u64) {
        self.in_flight.remove(block);
        for part in self.wants.spans.iter_mut().flat_map(|span| &mut span.parts) {
            if part.start <= block && block < part.cursor {
                part.cursor = block;
            }
        }
        if self.wants.singles.contains_key(&block) {
            self.wants.urgent.insert(block);
        }
    }

    fn next_want(&mut self) -> WantId {
        self.last_want += 1;
        WantId(self.last_want)
    }
}

impl Wants {
    /// Whether something at or past `length` is wanted.
    pub fn beyond(&self, length: u64) -> bool {
        self.singles.range(length..).next().is_some()
            || self.seeks.iter().any(|seek| seek.beyond)
            || self.spans.iter().flat_map(|span| &span.parts).any(|part| part.end > length)
    }

    /// The first block from `length` to `end` that is wanted and that `peer` has.
    pub fn first_beyond(&self, length: u64, end: u64, peer: &Peer) -> Option<u64> {
        let single = self.urgent.range(length..end).find(|block| peer.have.contains(**block)).copied();
        let parts = || self.spans.iter().flat_map(|span| &span.parts);
        single.or_else(|| {
            parts().find_map(|part| {
                let there = peer.have.next(part.start.max(length))?;
                (there < part.end.min(end)).then_some(there)
            })
        })
    }

    pub fn covers(&self, block: u64) -> bool {
        self.singles.contains_key(&block)
            || self
                .spans
                .iter()
                .flat_map(|span| &span.parts)
                .any(|part| part.start <= block && block < part.end)
    }
}
