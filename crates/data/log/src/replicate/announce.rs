use super::have::Have;
use crate::wire::{Message, Span};
use crate::{Log, Storage};
use bytes::Bytes;
use std::collections::VecDeque;

/// Spans that a peer may want at a time; past it, it is told of everything (JS: 512).
const MOST_WANTS: usize = 512;
/// Spans that wait to be told.
const MOST_WAITING: usize = 256;
/// Blocks of one bitfield message: 8 KiB of bits.
const CHUNK: u64 = 65_536;
/// Of the last blocks everyone is told (JS: `LAST_BLOCKS`).
const LAST_BLOCKS: u64 = 256;

/// What a peer wants to know about our blocks, and what it has not been told yet.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    wants: Vec<Span>,
    everything: bool,
    /// Spans to answer with bitfields: start and end.
    answers: VecDeque<(u64, u64)>,
    /// Ranges to say, oldest first.
    ranges: VecDeque<(u64, u64, Held)>,
    /// The whole log was told at this length.
    whole: u64,
}

/// Whether blocks came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    No,
}

impl Announcements {
    pub fn want<S: Storage>(&mut self, span: Span, log: &Log<S>) {
        if self.wants.len() < MOST_WANTS {
            self.wants.push(span);
        } else {
            self.everything = true;
        }
        if span.any && span.start < log.contiguous_length() {
            return self.say(0, log.contiguous_length(), Held::Yes);
        }
        self.answer(span.start, span.start.saturating_add(span.length), log);
    }

    /// Says which of the blocks `start..end` are held.
    fn answer<S: Storage>(&mut self, start: u64, end: u64, log: &Log<S>) {
        let contiguous = log.contiguous_length();
        if end < contiguous || contiguous == log.length() {
            return self.say(0, contiguous, Held::Yes);
        }
        if self.answers.len() < MOST_WANTS {
            self.answers.push_back((start / 32 * 32, end.min(log.length())));
        }
    }

    /// The peer gave up blocks `start..end`. While it had them it was not told that they are here too.
    pub fn dropped<S: Storage>(&mut self, start: u64, end: u64, log: &Log<S>) {
        if start < log.length() {
            self.answer(start, end, log);
        }
    }

    pub fn unwant(&mut self, span: Span) {
        if let Some(place) = self.wants.iter().position(|want| *want == span) {
            self.wants.swap_remove(place);
        }
    }

    /// Blocks `start..end` came. `have` is what the peer has of the same fork: it need not hear of that.
    pub fn came<S: Storage>(&mut self, start: u64, end: u64, have: Option<&Have>, log: &Log<S>) {
        let (length, contiguous) = (log.length(), log.contiguous_length());
        if contiguous == length {
            // Said once even to those who have all: they learn that they can ask here for anything.
            if self.whole < length {
                self.whole = length;
                self.ranges.retain(|range| range.2 == Held::No);
                self.say(0, length, Held::Yes);
            }
            return;
        }
        let known = have.is_some_and(|have| have.next_missing(start) >= end);
        if known || start + LAST_BLOCKS < length && !self.wanted(start, end) {
            return;
        }
        self.say(start, end, Held::Yes);
    }

    /// Blocks `start..end` went.
    pub fn went(&mut self, start: u64, end: u64) {
        self.whole = self.whole.min(start);
        self.say(start, end, Held::No);
    }

    /// What to say when the channel opens.
    pub fn greet<S: Storage>(&mut self, log: &Log<S>) {
        let contiguous = log.contiguous_length();
        if contiguous > 0 {
            self.whole = if contiguous == log.length() { contiguous } else { 0 };
            self.say(0, contiguous, Held::Yes);
        }
        // Who has forgotten what lies further back says so: its peers know then that it is up to date.
        let last = log.last_held();
        if last.start > contiguous && last.end == log.length() {
            self.say(last.start, last.end, Held::Yes);
        }
    }

    /// The next message; none when all is told.
    pub fn next<S: Storage>(&mut self, log: &Log<S>) -> Option<Message> {
        if let Some((start, end, held)) = self.ranges.pop_front() {
            return Some(Message::Range { drop: held == Held::No, start, length: end - start });
        }
        while let Some((start, end)) = self.answers.front_mut() {
            if *start >= *end {
                self.answers.pop_front();
                continue;
            }
            let (from, to) = (*start, (*start + CHUNK).min(*end));
            *start = to;
            let bits = bitfield(log, from, to);
            if bits.iter().any(|byte| *byte != 0) {
                return Some(Message::Bitfield { start: from, bits });
            }
        }
        None
    }

    fn wanted(&self, start: u64, end: u64) -> bool {
        self.everything
            || self
                .wants
                .iter()
                .any(|want| want.start < end && start < want.start.saturating_add(want.length))
    }

    fn say(&mut self, start: u64, end: u64, held: Held) {
        if start >= end {
            return;
        }
        match self.ranges.back_mut() {
            Some(last) if last.2 == held && last.0 <= start && start <= last.1 => last.1 = last.1.max(end),
            _ => self.ranges.push_back((start, end, held)),
        }
        if self.ranges.len() > MOST_WAITING {
            // It reads slowly and much happened: tell it all of what it wants again instead.
            let ranges = std::mem::take(&mut self.ranges);
            self.ranges.extend(ranges.into_iter().filter(|range| range.2 == Held::No).take(MOST_WAITING / 2));
            self.answers =
                self.wants.iter().map(|want| (want.start / 32 * 32, want.start + want.length)).collect();
            self.answers.push_back((start / 32 * 32, end));
        }
    }
}

/// The bits of blocks `from..to`, in whole words of 32; `from` is a multiple of 32.
fn bitfield<S: Storage>(log: &Log<S>, from: u64, to: u64) -> Bytes {
    let words = (to - from).div_ceil(32);
    let words = log.held_words(from / 32, words as usize);
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
