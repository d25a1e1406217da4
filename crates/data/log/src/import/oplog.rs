//! The oplog file of npm hypercore 10 (and of 9 where it was migrated): two headers of which the newer one counts,
//! then what happened since. npm hypercore 10.38.2 `lib/oplog.js` and `lib/messages.js`.

use crate::codec::{CodecError, Reader};
use crate::{KeyPair, Manifest, Node, Signer, hash};
use std::ops::Range;

/// Where the second header is, and how much room each has.
const PAGE: usize = 4096;

/// What an oplog says.
#[derive(Debug)]
pub struct Oplog {
    /// The state at some time.
    pub header: Header,
    /// What happened since, in order.
    pub entries: Vec<Entry>,
}

/// A header that is in the file, or a note that it is elsewhere.
#[derive(Debug)]
pub enum Header {
    /// The state itself.
    Here(Box<State>),
    /// The state lies in the file `header` at these bytes.
    Elsewhere(Range<u64>),
}

/// A log's state.
#[derive(Debug)]
pub struct State {
    /// The log's key.
    pub key: [u8; 32],
    /// Who signs; none when it is not known yet.
    pub manifest: Option<Manifest>,
    /// The key pair that writes it.
    pub key_pair: Option<KeyPair>,
    /// Names and values.
    pub user_data: Vec<(String, Vec<u8>)>,
    /// How often it was truncated.
    pub fork: u64,
    /// Number of blocks.
    pub length: u64,
    /// The signature at that length; empty when there is none.
    pub signature: Vec<u8>,
}

/// One thing that happened.
#[derive(Debug, Default)]
pub struct Entry {
    /// A name got this value.
    pub user_data: Option<(String, Vec<u8>)>,
    /// These nodes were written.
    pub nodes: Vec<Node>,
    /// The tree changed.
    pub upgrade: Option<Upgrade>,
    /// These blocks are held from now on, or not any more.
    pub held: Option<Held>,
}

/// A change of the tree.
#[derive(Debug)]
pub struct Upgrade {
    /// The fork since.
    pub fork: u64,
    /// The length since.
    pub length: u64,
    /// The signature since.
    pub signature: Vec<u8>,
}

/// A change of the blocks that are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub blocks: Range<u64>,
    /// Whether they were dropped.
    pub dropped: bool,
}

impl Oplog {
    /// Reads the whole file.
    pub fn decode(file: &[u8]) -> Result<Self, CodecError> {
        let first = frame(file, 0);
        let second = frame(file, PAGE);
        // The newer of two headers has a bit that differs from the other's in a way that makes their sum odd.
        let (header, bit) = match (&first, &second) {
            (Some(first), Some(second)) if (first.bit + second.bit) & 1 == 1 => (second, 1),
            (Some(first), _) => (first, 0),
            (None, Some(second)) => (second, 1),
            (None, None) => return Err(CodecError::Short("the oplog's headers")),
        };
        let mut at = 2 * PAGE;
        let mut entries = Vec::new();
        let mut whole = 0;
        while let Some(frame) = frame(file, at).filter(|frame| frame.bit == bit) {
            let Ok(entry) = Entry::read(&mut Reader::new(frame.body)) else { break };
            entries.push(entry);
            at += 8 + frame.body.len();
            // Entries that belong together count only when the last of them is there.
            if !frame.partial {
                whole = entries.len();
            }
        }
        entries.truncate(whole);
        Ok(Oplog { header: Header::read(&mut Reader::new(header.body))?, entries })
    }
}

struct Frame<'a> {
    body: &'a [u8],
    bit: u32,
    partial: bool,
}

/// What lies at `at`, when its checksum is right.
fn frame(file: &[u8], at: usize) -> Option<Frame<'_>> {
    let mut reader = Reader::new(file.get(at..)?);
    let sum = reader.uint32().ok()?;
    let checked = reader.rest();
    let about = reader.uint32().ok()?;
    let len = (about >> 2) as usize;
    let body = reader.raw(len, "an oplog entry").ok()?;
    let right = crc32(checked.get(..4 + len)?) == sum;
    right.then_some(Frame { body, bit: about & 1, partial: about & 2 != 0 })
}

/// CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let version = reader.uint()?;
        if version == 0 {
            return Ok(Header::Here(Box::new(State::read_v0(reader)?)));
        }
        if version != 1 {
            return Err(CodecError::Value("the oplog header's version"));
        }
        let flags = reader.uint()?;
        if flags & 1 != 0 {
            let start = reader.uint()?;
            let end = start.checked_add(reader.uint()?).ok_or(CodecError::Number)?;
            return Ok(Header::Elsewhere(start..end));
        }
        Ok(Header::Here(Box::new(State::read(reader, flags)?)))
    }
}

impl State {
    /// Reads the state that lies in the file `header`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        match Header::read(&mut Reader::new(bytes))? {
            Header::Here(state) => Ok(*state),
            Header::Elsewhere(_) => Err(CodecError::Value("the header's place")),
        }
    }

    fn read(reader: &mut Reader<'_>, flags: u64) -> Result<Self, CodecError> {
        let key = reader.fixed("the log's key")?;
        let manifest = (flags & 2 != 0).then(|| Manifest::read(reader)).transpose()?;
        let key_pair = if flags & 4 != 0 { read_key_pair(reader)?.1 } else { None };
        let user_data = reader.array(2, "user data", read_user_data)?;
        let (fork, length, signature) = read_tree(reader)?;
        Ok(State { key, manifest, key_pair, user_data, fork, length, signature })
    }

    fn read_v0(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        for what in ["a tree's kind", "a bitfield's kind", "a signer's kind"] {
            reader.string(what)?;
        }
        let user_data = reader.array(2, "user data", read_user_data)?;
        let (fork, length, signature) = read_tree(reader)?;
        let (public_key, key_pair) = read_key_pair(reader)?;
        let signer = Signer { namespace: hash::DEFAULT_NAMESPACE, public_key };
        let manifest = Some(Manifest { version: 0, ..Manifest::quorum(1, vec![signer]) });
        Ok(State { key: public_key, manifest, key_pair, user_data, fork, length, signature })
    }
}

fn read_tree(reader: &mut Reader<'_>) -> Result<(u64, u64, Vec<u8>), CodecError> {
    let (fork, length) = (reader.uint()?, reader.uint()?);
    reader.buffer("the root hash")?;
    Ok((fork, length, reader.buffer("the signature")?.to_vec()))
}

fn read_user_data(reader: &mut Reader<'_>) -> Result<(String, Vec<u8>), CodecError> {
    Ok((reader.string("a name")?.to_owned(), reader.buffer("a value")?.to_vec()))
}

/// The public key, and the pair when the secret half is there: libsodium's 64 bytes, the first 32 of them the seed.
fn read_key_pair(reader: &mut Reader<'_>) -> Result<([u8; 32], Option<KeyPair>), CodecError> {
    let public = reader.buffer("a public key")?.try_into();
    let public = public.map_err(|_| CodecError::Value("a public key"))?;
    let secret = reader.buffer("a secret key")?;
    let pair = secret.first_chunk::<32>().filter(|_| secret.len() == 64).map(KeyPair::from_seed);
    match pair {
        Some(pair) if pair.public_key() != public => Err(CodecError::Value("a secret key")),
        pair => Ok((public, pair)),
    }
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let flags = reader.uint()?;
        let mut entry = Entry::default();
        if flags & 1 != 0 {
            entry.user_data = Some(read_user_data(reader)?);
        }
        if flags & 2 != 0 {
            entry.nodes = Node::read_all(reader)?;
        }
        if flags & 4 != 0 {
            let fork = reader.uint()?;
            reader.uint()?; // ancestors
            let length = reader.uint()?;
            entry.upgrade =
                Some(Upgrade { fork, length, signature: reader.buffer("the signature")?.to_vec() });
        }
        if flags & 8 != 0 {
            let dropped = reader.byte()? & 1 != 0;
            let start = reader.uint()?;
            let end = start.checked_add(reader.uint()?).ok_or(CodecError::Number)?;
            entry.held = Some(Held { blocks: start..end, dropped });
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn nothing_is_no_oplog() {
        assert!(Oplog::decode(&[]).is_err());
        assert!(Oplog::decode(&[0; 10_000]).is_err());
    }
}
