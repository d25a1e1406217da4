use super::Op;
use crate::sub::Kind;
use crate::{Heads, Stamp, Sub};
use bytes::Bytes;
use cloudpal_log::codec::{CodecError, Reader, Write};

/// Changes in an entry, at most.
pub const MAX_OPS: usize = 1 << 20;

/// One atomic batch as a writer's log has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// When, by the writer's account.
    pub stamp: Stamp,
    /// What the writer had seen of others since its entry before. Its own log it has always seen.
    pub seen: Heads,
    /// The sub-databases that the changes name by their place here.
    pub subs: Vec<Sub>,
    /// What the writer made the batch depend on. It was checked there; it is kept for whoever asks why.
    pub conditions: Vec<Condition>,
    /// The changes, in order.
    pub ops: Vec<Op>,
}

/// That a key had this value, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The place of the sub-database in the entry's table.
    pub sub: u32,
    /// The key.
    pub key: Bytes,
    /// BLAKE2b-256 of the value; none if there was none.
    pub hash: Option<[u8; 32]>,
}

const VERSION: u8 = 1;

impl Entry {
    /// In bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.ops.iter().map(size).sum::<usize>());
        out.push(VERSION);
        self.stamp.write(&mut out);
        self.seen.encode(&mut out);
        out.uint(self.subs.len() as u64);
        for sub in &self.subs {
            out.push(sub.kind() as u8);
            out.string(sub.name());
        }
        out.uint(self.conditions.len() as u64);
        for condition in &self.conditions {
            out.uint(u64::from(condition.sub));
            out.buffer(&condition.key);
            out.push(u8::from(condition.hash.is_some()));
            out.raw(condition.hash.as_ref().map_or(&[][..], |hash| &hash[..]));
        }
        out.uint(self.ops.len() as u64);
        self.ops.iter().for_each(|op| op.encode(&mut out));
        out
    }

    /// From bytes, of which keys and values are slices.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(CodecError::Value("the version of an entry"));
        }
        let stamp = Stamp::read(&mut reader)?;
        let seen = Heads::decode(&mut reader)?;
        let subs = reader.array(2, "sub-databases", sub)?;
        let known = |index: u32| {
            if (index as usize) < subs.len() { Ok(()) } else { Err(CodecError::Value("a sub-database")) }
        };
        let conditions = reader.array(3, "conditions", |reader| condition(reader, bytes))?;
        conditions.iter().try_for_each(|condition| known(condition.sub))?;
        let count = reader.count(3, "changes")?;
        if count > MAX_OPS {
            return Err(CodecError::Value("the number of changes"));
        }
        let ops = (0..count).map(|_| Op::decode(&mut reader, bytes)).collect::<Result<Vec<_>, _>>()?;
        ops.iter().try_for_each(|op| known(op.sub()))?;
        reader.finish()?;
        Ok(Entry { stamp, seen, subs, conditions, ops })
    }

    /// The sub-database of a change. Decoding and building keep the places right.
    pub fn sub(&self, op: &Op) -> &Sub {
        &self.subs[op.sub() as usize]
    }
}

fn sub(reader: &mut Reader<'_>) -> Result<Sub, CodecError> {
    let kind = Kind::from_byte(reader.byte()?).ok_or(CodecError::Value("the kind of a sub-database"))?;
    let name = reader.string("the name of a sub-database")?;
    Sub::new(name, kind).map_err(|_| CodecError::Value("the name of a sub-database"))
}

fn condition(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Condition, CodecError> {
    let sub = u32::try_from(reader.uint()?).map_err(|_| CodecError::Number)?;
    let key = whole.slice_ref(reader.buffer("a key")?);
    let hash = match reader.byte()? {
        0 => None,
        1 => Some(reader.fixed("a hash")?),
        _ => return Err(CodecError::Value("a condition")),
    };
    Ok(Condition { sub, key, hash })
}

/// About how many bytes a change takes.
fn size(op: &Op) -> usize {
    match op {
        Op::Set { key, path, value, .. } => key.len() + path.len() + value.len() + 12,
        Op::Text { key, update, .. } => key.len() + update.len() + 12,
        Op::Reset { key, bases, .. } => key.len() + bases.len() * 24 + 12,
        other => other.key().map_or(64, |key| key.len() + 24),
    }
}
