use crate::cache::KeyBytes;
use crate::cursor::{Cursor, Stop};
use crate::reader::{Reader, TreeNode};
use crate::{Entry, Range, ReadError};
use std::cmp::Ordering;

/// A key whose entry is not the same in two versions. One side is none where the key is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The entry in the version that was asked.
    pub left: Option<Entry>,
    /// The entry in the version it was compared with.
    pub right: Option<Entry>,
}

/// Differences of two versions in the order of keys. Whatever both share is skipped unread.
pub(crate) struct Diff {
    state: State,
    range: Range,
    left: u64,
}

enum State {
    Closed(Box<(Reader, Reader)>),
    Open(Box<(Cursor<Reader>, Cursor<Reader>)>),
    Done,
}

impl Diff {
    pub fn new(left: Reader, right: Reader, range: Range) -> Self {
        let limit = range.max_entries();
        Diff { state: State::Closed(Box::new((left, right))), range, left: limit }
    }

    fn advance(&mut self) -> Result<Option<Difference>, ReadError> {
        if let State::Closed(_) = self.state
            && let State::Closed(readers) = std::mem::replace(&mut self.state, State::Done)
        {
            let left = Cursor::open(readers.0, &self.range)?;
            self.state = State::Open(Box::new((left, Cursor::open(readers.1, &self.range)?)));
        }
        let State::Open(cursors) = &mut self.state else { return Ok(None) };
        step(&mut cursors.0, &mut cursors.1, &self.range)
    }
}

impl Iterator for Diff {
    type Item = Result<Difference, ReadError>;

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

type Side = Cursor<Reader>;

fn step(a: &mut Side, b: &mut Side, range: &Range) -> Result<Option<Difference>, ReadError> {
    loop {
        let (l, r) = match (a.peek(), b.peek()) {
            (None, None) => return Ok(None),
            (Some(stop), None) => match only(a, stop, range)? {
                Some(entry) => return Ok(Some(Difference { left: Some(entry), right: None })),
                None => continue,
            },
            (None, Some(stop)) => match only(b, stop, range)? {
                Some(entry) => return Ok(Some(Difference { left: None, right: Some(entry) })),
                None => continue,
            },
            (Some(l), Some(r)) => (l, r),
        };
        match (l, r) {
            (Stop::Child(l, i), Stop::Child(r, j)) if l.child(i) == r.child(j) => {
                a.skip();
                b.skip();
            }
            (Stop::Child(l, i), Stop::Child(r, j)) => descend_larger(a, (&l, i), b, (&r, j))?,
            (Stop::Child(l, i), Stop::Key(..)) => a.descend(&l, i)?,
            (Stop::Key(..), Stop::Child(r, j)) => b.descend(&r, j)?,
            (Stop::Key(l, i), Stop::Key(r, j)) => {
                if let Some(difference) = keys(a, (&l, i), b, (&r, j), range)? {
                    return Ok(Some(difference));
                }
            }
        }
    }
}

/// The other side has ended: every key that is left differs.
fn only(side: &mut Side, stop: Stop<TreeNode>, range: &Range) -> Result<Option<Entry>, ReadError> {
    match stop {
        Stop::Child(node, i) => side.descend(&node, i).map(|()| None),
        Stop::Key(node, i) => {
            let key = side.tree.key(node.level().keys[i])?;
            take(side, &node, i, key, range)
        }
    }
}

/// The subtree that reaches further is likely to be the one that contains the other.
fn descend_larger(
    a: &mut Side,
    l: (&TreeNode, usize),
    b: &mut Side,
    r: (&TreeNode, usize),
) -> Result<(), ReadError> {
    let order = match (a.bound(l.0, l.1)?, b.bound(r.0, r.1)?) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(l), Some(r)) => l.cmp(&r),
    };
    if order.is_ge() {
        a.descend(l.0, l.1)?;
    }
    if order.is_le() {
        b.descend(r.0, r.1)?;
    }
    Ok(())
}

fn keys(
    a: &mut Side,
    l: (&TreeNode, usize),
    b: &mut Side,
    r: (&TreeNode, usize),
    range: &Range,
) -> Result<Option<Difference>, ReadError> {
    let (left_seq, right_seq) = (l.0.level().keys[l.1], r.0.level().keys[r.1]);
    let left_key = a.tree.key(left_seq)?;
    if left_seq == right_seq {
        for (side, node) in [(a, l.0), (b, r.0)] {
            side.skip();
            side.pass(node, left_key.clone())?;
        }
        return Ok(None);
    }
    let right_key = b.tree.key(right_seq)?;
    let order = left_key.cmp(&right_key);
    let left = if order.is_le() { take(a, l.0, l.1, left_key, range)? } else { None };
    let right = if order.is_ge() { take(b, r.0, r.1, right_key, range)? } else { None };
    let found = left.is_some() || right.is_some();
    Ok(found.then_some(Difference { left, right }))
}

/// Goes past a key and returns its entry, unless the range has ended.
fn take(
    side: &mut Side,
    node: &TreeNode,
    i: usize,
    key: KeyBytes,
    range: &Range,
) -> Result<Option<Entry>, ReadError> {
    if !range.contains(&key) {
        side.stop();
        return Ok(None);
    }
    side.skip();
    side.pass(node, key)?;
    let seq = node.level().keys[i];
    let block = side.tree.block(seq)?;
    Ok(Some(Entry { seq, key: block.key.clone(), value: block.value.clone() }))
}
