//! The till's SQLite file and its rows.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS keyset (
        id TEXT PRIMARY KEY,
        seller TEXT NOT NULL,
        json TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS ticket (
        y TEXT PRIMARY KEY,
        pal TEXT NOT NULL,
        seller TEXT NOT NULL,
        amount INTEGER NOT NULL,
        json TEXT NOT NULL,
        locktime_unix INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('HELD', 'REDEEMED', 'EXPIRED')),
        exchange INTEGER
    ) STRICT;
    CREATE INDEX IF NOT EXISTS ticket_state ON ticket (state, seller);
    CREATE TABLE IF NOT EXISTS returned (
        y TEXT PRIMARY KEY,
        secret TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS exchange (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        seller TEXT NOT NULL,
        blanks TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS own (
        y TEXT PRIMARY KEY,
        seller TEXT NOT NULL,
        amount INTEGER NOT NULL,
        proof TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS settlement (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        seller TEXT NOT NULL,
        account TEXT NOT NULL,
        amount INTEGER NOT NULL,
        quote TEXT,
        note TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS settling (y TEXT PRIMARY KEY, settlement INTEGER NOT NULL) STRICT;
";

/// The till's own records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the till's records in {} failed: check the disk; nothing was taken", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file could not be made.
    #[error("cannot make the till's records in {}: check the folder's owner and the disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A row that this program did not write.
    #[error("the till's records in {} hold a damaged {what}: put back a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The kind of row.
        what: &'static str,
    },
}

/// One connection behind a lock: the till is called from many threads, and writes are short.
pub(crate) struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        // Made here so that it is never readable by others, not even between creation and chmod.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        let at = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(at)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(at)?;
        connection.execute_batch(SCHEMA).map_err(at)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Reads by `work`.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        work(&self.lock()).map_err(|source| self.sqlite(source))
    }

    /// Runs `work` in one transaction: all of it is kept, or nothing if it fails.
    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| self.sqlite(source))?;
        let done = work(&transaction)?;
        transaction.commit().map_err(|source| self.sqlite(source))?;
        Ok(done)
    }

    pub(crate) fn sqlite(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }

    pub(crate) fn damaged(&self, what: &'static str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // SQLite rolls back what a panic left open, so a poisoned lock guards sound data.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
