//! The blocks of a checkpoint, in the order in which they lie in their log:
//!
//! ```text
//! chunk ...     the contents: one stream of items, cut into pieces of equal size, each sealed under the key of an epoch
//! standing ...  who had written how much, and all records: readable without a key, as they are in the writers' logs
//! tail          how many of each there are, when it was made, and the hash of the rows
//! ```
//! Each block begins with its kind and with how many blocks of the checkpoint lie before it, so that from any block the checkpoint
//! before it is found: who makes one does not know how large it will be, and may never come to its end.
//!
//! The log is signed by the database's owner, so nothing in it needs a signature of its own.

use super::seal::{NONCE, TAG};
use super::{EpochId, EpochKey};
use crate::limits::MAX_BLOCK;
use crate::{ClientId, Heads, Stamp, WriterId};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader, Write};

/// One block of the log of checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointBlock {
    /// Blocks of the same checkpoint that lie before it.
    pub back: u64,
    /// What it is.
    pub what: What,
}

/// What a block of the log of checkpoints is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A sealed piece of the contents.
    Chunk(Chunk),
    /// A piece of what is readable without a key.
    Standing(Bytes),
    /// The last block.
    Tail(Tail),
}

/// A sealed piece of the contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Under which key.
    pub epoch: EpochId,
    nonce: [u8; NONCE],
    tag: [u8; TAG],
    text: Bytes,
}

/// The last block of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Blocks before it that hold its standing; before those lie the contents.
    pub standing: u64,
    /// Milliseconds since 1970 when it was made, later than any checkpoint that its maker knew.
    pub made_ms: u64,
    /// BLAKE2b-256 of all rows of the view, each key and value behind its length in 8 bytes.
    pub state_hash: [u8; 32],
}

const CHUNK: u8 = 4;
const STANDING: u8 = 5;
const TAIL: u8 = 6;

/// Bytes of contents in a block: small enough for a slow connection to get through one at a time.
pub const PIECE: usize = 256 << 10;

impl CheckpointBlock {
    /// In bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match &self.what {
            What::Chunk(chunk) => {
                out.reserve(chunk.text.len() + 96);
                out.push(CHUNK);
                out.uint(self.back);
                out.uint32(chunk.epoch.number);
                out.raw(&chunk.epoch.check);
                out.raw(&chunk.nonce);
                out.raw(&chunk.tag);
                out.raw(&chunk.text);
            }
            What::Standing(bytes) => {
                out.push(STANDING);
                out.uint(self.back);
                out.raw(bytes);
            }
            What::Tail(tail) => {
                out.push(TAIL);
                out.uint(self.back);
                out.uint(tail.standing);
                out.uint(tail.made_ms);
                out.raw(&tail.state_hash);
            }
        }
        out.into()
    }

    /// From bytes.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        if bytes.len() > MAX_BLOCK {
            return Err(CodecError::Value("the size of a block"));
        }
        let mut reader = Reader::new(bytes);
        let (kind, back) = (reader.byte()?, reader.uint()?);
        let what = match kind {
            CHUNK => {
                let epoch = EpochId { number: reader.uint32()?, check: reader.fixed("an epoch")? };
                let (nonce, tag) = (reader.fixed("a nonce")?, reader.fixed("a tag")?);
                What::Chunk(Chunk { epoch, nonce, tag, text: bytes.slice_ref(reader.all()) })
            }
            STANDING => What::Standing(bytes.slice_ref(reader.all())),
            TAIL => {
                let (standing, made_ms) = (reader.uint()?, reader.uint()?);
                let state_hash = reader.fixed("a hash")?;
                reader.finish()?;
                if standing > back {
                    return Err(CodecError::Value("the length of a checkpoint"));
                }
                What::Tail(Tail { standing, made_ms, state_hash })
            }
            _ => return Err(CodecError::Value("the kind of a block")),
        };
        Ok(CheckpointBlock { back, what })
    }
}

impl Chunk {
    /// Seals a piece of the contents, to lie at `position` of `log`.
    pub fn seal(
        mut text: Vec<u8>,
        (epoch, key): (EpochId, &EpochKey),
        log: &WriterId,
        position: u64,
        nonce: [u8; NONCE],
    ) -> Self {
        let tag = key.seal(&nonce, &about(log, position), &mut text);
        Chunk { epoch, nonce, tag, text: text.into() }
    }

    /// What was sealed at `position` of `log`; none if that is not what lies here.
    pub fn open(&self, key: &EpochKey, log: &WriterId, position: u64) -> Option<Vec<u8>> {
        let mut text = self.text.to_vec();
        key.open(&self.nonce, &about(log, position), &mut text, &self.tag).then_some(text)
    }
}

fn about(log: &WriterId, position: u64) -> Vec<u8> {
    let mut about = b"cloudpal checkpoint".to_vec();
    about.raw(&log.0);
    about.uint(position);
    about
}

/// One item of the contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A row of the view.
    Row(Bytes, Bytes),
    /// What a writer's entries have seen, all taken together.
    Seen(ClientId, Heads),
    /// An index.
    Index {
        /// Kind and name of the sub-database.
        kind: u8,
        /// Its name.
        name: String,
        /// The path.
        path: String,
    },
    /// The rest: behind each writer's last entry that was let in, the clock, and how many rows are in conflict.
    Rest {
        /// Behind the last entries.
        latest: Heads,
        /// The latest stamp.
        stamp: Stamp,
        /// Rows in conflict.
        conflicts: u64,
    },
}

const ROW: u8 = 1;
const SEEN: u8 = 2;
const INDEX: u8 = 3;
const REST: u8 = 4;

impl Item {
    /// In bytes, with their length in front, behind `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Item::Row(row, value) => push_row(out, row, value),
            Item::Seen(client, heads) => push(out, |out| {
                out.push(SEEN);
                client.write(out);
                heads.encode(out);
            }),
            Item::Index { kind, name, path } => push(out, |out| {
                out.push(INDEX);
                out.push(*kind);
                out.string(name);
                out.string(path);
            }),
            Item::Rest { latest, stamp, conflicts } => push(out, |out| {
                out.push(REST);
                latest.encode(out);
                stamp.write(out);
                out.uint(*conflicts);
            }),
        }
    }

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let item = match reader.byte()? {
            ROW => {
                let row = bytes.slice_ref(reader.buffer("a row")?);
                return Ok(Item::Row(row, bytes.slice_ref(reader.all())));
            }
            SEEN => Item::Seen(ClientId::read(&mut reader)?, Heads::decode(&mut reader)?),
            INDEX => {
                let kind = reader.byte()?;
                let name = reader.string("the name of a sub-database")?.to_owned();
                Item::Index { kind, name, path: reader.string("the path of an index")?.to_owned() }
            }
            REST => {
                let latest = Heads::decode(&mut reader)?;
                let stamp = Stamp::read(&mut reader)?;
                Item::Rest { latest, stamp, conflicts: reader.uint()? }
            }
            _ => return Err(CodecError::Value("the kind of an item")),
        };
        reader.finish()?;
        Ok(item)
    }
}

/// A row as an item, behind `out`.
pub fn push_row(out: &mut Vec<u8>, row: &[u8], value: &[u8]) {
    push(out, |out| {
        out.push(ROW);
        out.buffer(row);
        out.raw(value);
    });
}

fn push(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.raw(&[0; LENGTH]);
    write(out);
    // An item holds one row at most, and rows are smaller.
    let length = u32::try_from(out.len() - at - LENGTH).unwrap_or(u32::MAX);
    out[at..at + LENGTH].copy_from_slice(&length.to_le_bytes());
}

/// Bytes of an item's length.
const LENGTH: usize = 4;

/// Items out of pieces that are cut anywhere.
#[derive(Debug, Default)]
pub struct Items {
    buffer: Vec<u8>,
    at: usize,
}

impl Items {
    /// Adds the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next item; none until more pieces are there.
    pub fn take(&mut self) -> Result<Option<Item>, CodecError> {
        let Some((length, rest)) = self.buffer[self.at..].split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let item = Item::decode(&Bytes::copy_from_slice(body))?;
        self.at += LENGTH + length;
        Ok(Some(item))
    }

    /// Whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.at == self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::Secret;

    #[test]
    fn items_come_back_wherever_their_stream_is_cut() {
        let heads: Heads = [(ClientId(1), 7), (ClientId(9), 2)].into_iter().collect();
        let items = [
            Item::Row("d\0\0key".into(), "value".into()),
            Item::Row("c".into(), Bytes::new()),
            Item::Seen(ClientId(1), heads.clone()),
            Item::Index { kind: 1, name: "notes".to_owned(), path: "a.b".to_owned() },
            Item::Rest { latest: heads, stamp: Stamp { wall_ms: 5, counter: 1 }, conflicts: 3 },
        ];
        let mut stream = Vec::new();
        items.iter().for_each(|item| item.encode(&mut stream));
        for cut in 0..stream.len() {
            let (mut read, mut found) = (Items::default(), Vec::new());
            for piece in [&stream[..cut], &stream[cut..]] {
                read.add(piece);
                while let Some(item) = read.take().unwrap() {
                    found.push(item);
                }
            }
            assert_eq!((found.as_slice(), read.is_empty()), (&items[..], true), "cut at {cut}");
        }
    }

    #[test]
    fn blocks_come_back_and_chunks_open_only_where_they_lie() {
        let (log, key) = (WriterId([3; 32]), EpochKey(Secret::new([4; 32])));
        let chunk = Chunk::seal(b"text".to_vec(), (key.id(2), &key), &log, 5, [6; 24]);
        let tail = Tail { standing: 1, made_ms: 9, state_hash: [8; 32] };
        for what in [What::Chunk(chunk.clone()), What::Standing("x".into()), What::Tail(tail)] {
            let block = CheckpointBlock { back: 2, what };
            assert_eq!(CheckpointBlock::decode(&block.encode()), Ok(block));
        }
        assert_eq!(chunk.open(&key, &log, 5).as_deref(), Some(&b"text"[..]));
        assert_eq!(chunk.open(&key, &log, 6), None);
        let longer = CheckpointBlock { back: 0, what: What::Tail(tail) };
        assert!(CheckpointBlock::decode(&longer.encode()).is_err());
    }
}
