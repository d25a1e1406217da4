//! A till: one key, one file of records.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cashu::{PublicKey, SecretKey};

use crate::key::{self, KeyError};
use crate::store::{Store, StoreError};

/// A data centre's till. Share it between threads by `Arc`.
pub struct Till {
    pub(crate) key: SecretKey,
    pub(crate) store: Store,
    lock: File,
    lock_path: PathBuf,
    busy: Mutex<()>,
}

/// Held while redeeming or settling, against other threads and, by file lock, other programs: of two at
/// once, one could undo what the other is about to finish.
pub(crate) struct Turn<'a> {
    lock: &'a File,
    _busy: MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// What a till has, in whole cpm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Accepted and not yet redeemed.
    pub held: u64,
    /// Redeemed at a seller since the till was made.
    pub redeemed: u64,
    /// Taken back by their owners after the locktime, because they were not redeemed in time.
    pub expired: u64,
    /// Redeemed proofs that are kept here, not settled yet.
    pub own: u64,
    /// Settled: the seller signed credit notes for it.
    pub settled: u64,
}

/// Why a till could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder could not be made.
    #[error("cannot make the till's folder {}: check its parent's owner", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Till {
    /// Opens the till in `dir`, making folder, key and records at the first call.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| OpenError::Folder { path: dir.to_owned(), source })?;
        let key = key::keep(&dir.join("till.key"))?;
        let store = Store::open(&dir.join("till.sqlite"))?;
        let lock_path = dir.join("till.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| StoreError::Io { path: lock_path.clone(), source })?;
        Ok(Self { key, store, lock, lock_path, busy: Mutex::new(()) })
    }

    /// The key to lock tickets to: compressed secp256k1, 66 hex digits.
    pub fn public_key(&self) -> String {
        self.point().to_hex()
    }

    /// What was accepted and not yet redeemed, in cpm.
    pub fn held(&self) -> Result<u64, StoreError> {
        Ok(self.totals()?.held)
    }

    /// Everything the till has had.
    pub fn totals(&self) -> Result<Totals, StoreError> {
        self.store.read(|rows| {
            let of = |state: &str| {
                rows.query_row(
                    "SELECT COALESCE(SUM(amount), 0) FROM ticket WHERE state = ?1",
                    [state],
                    |row| row.get::<_, i64>(0),
                )
                .map(|sum| sum as u64)
            };
            let own =
                rows.query_row("SELECT COALESCE(SUM(amount), 0) FROM own", [], |row| row.get::<_, i64>(0));
            let settled = rows.query_row(
                "SELECT COALESCE(SUM(amount), 0) FROM settlement WHERE note IS NOT NULL",
                [],
                |row| row.get::<_, i64>(0),
            );
            Ok(Totals {
                held: of("HELD")?,
                redeemed: of("REDEEMED")?,
                expired: of("EXPIRED")?,
                own: own? as u64,
                settled: settled? as u64,
            })
        })
    }

    /// What `pal` has brought so far, whatever became of it, in cpm.
    pub fn accepted_from(&self, pal: &str) -> Result<u64, StoreError> {
        self.store.read(|rows| {
            rows.query_row("SELECT COALESCE(SUM(amount), 0) FROM ticket WHERE pal = ?1", [pal], |row| {
                row.get::<_, i64>(0).map(|sum| sum as u64)
            })
        })
    }

    /// The Unix second by which something held must be redeemed at the latest: the earliest locktime.
    /// Afterwards its owner could take it back. None if nothing is held.
    pub fn redeem_by(&self) -> Result<Option<u64>, StoreError> {
        self.store.read(|rows| {
            rows.query_row("SELECT MIN(locktime_unix) FROM ticket WHERE state = 'HELD'", [], |row| {
                row.get::<_, Option<i64>>(0).map(|earliest| earliest.map(|at| at as u64))
            })
        })
    }

    pub(crate) fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let io = |source| StoreError::Io { path: self.lock_path.clone(), source };
        self.lock.lock().map_err(io)?;
        Ok(Turn { lock: &self.lock, _busy: busy })
    }

    pub(crate) fn point(&self) -> PublicKey {
        self.key.public_key()
    }
}

impl std::fmt::Debug for Till {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Till({}, [redacted])", self.public_key())
    }
}
