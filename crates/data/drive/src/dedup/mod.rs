//! Equal files share one content.
//!
//! Beside the blob log, on this device only, lies for each content that was stored where it is, by its length and
//! a hash; contents of less than 4 KiB are known only while the drive is open. The hash only finds candidates: a content counts as there when its blocks, read back, are equal byte by
//! byte. So nothing here has to be trusted: a record that is lost, old or wrong costs space, never data. What other
//! peers see is plain hyperdrive: two entries that name the same blocks.

mod content;
mod index;

pub(crate) use content::Content;
pub use content::ReadSeek;
pub(crate) use index::Index;

use crate::blobs::{BlobError, Blobs};
use crate::entry::BlobId;
use crate::pins::{Pin, Pins};
use bytes::Bytes;
use index::Fingerprint;
use std::collections::HashMap;

/// Where contents go. Each that is stored comes with a pin, which keeps its blocks until an entry names them.
#[derive(Clone, Copy)]
pub(crate) struct Shelf<'s> {
    pub blobs: &'s Blobs,
    pub pins: &'s Pins,
    pub index: &'s Index,
}

impl Shelf<'_> {
    /// Stores `content` unless an equal one is there already.
    pub fn put(self, mut content: Content<'_>) -> Result<(BlobId, Pin), BlobError> {
        let fingerprint = content.fingerprint().map_err(BlobError::Source)?;
        if let Some(known) = self.find(&fingerprint, &mut content)? {
            return Ok(known);
        }
        let (blob, pin) = self.put_new(content)?;
        self.index.remember(self.blobs.feed().as_ref(), &fingerprint, &blob);
        Ok((blob, pin))
    }

    /// Stores `content`, whatever is there already.
    pub fn put_new(self, content: Content<'_>) -> Result<(BlobId, Pin), BlobError> {
        let pin = self.pins.pin(self.blobs.feed().length()..u64::MAX);
        let blob = match content {
            Content::Memory(bytes) => self.blobs.put(bytes)?,
            Content::File(file) => {
                file.rewind().map_err(BlobError::Source)?;
                self.blobs.put_reader(file)?
            }
        };
        Ok((blob, pin))
    }

    /// Stores contents in one append, but for those that are there already or equal an earlier one.
    pub fn put_all(self, contents: &[Bytes]) -> Result<(Vec<BlobId>, Vec<Pin>), BlobError> {
        let mut pins = Vec::new();
        let mut new: Vec<(Fingerprint, Bytes)> = Vec::new();
        let mut first: HashMap<Fingerprint, usize> = HashMap::new();
        let mut places = Vec::with_capacity(contents.len());
        for content in contents {
            let fingerprint = Fingerprint::of(content);
            let twin = first.get(&fingerprint).copied().filter(|&at| new[at].1 == content);
            if let Some(at) = twin {
                places.push(Place::New(at));
            } else if let Some((blob, pin)) =
                self.find(&fingerprint, &mut Content::Memory(content.clone()))?
            {
                pins.push(pin);
                places.push(Place::Known(blob));
            } else {
                first.insert(fingerprint, new.len());
                places.push(Place::New(new.len()));
                new.push((fingerprint, content.clone()));
            }
        }
        let (fingerprints, new): (Vec<_>, Vec<_>) = new.into_iter().unzip();
        let (stored, pin) = self.put_all_new(&new)?;
        pins.push(pin);
        for (fingerprint, blob) in fingerprints.iter().zip(&stored) {
            self.index.remember(self.blobs.feed().as_ref(), fingerprint, blob);
        }
        let id = |place| match place {
            Place::Known(blob) => blob,
            Place::New(at) => stored[at],
        };
        Ok((places.into_iter().map(id).collect(), pins))
    }

    /// Stores contents in one append, whatever is there already.
    pub fn put_all_new(self, contents: &[Bytes]) -> Result<(Vec<BlobId>, Pin), BlobError> {
        let pin = self.pins.pin(self.blobs.feed().length()..u64::MAX);
        Ok((self.blobs.put_all(contents)?, pin))
    }

    /// The content of this fingerprint, if it is here and equal. It is pinned first, so that it cannot be freed after.
    fn find(
        self,
        fingerprint: &Fingerprint,
        content: &mut Content<'_>,
    ) -> Result<Option<(BlobId, Pin)>, BlobError> {
        let Some(known) = self.index.recall(self.blobs.feed().as_ref(), fingerprint) else { return Ok(None) };
        let pin = self.pins.pin(known.blocks());
        Ok(content.is_at(self.blobs, &known)?.then_some((known, pin)))
    }
}

enum Place {
    Known(BlobId),
    /// Which of the new ones.
    New(usize),
}
