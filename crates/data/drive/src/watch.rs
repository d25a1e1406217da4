//! Waiting for files to change.

use crate::checkout::Checkout;
use crate::drive::Shared;
use crate::error::ReadError;
use crate::key;
use crate::path::Folder;
use std::sync::Arc;
use std::time::Duration;

/// Tells when files in a folder change. See [`Drive::watch`](crate::Drive::watch).
pub struct Watcher {
    shared: Arc<Shared>,
    inner: cloudpal_bee::Watcher,
}

/// The drive before and after a change.
pub struct Change {
    /// The drive now.
    pub current: Checkout,
    /// At the change before, or when watching began. After a truncation it can no longer be read.
    pub previous: Checkout,
}

impl Watcher {
    pub(crate) fn new(shared: Arc<Shared>, folder: &Folder) -> Self {
        let inner = shared.files.watch(key::range(folder));
        Self { shared, inner }
    }

    /// Begins at `version` instead: what changed since counts as a change.
    pub fn since(self, version: u64) -> Result<Self, ReadError> {
        Ok(Self { inner: self.inner.since(version)?, ..self })
    }

    /// Waits until a file in the folder was put or deleted, or the drive was cut back; none if `timeout` is over.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<Change>, ReadError> {
        let change = self.inner.wait(timeout)?;
        let checkout = |map| Checkout { shared: self.shared.clone(), map };
        Ok(change.map(|c| Change { current: checkout(c.current), previous: checkout(c.previous) }))
    }
}
