//! How a drive comes by its blob log.

use crate::blobs::Blobs;
use cloudpal_bee::{Bee, Options, ReadError as MapError};
use cloudpal_log::{Feed, FeedError, Manifest, Signer, hash};
use std::sync::Arc;

/// Opens logs for a drive. Whoever owns the logs gives one of these along with the log of the drive's map.
pub trait Logs: Send + Sync {
    /// The manifest of the map's log; none as long as no peer has told it.
    fn manifest(&self) -> Option<Manifest>;
    /// Opens the blob log, with the encryption key and the signing key of the map's log.
    fn blobs(&self, which: BlobLog) -> Result<Arc<dyn Feed>, FeedError>;
}

/// Which log holds the contents of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobLog {
    /// The log of this manifest: what follows from the map's log, so that one key opens the whole drive.
    Manifest(Manifest),
    /// The log of this key, which the map's header names.
    Key([u8; 32]),
    /// A log of its own, made if it is not there: its key will be named in the header. The name that npm hyperdrive
    /// gives it in the Corestore is `<z32 of the map's key>/blobs`.
    Own,
}

/// Why the blob log of a drive could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The map's header could not be read.
    #[error("cannot read the header of the drive")]
    Header(#[source] MapError),
    /// Neither header nor manifest has come yet.
    #[error("nobody has sent the beginning of this drive yet: connect a peer that has it")]
    Unknown,
    /// Whoever owns the logs could not open it.
    #[error("cannot open the log with the drive's contents")]
    Log(#[source] FeedError),
    /// The header names something that is no key.
    #[error("the drive's header names no usable log for its contents; its writer is faulty or hostile")]
    Key,
}

/// The manifest of the blob log of the drive whose map has `manifest` and `key`, as npm hyperdrive makes it; none for compat
/// logs and version 0, whose header names the blob log.
pub fn content_manifest(manifest: &Manifest, key: &[u8; 32]) -> Option<Manifest> {
    if manifest.version < 1 || manifest.is_compat(key) {
        return None;
    }
    let blobs = hash::namespace(b"hyperdrive", 0);
    let derive = |signer: &Signer| Signer {
        namespace: hash::blake2b(&[&blobs, key, &signer.namespace]),
        public_key: signer.public_key,
    };
    Some(Manifest {
        version: manifest.version,
        allow_patch: manifest.allow_patch,
        quorum: manifest.quorum,
        signers: manifest.signers.iter().map(derive).collect(),
        prologue: None,
        linked: None,
        user_data: None,
    })
}

/// Whether peers are asked for what is not here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// They are, as long as the feed allows.
    Ask,
    /// Only what is here counts.
    None,
}

/// Which log holds the contents; none if a reader cannot know yet.
pub(crate) fn find(
    map: &Arc<dyn Feed>,
    logs: &dyn Logs,
    patience: Patience,
) -> Result<Option<BlobLog>, OpenError> {
    if map.length() == 0 && !map.writable() {
        return Ok(None);
    }
    if map.length() > 0 && patience == Patience::None {
        let read = |source| OpenError::Header(MapError::Block { seq: 0, source });
        if map.get_local(0).map_err(read)?.is_none() {
            return Ok(None);
        }
    }
    let bee = Bee::new(map.clone(), Options { cache_bytes: 0, ..Options::default() });
    let header = bee.header().map_err(OpenError::Header)?;
    let named = header.as_ref().and_then(|header| header.metadata.as_ref()?.content_feed.as_ref());
    if let Some(key) = named {
        // As JS: whatever follows the key is not looked at.
        return key.first_chunk().map(|key| Some(BlobLog::Key(*key))).ok_or(OpenError::Key);
    }
    let Some(manifest) = logs.manifest() else { return Ok(None) };
    match content_manifest(&manifest, &map.key()) {
        Some(content) => Ok(Some(BlobLog::Manifest(content))),
        None if header.is_none() => Ok(Some(BlobLog::Own)),
        None => Err(OpenError::Key),
    }
}

pub(crate) fn open(logs: &dyn Logs, which: BlobLog, wait: std::time::Duration) -> Result<Blobs, OpenError> {
    logs.blobs(which).map(|feed| Blobs::new(feed, wait)).map_err(OpenError::Log)
}
