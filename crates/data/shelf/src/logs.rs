//! Where the keys of a thing's logs come from, and the logs of a drive.

use crate::{Key, Kind};
use cloudpal_drive::{BlobLog, Logs};
use cloudpal_log::{Feed, FeedError, KeyPair, Manifest};
use cloudpal_store::{LogOptions, Namespace, Session, Store, Which};
use std::sync::Arc;

/// The room of a thing's signing key.
pub fn room(kind: Kind, name: &str) -> Namespace {
    Namespace::ROOT.child(kind.word().as_bytes()).child(name.as_bytes())
}

/// The map of a drive has the name that npm hyperdrive gives it.
pub fn log_name(kind: Kind) -> String {
    if kind == Kind::Drive { "db".into() } else { "main".into() }
}

/// The logs of a drive out of a store.
#[derive(Clone)]
pub struct DriveLogs {
    store: Store,
    room: Namespace,
    map: Session,
    /// Signs the contents too; none for a copy.
    key_pair: Option<KeyPair>,
    options: LogOptions,
}

impl DriveLogs {
    /// Of a drive that others write, whose map is `map`. Its contents are opened with the same `options`, and named in `room`
    /// where nothing else says which log they are.
    pub fn new(store: &Store, room: Namespace, map: Session, options: LogOptions) -> Self {
        DriveLogs { store: store.clone(), room, map, key_pair: None, options }
    }

    /// Of one that is written here with the map's `key_pair`.
    #[must_use]
    pub fn signed_by(self, key_pair: KeyPair) -> Self {
        DriveLogs { key_pair: Some(key_pair), ..self }
    }
}

impl Logs for DriveLogs {
    fn manifest(&self) -> Option<Manifest> {
        self.map.info().manifest
    }

    fn blobs(&self, which: BlobLog) -> Result<Arc<dyn Feed>, FeedError> {
        let which = match which {
            BlobLog::Manifest(manifest) => Which::Manifest { manifest, key_pair: self.key_pair.clone() },
            BlobLog::Key(key) => Which::Key(key),
            // As npm hyperdrive names it.
            BlobLog::Own => Which::Named {
                namespace: self.room,
                name: format!("{}/blobs", Key(self.map.key()).z32()),
                compat: self.map.info().compat,
            },
        };
        let refused =
            |source| FeedError::Refused { doing: "open the drive's contents", source: Box::new(source) };
        Ok(Arc::new(self.store.open_log(which, self.options.clone()).map_err(refused)?))
    }
}
