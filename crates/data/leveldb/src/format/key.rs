//! Keys as they lie in tables: the caller's key, then eight bytes that say which write it is and whether it deletes.

use std::cmp::Ordering;

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// Deleted the key.
    Delete,
    /// Gave it a value.
    Put,
}

/// The number of a write and what it did. Rises with every write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(u64);

impl Tag {
    /// `sequence` has 56 bits.
    pub const fn new(sequence: u64, did: Did) -> Self {
        Tag(sequence << 8 | did as u64)
    }

    /// What the write did; none if that is not known.
    pub const fn did(self) -> Option<Did> {
        match self.0 & 0xff {
            0 => Some(Did::Delete),
            1 => Some(Did::Put),
            _ => None,
        }
    }

    /// As it stands behind a key.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

/// The caller's key and the tag; none if there is no tag, or an unknown one.
pub fn split(internal: &[u8]) -> Option<(&[u8], Tag)> {
    let (key, tag) = internal.split_last_chunk::<8>()?;
    let tag = Tag(u64::from_le_bytes(*tag));
    tag.did().map(|_| (key, tag))
}

/// The order of a table: by key, the newest write first.
pub fn order(one: (&[u8], Tag), other: (&[u8], Tag)) -> Ordering {
    one.0.cmp(other.0).then(other.1.cmp(&one.1))
}
