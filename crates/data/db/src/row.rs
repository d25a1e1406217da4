//! Where things lie in the view. All rows are in one sorted map; the first byte says what a row is.
//!
//! ```text
//! d kind name 00 key                     a register
//! d kind name 00 escaped-key 00 01 path  one of the rows of a document, set, counter or text
//! c ...                                  as the row that is in conflict; empty
//! t kind name 00 escaped-key 00 01 writer position number   an update of a text
//! i kind name 00 path 00 term key        an index: the key at which a document has the term
//! h number                               the change feed: which entry was taken in as the so-manieth here
//! ```
//! Keys within others are escaped, 00 as 00 ff, and end with 00 01, so that they sort as they are, and none begins with another.
//! The path of a member of a set is the member, escaped.

use crate::sub::Kind;
use crate::{ClientId, Dot, Stamp, Sub};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader, Write};

pub(crate) const DATA: u8 = b'd';
pub(crate) const CONFLICT: u8 = b'c';
pub(crate) const TEXT: u8 = b't';
pub(crate) const INDEX: u8 = b'i';
pub(crate) const FEED: u8 = b'h';

/// What is the same at all copies that have read the same: everything but the change feed.
pub(crate) const STATE: [u8; 4] = [CONFLICT, DATA, INDEX, TEXT];

/// Whether a row is in one of the rooms of [`STATE`].
pub(crate) fn is_state(row: &[u8]) -> bool {
    row.first().is_some_and(|room| STATE.contains(room))
}

/// What all rows of `sub` begin with in `room`.
pub(crate) fn prefix(room: u8, sub: &Sub) -> Vec<u8> {
    let mut row = Vec::with_capacity(3 + sub.name().len() + 32);
    row.push(room);
    row.push(sub.kind() as u8);
    row.extend_from_slice(sub.name().as_bytes());
    row.push(0);
    row
}

/// Behind the last row that begins with `prefix`; none if there is no such.
pub(crate) fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The row of `key` and `path`.
pub(crate) fn data(sub: &Sub, key: &[u8], path: &[u8]) -> Bytes {
    let mut row = prefix(DATA, sub);
    push_key(&mut row, sub.kind(), key);
    row.extend_from_slice(path);
    row.into()
}

/// Adds `key` as rows of `kind` have it.
pub(crate) fn push_key(row: &mut Vec<u8>, kind: Kind, key: &[u8]) {
    if kind == Kind::Register {
        row.extend_from_slice(key);
    } else {
        escape(row, key);
    }
}

/// Adds `bytes` so that they sort as they are, and end.
pub(crate) fn escape(row: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        row.push(*byte);
        if *byte == 0 {
            row.push(0xff);
        }
    }
    row.extend_from_slice(&[0, 1]);
}

/// The path of a member of a set.
pub(crate) fn member(bytes: &[u8]) -> Bytes {
    let mut path = Vec::with_capacity(bytes.len() + 2);
    escape(&mut path, bytes);
    path.into()
}

/// The member of a set whose path this is; none if it is no such path.
pub(crate) fn member_of(path: &[u8]) -> Option<Bytes> {
    unescape(path).and_then(|(member, rest)| rest.is_empty().then(|| member.into()))
}

/// Takes escaped bytes off the front; none if they do not end.
pub(crate) fn unescape(row: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut bytes = Vec::with_capacity(row.len());
    let mut rest = row;
    loop {
        match rest {
            [0, 0xff, more @ ..] => {
                bytes.push(0);
                rest = more;
            }
            [0, 1, more @ ..] => return Some((bytes, more)),
            [byte, more @ ..] if *byte != 0 => {
                bytes.push(*byte);
                rest = more;
            }
            _ => return None,
        }
    }
}

/// The key and path of a row without its prefix.
pub(crate) fn split(kind: Kind, row: &Bytes) -> Option<(Bytes, Bytes)> {
    if kind == Kind::Register {
        return Some((row.clone(), Bytes::new()));
    }
    let (key, path) = unescape(row)?;
    Some((key.into(), row.slice_ref(path)))
}

/// The sub-database of a row.
pub(crate) fn sub_of(row: &[u8]) -> Option<Sub> {
    let (kind, rest) = row.get(1..)?.split_first()?;
    let name = rest.split(|byte| *byte == 0).next()?;
    Sub::new(std::str::from_utf8(name).ok()?, Kind::from_byte(*kind)?).ok()
}

/// The row that tells of a conflict at `data`, a data row.
pub(crate) fn conflict(data: &[u8]) -> Bytes {
    let mut row = data.to_vec();
    row[0] = CONFLICT;
    row.into()
}

/// The row of the change feed with `number`.
pub(crate) fn feed(number: u64) -> Bytes {
    let mut row = vec![FEED];
    row.extend_from_slice(&number.to_be_bytes());
    row.into()
}

/// What a row of the change feed holds.
pub(crate) fn feed_value(dot: Dot, stamp: Stamp) -> Bytes {
    let mut value = Vec::with_capacity(32);
    dot.client.write(&mut value);
    value.uint(dot.position);
    stamp.write(&mut value);
    value.into()
}

/// What [`feed_value`] wrote.
pub(crate) fn read_feed(bytes: &[u8]) -> Result<(Dot, Stamp), CodecError> {
    let mut reader = Reader::new(bytes);
    let client = ClientId::read(&mut reader)?;
    let position = reader.uint()?;
    Ok((Dot { client, position }, Stamp::read(&mut reader)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_keys_sort_as_they_are_and_come_back() {
        let keys: [&[u8]; 9] = [b"", b"\0", b"\0\0", b"\0\x01", b"\x01", b"a", b"a\0", b"a\0\xff", b"a\x01"];
        let escaped: Vec<Vec<u8>> = keys
            .iter()
            .map(|key| {
                let mut row = Vec::new();
                escape(&mut row, key);
                row
            })
            .collect();
        assert!(escaped.windows(2).all(|pair| pair[0] < pair[1]));
        for (key, escaped) in keys.iter().zip(&escaped) {
            assert_eq!(unescape(escaped), Some((key.to_vec(), &[][..])));
        }
        assert_eq!(unescape(b"ab"), None);
        assert_eq!(unescape(b"ab\0\x02"), None);
    }

    #[test]
    fn the_end_lies_behind_everything_with_the_prefix() {
        assert_eq!(end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(end(&[1, 0xff]), Some(vec![2]));
        assert_eq!(end(&[0xff]), None);
    }
}
