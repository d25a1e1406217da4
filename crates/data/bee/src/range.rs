use crate::cache::KeyBytes;
use crate::cursor::{Cursor, Stop};
use crate::tree::Tree;
use crate::{Entry, ReadError};
use std::ops::Bound;

/// Which entries, in which order.
///
/// ```
/// use cloudpal_bee::Range;
/// let last_three = Range::prefix("photo/").reverse().limit(3);
/// assert!(last_three.contains(b"photo/1") && !last_three.contains(b"photos"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    low: Option<(Vec<u8>, Edge)>,
    high: Option<(Vec<u8>, Edge)>,
    pub(crate) direction: Direction,
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Included,
    Excluded,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    #[default]
    Forward,
    Reverse,
}

impl Direction {
    pub fn step(self) -> isize {
        match self {
            Direction::Forward => 1,
            Direction::Reverse => -1,
        }
    }
}

impl Range {
    /// All entries, smallest key first.
    pub fn all() -> Self {
        Range::default()
    }

    /// Keys that begin with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        let high = successor(prefix).map(|key| (key, Edge::Excluded));
        Range { low: Some((prefix.to_vec(), Edge::Included)), high, ..Range::default() }
    }

    /// One key.
    pub fn only(key: impl AsRef<[u8]>) -> Self {
        Range::all().gte(&key).lte(&key)
    }

    /// Keys greater than `key`.
    pub fn gt(mut self, key: impl AsRef<[u8]>) -> Self {
        self.low = Some((key.as_ref().to_vec(), Edge::Excluded));
        self
    }

    /// Keys not smaller than `key`.
    pub fn gte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.low = Some((key.as_ref().to_vec(), Edge::Included));
        self
    }

    /// Keys smaller than `key`.
    pub fn lt(mut self, key: impl AsRef<[u8]>) -> Self {
        self.high = Some((key.as_ref().to_vec(), Edge::Excluded));
        self
    }

    /// Keys not greater than `key`.
    pub fn lte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.high = Some((key.as_ref().to_vec(), Edge::Included));
        self
    }

    /// Greatest key first.
    pub fn reverse(mut self) -> Self {
        self.direction = Direction::Reverse;
        self
    }

    /// At most `entries` of them.
    pub fn limit(mut self, entries: u64) -> Self {
        self.limit = Some(entries);
        self
    }

    pub(crate) fn forward(mut self) -> Self {
        self.direction = Direction::Forward;
        self
    }

    /// Whether `key` lies within.
    pub fn contains(&self, key: &[u8]) -> bool {
        let above = |(low, edge): &(Vec<u8>, Edge)| key > &low[..] || (*edge == Edge::Included && key == low);
        let below =
            |(high, edge): &(Vec<u8>, Edge)| key < &high[..] || (*edge == Edge::Included && key == high);
        self.low.as_ref().is_none_or(above) && self.high.as_ref().is_none_or(below)
    }

    /// The same range of the sub-database whose keys begin with `prefix`.
    pub(crate) fn within(&self, prefix: &[u8]) -> Range {
        if prefix.is_empty() {
            return self.clone();
        }
        let whole = Range::prefix(prefix);
        let inside = |(key, edge): &(Vec<u8>, Edge)| ([prefix, key].concat(), *edge);
        Range {
            low: self.low.as_ref().map(inside).or(whole.low),
            high: self.high.as_ref().map(inside).or(whole.high),
            ..self.clone()
        }
    }

    /// Where the walk begins.
    pub(crate) fn first(&self) -> Bound<&[u8]> {
        let edge = match self.direction {
            Direction::Forward => &self.low,
            Direction::Reverse => &self.high,
        };
        match edge {
            None => Bound::Unbounded,
            Some((key, Edge::Included)) => Bound::Included(key),
            Some((key, Edge::Excluded)) => Bound::Excluded(key),
        }
    }

    pub(crate) fn max_entries(&self) -> u64 {
        self.limit.unwrap_or(u64::MAX)
    }
}

/// The smallest key that is greater than every key beginning with `prefix`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// Entries of a range, one by one.
pub(crate) struct Walk<T: Tree> {
    state: State<T>,
    range: Range,
    left: u64,
}

enum State<T: Tree> {
    Closed(T),
    Open(Cursor<T>),
    Done,
}

impl<T: Tree> Walk<T> {
    pub fn new(tree: T, range: Range) -> Self {
        let left = range.max_entries();
        Walk { state: State::Closed(tree), range, left }
    }

    fn advance(&mut self) -> Result<Option<Entry>, ReadError> {
        if let State::Closed(_) = self.state
            && let State::Closed(tree) = std::mem::replace(&mut self.state, State::Done)
        {
            self.state = State::Open(Cursor::open(tree, &self.range)?);
        }
        let State::Open(cursor) = &mut self.state else { return Ok(None) };
        while let Some(stop) = cursor.peek() {
            let (node, i) = match stop {
                Stop::Child(node, i) => {
                    cursor.descend(&node, i)?;
                    continue;
                }
                Stop::Key(node, i) => (node, i),
            };
            cursor.skip();
            let entry = cursor.tree.entry(&node, i)?;
            if !self.range.contains(&entry.key) {
                return Ok(None);
            }
            cursor.pass(&node, KeyBytes::from(&*entry.key))?;
            return Ok(Some(entry));
        }
        Ok(None)
    }
}

impl<T: Tree> Iterator for Walk<T> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let next = self.advance().transpose();
        match &next {
            Some(Ok(_)) => self.left -= 1,
            _ => self.left = 0,
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_they_should() {
        assert_eq!(successor(b"a"), Some(b"b".to_vec()));
        assert_eq!(successor(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff"), None);
        let range = Range::prefix([0xff]);
        assert!(range.contains(&[0xff, 0xff, 1]) && !range.contains(&[0xfe]));
    }

    #[test]
    fn a_range_within_a_sub_database_stays_within() {
        let range = Range::all().gt("b").within(b"sub\0");
        assert!(range.contains(b"sub\0c") && !range.contains(b"sub\0b") && !range.contains(b"sub\x01"));
        assert!(!Range::all().within(b"sub\0").contains(b"sub"));
    }
}
