//! Equal files share one content.
//!
//! Beside the blob log, on this device only, lies for each content that was stored where it is, by its length and
//! a hash. The hash only finds candidates: a content counts as there when its blocks, read back, are equal byte by
//! byte. So nothing here has to be trusted: a record that is lost, old or wrong costs space, never data. What other
//! peers see is plain hyperdrive: two entries that name the same blocks.

use crate::blobs::{BlobError, Blobs};
use crate::entry::BlobId;
use crate::pins::{Pin, Pins};
use bytes::Bytes;
use cloudpal_log::codec::{Reader, Write};
use std::collections::HashMap;
use std::io::{self, Read, Seek};
use twox_hash::XxHash3_128;

/// Bytes of a file that are hashed at a time.
const PIECE: usize = 1 << 18;

/// Content that can be read twice: once to be hashed, once to be compared or stored.
pub(crate) enum Content<'c> {
    Memory(Bytes),
    File(&'c mut dyn ReadSeek),
}

/// What a file gives.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// Stores `content` unless an equal one is there already. The pin keeps its blocks until an entry names them.
pub(crate) fn put(blobs: &Blobs, pins: &Pins, mut content: Content<'_>) -> Result<(BlobId, Pin), BlobError> {
    let (length, hash) = content.fingerprint().map_err(BlobError::Source)?;
    let name = name(length, hash);
    if let Some(known) = find(blobs, pins, &name, &mut content)? {
        return Ok(known);
    }
    let (blob, pin) = put_new(blobs, pins, content)?;
    remember(blobs, &name, &blob)?;
    Ok((blob, pin))
}

/// Stores `content`, whatever is there already.
pub(crate) fn put_new(blobs: &Blobs, pins: &Pins, content: Content<'_>) -> Result<(BlobId, Pin), BlobError> {
    let pin = pins.pin(blobs.feed().length()..u64::MAX);
    let blob = match content {
        Content::Memory(bytes) => blobs.put(bytes)?,
        Content::File(file) => {
            file.rewind().map_err(BlobError::Source)?;
            blobs.put_reader(file)?
        }
    };
    Ok((blob, pin))
}

/// Stores contents in one append, but for those that are there already or equal an earlier one.
pub(crate) fn put_all<'c>(
    blobs: &Blobs,
    pins: &Pins,
    contents: impl Iterator<Item = &'c Bytes>,
) -> Result<(Vec<BlobId>, Vec<Pin>), BlobError> {
    let mut held = Vec::new();
    let mut new: Vec<Bytes> = Vec::new();
    let mut names = Vec::new();
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut places = Vec::new();
    for content in contents {
        let name = name(content.len() as u64, XxHash3_128::oneshot(content));
        let twin = first.get(&name).copied().filter(|&at| new[at] == content);
        places.push(match twin {
            Some(at) => Place::New(at),
            None => match find(blobs, pins, &name, &mut Content::Memory(content.clone()))? {
                Some((blob, pin)) => {
                    held.push(pin);
                    Place::Known(blob)
                }
                None => {
                    first.insert(name.clone(), new.len());
                    names.push(name);
                    new.push(content.clone());
                    Place::New(new.len() - 1)
                }
            },
        });
    }
    let (stored, pin) = put_all_new(blobs, pins, new.iter())?;
    held.extend(pin);
    for (name, blob) in names.iter().zip(&stored) {
        remember(blobs, name, blob)?;
    }
    let ids = places.into_iter().map(|place| match place {
        Place::Known(blob) => blob,
        Place::New(at) => stored[at],
    });
    Ok((ids.collect(), held))
}

enum Place {
    Known(BlobId),
    /// Which of the new ones.
    New(usize),
}

/// Stores contents in one append, whatever is there already.
pub(crate) fn put_all_new<'c>(
    blobs: &Blobs,
    pins: &Pins,
    contents: impl Iterator<Item = &'c Bytes>,
) -> Result<(Vec<BlobId>, Vec<Pin>), BlobError> {
    let pin = pins.pin(blobs.feed().length()..u64::MAX);
    let contents: Vec<Bytes> = contents.cloned().collect();
    Ok((blobs.put_all(&contents)?, vec![pin]))
}

/// The content that is known by this name, if it is here and equal. It is pinned first, so that it cannot be freed after.
fn find(
    blobs: &Blobs,
    pins: &Pins,
    name: &str,
    content: &mut Content<'_>,
) -> Result<Option<(BlobId, Pin)>, BlobError> {
    let Some(known) = recall(blobs, name)? else { return Ok(None) };
    let pin = pins.pin(known.blocks());
    Ok(content.is_at(blobs, &known)?.then_some((known, pin)))
}

fn name(length: u64, hash: u128) -> String {
    format!("same/{length:x}/{hash:032x}")
}

impl Content<'_> {
    fn fingerprint(&mut self) -> io::Result<(u64, u128)> {
        match self {
            Self::Memory(bytes) => Ok((bytes.len() as u64, XxHash3_128::oneshot(bytes))),
            Self::File(file) => {
                file.rewind()?;
                let mut hasher = XxHash3_128::new();
                let mut piece = vec![0; PIECE];
                let mut length = 0;
                loop {
                    match file.read(&mut piece) {
                        Ok(0) => return Ok((length, hasher.finish_128())),
                        Ok(count) => {
                            hasher.write(&piece[..count]);
                            length += count as u64;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Whether the blocks of `blob` are held here and equal the content.
    fn is_at(&mut self, blobs: &Blobs, blob: &BlobId) -> Result<bool, BlobError> {
        let start = (blob.block_offset, 0);
        // After a truncation the blocks may be others, even if this content is at the same place again.
        if blob.blocks().end > blobs.feed().length()
            || blobs.feed().seek(blob.byte_offset).ok() != Some(start)
        {
            return Ok(false);
        }
        if let Self::File(file) = self {
            file.rewind().map_err(BlobError::Source)?;
        }
        let mut at = 0;
        let mut piece = Vec::new();
        for index in blob.blocks() {
            let Some(block) = blobs.local(index)? else { return Ok(false) };
            let equal = match self {
                Self::Memory(bytes) => bytes.get(at..at + block.len()).is_some_and(|part| part == block),
                Self::File(file) => {
                    piece.resize(block.len(), 0);
                    match file.read_exact(&mut piece) {
                        Ok(()) => piece == block,
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                        Err(error) => return Err(BlobError::Source(error)),
                    }
                }
            };
            if !equal {
                return Ok(false);
            }
            at += block.len();
        }
        Ok(at as u64 == blob.byte_length && self.ends_at(at)?)
    }

    /// Whether there is nothing after the bytes that were compared.
    fn ends_at(&mut self, at: usize) -> Result<bool, BlobError> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() == at),
            Self::File(file) => file.read(&mut [0]).map(|count| count == 0).map_err(BlobError::Source),
        }
    }
}

fn recall(blobs: &Blobs, name: &str) -> Result<Option<BlobId>, BlobError> {
    let record = blobs.feed().user_data(name).map_err(BlobError::log("look for an equal content"))?;
    Ok(record.and_then(|bytes| decode(&bytes)))
}

fn remember(blobs: &Blobs, name: &str, blob: &BlobId) -> Result<(), BlobError> {
    // An empty content takes no blocks that could be shared.
    if blob.block_length == 0 {
        return Ok(());
    }
    let mut record = Vec::with_capacity(24);
    for number in [blob.block_offset, blob.byte_offset, blob.block_length, blob.byte_length] {
        record.uint(number);
    }
    let doing = BlobError::log("remember where a content is");
    blobs.feed().set_user_data(name, Some(record.into())).map_err(doing)
}

fn decode(bytes: &[u8]) -> Option<BlobId> {
    let mut reader = Reader::new(bytes);
    let mut next = || reader.uint().ok();
    let blob = BlobId {
        block_offset: next()?,
        byte_offset: next()?,
        block_length: next()?,
        byte_length: next()?,
        mapped: false,
    };
    reader.is_empty().then_some(blob)
}
