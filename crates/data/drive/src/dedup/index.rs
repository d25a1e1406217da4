//! Where contents are that were stored before.

use crate::entry::BlobId;
use bytes::Bytes;
use cloudpal_log::Feed;
use cloudpal_log::codec::{Reader, Write};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use twox_hash::XxHash3_128;

/// Smaller contents are remembered in memory only: a record beside the log would take a write, and nearly the space
/// that it saves.
const SMALL: u64 = 4096;
/// How many of those; about 2 MiB of memory.
const RECENT: usize = 16_384;

/// Tells contents apart, but for chance or intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint {
    pub length: u64,
    pub hash: u128,
}

/// Places of contents. None of them is more than a hint, so a failure to read or keep one is no failure of a put.
#[derive(Debug, Default)]
pub(crate) struct Index {
    recent: Mutex<HashMap<Fingerprint, BlobId>>,
}

impl Fingerprint {
    pub fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, hash: XxHash3_128::oneshot(bytes) }
    }

    fn name(&self) -> String {
        format!("same/{:x}/{:032x}", self.length, self.hash)
    }
}

impl Index {
    pub fn recall(&self, feed: &dyn Feed, content: &Fingerprint) -> Option<BlobId> {
        if content.length < SMALL {
            return self.recent.lock().unwrap_or_else(PoisonError::into_inner).get(content).copied();
        }
        decode(&feed.user_data(&content.name()).ok()??)
    }

    pub fn remember(&self, feed: &dyn Feed, content: &Fingerprint, blob: &BlobId) {
        if content.length < SMALL {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            if recent.len() >= RECENT {
                recent.clear();
            }
            // An empty content takes no blocks that could be shared.
            if blob.block_length > 0 {
                recent.insert(*content, *blob);
            }
        } else if let Err(error) = feed.set_user_data(&content.name(), Some(encode(blob))) {
            tracing::debug!(%error, "a content will not be found again");
        }
    }
}

fn encode(blob: &BlobId) -> Bytes {
    let mut record = Vec::with_capacity(24);
    for number in [blob.block_offset, blob.byte_offset, blob.block_length, blob.byte_length] {
        record.uint(number);
    }
    record.into()
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
