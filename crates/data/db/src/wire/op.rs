use crate::ClientId;
use crate::limits::{MAX_KEY, MAX_PATH, MAX_VALUE};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader, Write};

/// One change. `sub` is the place of its sub-database in the entry's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The row at `key` and `path` is `value` now; what was seen there is gone.
    Set {
        /// Where.
        sub: u32,
        /// The key.
        key: Bytes,
        /// The place within the key's value; empty for registers.
        path: Bytes,
        /// The bytes.
        value: Bytes,
    },
    /// Everything seen at `key` and `path` and below is gone.
    Kill {
        /// Where.
        sub: u32,
        /// The key.
        key: Bytes,
        /// The place within the key's value.
        path: Bytes,
    },
    /// Everything seen at keys from `from` up to, not including, `to` (none: to the end) is gone.
    Clear {
        /// Where.
        sub: u32,
        /// The first key.
        from: Bytes,
        /// Behind the last.
        to: Option<Bytes>,
    },
    /// The writer's own part of a counter has come to `total`.
    Total {
        /// Where.
        sub: u32,
        /// The key.
        key: Bytes,
        /// The sum of all that this writer ever added.
        total: i64,
    },
    /// Of a counter, these totals count no more: they were seen when it was deleted.
    Reset {
        /// Where.
        sub: u32,
        /// The key.
        key: Bytes,
        /// What was seen of each writer.
        bases: Vec<Base>,
    },
    /// An update of a text, in version 1 of the encoding of `yrs`.
    Text {
        /// Where.
        sub: u32,
        /// The key.
        key: Bytes,
        /// The update.
        update: Bytes,
    },
    /// Declares an index on a JSON path.
    Index {
        /// Where.
        sub: u32,
        /// Names of fields, joined by dots.
        path: String,
    },
}

/// A total of a counter that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Whose.
    pub client: ClientId,
    /// Where in its log the entry with it begins.
    pub position: u64,
    /// Which of the entry's changes it is: a batch may delete what it added itself.
    pub change: u32,
    /// The total.
    pub total: i64,
}

const SET: u8 = 0;
const KILL: u8 = 1;
const CLEAR: u8 = 2;
const CLEAR_ALL: u8 = 3;
const TOTAL: u8 = 4;
const RESET: u8 = 5;
const TEXT: u8 = 6;
const INDEX: u8 = 7;
/// As `SET` and `KILL`, without a path.
const PUT: u8 = 8;
const DEL: u8 = 9;

impl Op {
    /// The place of its sub-database in the entry's table.
    pub const fn sub(&self) -> u32 {
        match self {
            Op::Set { sub, .. }
            | Op::Kill { sub, .. }
            | Op::Clear { sub, .. }
            | Op::Total { sub, .. }
            | Op::Reset { sub, .. }
            | Op::Text { sub, .. }
            | Op::Index { sub, .. } => *sub,
        }
    }

    /// The key it changes; none if it is about many.
    pub const fn key(&self) -> Option<&Bytes> {
        match self {
            Op::Set { key, .. }
            | Op::Kill { key, .. }
            | Op::Total { key, .. }
            | Op::Reset { key, .. }
            | Op::Text { key, .. } => Some(key),
            Op::Clear { .. } | Op::Index { .. } => None,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut head = |code: u8| {
            out.push(code);
            out.uint(u64::from(self.sub()));
        };
        match self {
            Op::Set { key, path, value, .. } if path.is_empty() => {
                head(PUT);
                out.buffer(key);
                out.buffer(value);
            }
            Op::Set { key, path, value, .. } => {
                head(SET);
                out.buffer(key);
                out.buffer(path);
                out.buffer(value);
            }
            Op::Kill { key, path, .. } if path.is_empty() => {
                head(DEL);
                out.buffer(key);
            }
            Op::Kill { key, path, .. } => {
                head(KILL);
                out.buffer(key);
                out.buffer(path);
            }
            Op::Clear { from, to: Some(to), .. } => {
                head(CLEAR);
                out.buffer(from);
                out.buffer(to);
            }
            Op::Clear { from, to: None, .. } => {
                head(CLEAR_ALL);
                out.buffer(from);
            }
            Op::Total { key, total, .. } => {
                head(TOTAL);
                out.buffer(key);
                out.raw(&total.to_le_bytes());
            }
            Op::Reset { key, bases, .. } => {
                head(RESET);
                out.buffer(key);
                out.uint(bases.len() as u64);
                for base in bases {
                    base.client.write(out);
                    out.uint(base.position);
                    out.uint(u64::from(base.change));
                    out.raw(&base.total.to_le_bytes());
                }
            }
            Op::Text { key, update, .. } => {
                head(TEXT);
                out.buffer(key);
                out.buffer(update);
            }
            Op::Index { path, .. } => {
                head(INDEX);
                out.string(path);
            }
        }
    }

    /// Reads one; what it takes of `whole` is not copied.
    pub(super) fn decode(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Self, CodecError> {
        let code = reader.byte()?;
        let sub = u32::try_from(reader.uint()?).map_err(|_| CodecError::Number)?;
        let key = |reader: &mut Reader<'_>| take(reader, whole, MAX_KEY, "a key");
        // Behind the longest key lies one that is longer by a zero.
        let bound = |reader: &mut Reader<'_>| take(reader, whole, MAX_KEY + 1, "a key");
        let path = |reader: &mut Reader<'_>| take(reader, whole, MAX_PATH, "a path");
        let value = |reader: &mut Reader<'_>| take(reader, whole, MAX_VALUE, "a value");
        Ok(match code {
            PUT => Op::Set { sub, key: key(reader)?, path: Bytes::new(), value: value(reader)? },
            SET => Op::Set { sub, key: key(reader)?, path: path(reader)?, value: value(reader)? },
            DEL => Op::Kill { sub, key: key(reader)?, path: Bytes::new() },
            KILL => Op::Kill { sub, key: key(reader)?, path: path(reader)? },
            CLEAR => Op::Clear { sub, from: bound(reader)?, to: Some(bound(reader)?) },
            CLEAR_ALL => Op::Clear { sub, from: bound(reader)?, to: None },
            TOTAL => Op::Total { sub, key: key(reader)?, total: number(reader)? },
            RESET => Op::Reset {
                sub,
                key: key(reader)?,
                bases: reader.array(ClientId::LEN + 10, "totals", |reader| {
                    let (client, position) = (ClientId::read(reader)?, reader.uint()?);
                    let change = u32::try_from(reader.uint()?).map_err(|_| CodecError::Number)?;
                    Ok(Base { client, position, change, total: number(reader)? })
                })?,
            },
            TEXT => Op::Text { sub, key: key(reader)?, update: value(reader)? },
            INDEX => Op::Index { sub, path: reader.string("a path")?.to_owned() },
            _ => return Err(CodecError::Value("the kind of a change")),
        })
    }
}

fn number(reader: &mut Reader<'_>) -> Result<i64, CodecError> {
    Ok(i64::from_le_bytes(reader.fixed("a total")?))
}

fn take(
    reader: &mut Reader<'_>,
    whole: &Bytes,
    limit: usize,
    what: &'static str,
) -> Result<Bytes, CodecError> {
    let bytes = reader.buffer(what)?;
    if bytes.len() > limit { Err(CodecError::Value(what)) } else { Ok(whole.slice_ref(bytes)) }
}
