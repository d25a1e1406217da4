use crate::{Dot, Sub};
use bytes::Bytes;
use std::ops::Bound;

/// Changes that are made together or not at all. They apply in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) edits: Vec<(Sub, Edit)>,
    pub(crate) conditions: Vec<(Sub, Bytes, Option<Bytes>)>,
    /// Conflicts that must have these versions and no others.
    pub(crate) seen: Vec<(Sub, Bytes, Bytes, Vec<Dot>)>,
}

/// In what a place in a text is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of UTF-8.
    Utf8,
    /// Code units of UTF-16, as in JavaScript.
    Utf16,
}

/// A stretch of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub at: usize,
    /// How long it is.
    pub length: usize,
    /// In what both are counted.
    pub unit: Unit,
}

#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Put { key: Bytes, value: Bytes },
    Del { key: Bytes },
    Clear { from: Bytes, to: Option<Bytes> },
    Patch { key: Bytes, patch: Bytes },
    Include { key: Bytes, member: Bytes },
    Exclude { key: Bytes, member: Bytes },
    Add { key: Bytes, delta: i64 },
    Splice { key: Bytes, span: Span, insert: String },
    Index { path: String },
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.conditions.is_empty() && self.seen.is_empty()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    /// Makes `key` show `value`. A register takes any bytes; a document JSON, of which only what differs is written; a set a
    /// JSON array of texts; a counter a decimal number, to which the difference is added; a text UTF-8, of which the piece that
    /// differs is written.
    pub fn put(&mut self, sub: &Sub, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        self.push(sub, Edit::Put { key: key.into(), value: value.into() })
    }

    /// Removes what was seen at `key`. What somebody else writes there meanwhile stays.
    pub fn del(&mut self, sub: &Sub, key: impl Into<Bytes>) -> &mut Self {
        self.push(sub, Edit::Del { key: key.into() })
    }

    /// Removes what was seen at all keys within `bounds`.
    pub fn clear(&mut self, sub: &Sub, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> &mut Self {
        let (from, to) = half_open(bounds);
        self.push(sub, Edit::Clear { from, to })
    }

    /// Changes fields of the document at `key` as a JSON merge patch says (RFC 7386).
    pub fn patch(&mut self, sub: &Sub, key: impl Into<Bytes>, patch: impl Into<Bytes>) -> &mut Self {
        self.push(sub, Edit::Patch { key: key.into(), patch: patch.into() })
    }

    /// Adds `member` to the set at `key`.
    pub fn include(&mut self, sub: &Sub, key: impl Into<Bytes>, member: impl Into<Bytes>) -> &mut Self {
        self.push(sub, Edit::Include { key: key.into(), member: member.into() })
    }

    /// Takes `member` out of the set at `key`.
    pub fn exclude(&mut self, sub: &Sub, key: impl Into<Bytes>, member: impl Into<Bytes>) -> &mut Self {
        self.push(sub, Edit::Exclude { key: key.into(), member: member.into() })
    }

    /// Adds `delta` to the counter at `key`.
    pub fn add(&mut self, sub: &Sub, key: impl Into<Bytes>, delta: i64) -> &mut Self {
        self.push(sub, Edit::Add { key: key.into(), delta })
    }

    /// In the text at `key`, takes `span` out and puts `insert` there.
    pub fn splice(
        &mut self,
        sub: &Sub,
        key: impl Into<Bytes>,
        span: Span,
        insert: impl Into<String>,
    ) -> &mut Self {
        self.push(sub, Edit::Splice { key: key.into(), span, insert: insert.into() })
    }

    /// Declares an index on the field `path` (names joined by dots) of the documents in `sub`. It cannot be taken back.
    pub fn index(&mut self, sub: &Sub, path: impl Into<String>) -> &mut Self {
        self.push(sub, Edit::Index { path: path.into() })
    }

    /// Makes the batch depend on what `key` shows here and now. Somebody else who writes at the same time is not kept from it:
    /// that shows as a conflict.
    pub fn expect(&mut self, sub: &Sub, key: impl Into<Bytes>, value: Option<Bytes>) -> &mut Self {
        self.conditions.push((sub.clone(), key.into(), value));
        self
    }

    /// Makes the batch depend on a conflict: that it has the versions that were written there, and no others, here and now. `path` is
    /// that of a field of a document, empty for a register.
    pub fn expect_versions(
        &mut self,
        sub: &Sub,
        key: impl Into<Bytes>,
        path: impl Into<Bytes>,
        mut versions: Vec<Dot>,
    ) -> &mut Self {
        versions.sort_unstable();
        self.seen.push((sub.clone(), key.into(), path.into(), versions));
        self
    }

    fn push(&mut self, sub: &Sub, edit: Edit) -> &mut Self {
        self.edits.push((sub.clone(), edit));
        self
    }
}

/// Bounds as a first key and one behind the last.
pub(crate) fn half_open((from, to): (Bound<&[u8]>, Bound<&[u8]>)) -> (Bytes, Option<Bytes>) {
    let behind = |key: &[u8]| Bytes::from([key, &[0]].concat());
    let from = match from {
        Bound::Unbounded => Bytes::new(),
        Bound::Included(key) => Bytes::copy_from_slice(key),
        Bound::Excluded(key) => behind(key),
    };
    let to = match to {
        Bound::Unbounded => None,
        Bound::Included(key) => Some(behind(key)),
        Bound::Excluded(key) => Some(Bytes::copy_from_slice(key)),
    };
    (from, to)
}
