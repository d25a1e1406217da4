//! The purse's SQLite file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cashu::Proof;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

// secure_delete: a finished purchase leaves no voucher code behind in free pages.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS proof (
        y TEXT PRIMARY KEY,
        amount INTEGER NOT NULL,
        proof TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('FRESH', 'CLEAN', 'SPENT')),
        work INTEGER
    ) STRICT;
    CREATE TABLE IF NOT EXISTS ticket (
        y TEXT PRIMARY KEY,
        amount INTEGER NOT NULL,
        ticket TEXT NOT NULL,
        locktime_unix INTEGER NOT NULL,
        host TEXT NOT NULL,
        pal TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('LOCKED', 'HANDED', 'RECLAIMED', 'GONE'))
    ) STRICT;
    CREATE TABLE IF NOT EXISTS work (id INTEGER PRIMARY KEY AUTOINCREMENT, data TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS bought (voucher BLOB PRIMARY KEY, amount INTEGER NOT NULL) STRICT;
";

/// The purse's own records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// SQLite failed.
    #[error("the purse's records in {} failed: check the disk; nothing was sent", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file could not be made.
    #[error("cannot make the purse's records in {}: check the folder's owner and the disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A row that this program did not write.
    #[error("the purse's records in {} hold a damaged {what}: move the file away and recover from the seed words", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The kind of row.
        what: &'static str,
    },
}

pub(crate) struct Book {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Book {
    pub(crate) fn open(path: &Path) -> Result<Self, BookError> {
        // Made here so that it is never readable by others, not even between creation and chmod.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| BookError::Io { path: path.to_owned(), source })?;
        let at = |source| BookError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(at)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(at)?;
        connection.execute_batch(SCHEMA).map_err(at)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, BookError> {
        work(&self.lock()).map_err(|source| self.sqlite(source))
    }

    /// Runs `work` in one transaction: all of it is kept, or nothing if it fails.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, BookError> {
        let run = || {
            let mut connection = self.lock();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|source| self.sqlite(source))
    }

    pub(crate) fn meta(&self, name: &str) -> Result<Option<String>, BookError> {
        self.read(|rows| {
            rows.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
        })
    }

    pub(crate) fn set_meta(&self, name: &str, value: &str) -> Result<(), BookError> {
        self.write(|rows| {
            rows.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", [name, value])
        })?;
        Ok(())
    }

    pub(crate) fn counter(&self, name: &str) -> Result<Option<u32>, BookError> {
        self.read(|rows| {
            rows.query_row("SELECT next FROM counter WHERE name = ?1", [name], |row| row.get(0)).optional()
        })
    }

    /// Moves a counter up to `next`, never down: a counter used twice would be a secret used twice.
    pub(crate) fn raise_counter(&self, name: &str, next: u32) -> Result<(), BookError> {
        self.write(|rows| {
            rows.execute(
                "INSERT INTO counter (name, next) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET next = MAX(next, excluded.next)",
                params![name, next],
            )
        })?;
        Ok(())
    }

    /// Takes `count` values of a counter, durably, and returns the first.
    pub(crate) fn take(&self, name: &str, count: u32) -> Result<u32, BookError> {
        self.write(|rows| {
            let next: u32 = rows.query_row(
                "INSERT INTO counter (name, next) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET next = next + ?2 RETURNING next",
                params![name, count],
                |row| row.get(0),
            )?;
            Ok(next - count)
        })
    }

    /// Empties the write-ahead log, where what was deleted would otherwise linger.
    pub(crate) fn scrub(&self) -> Result<(), BookError> {
        self.read(|rows| rows.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    pub(crate) fn damaged(&self, what: &'static str) -> BookError {
        BookError::Damaged { path: self.path.clone(), what }
    }

    fn sqlite(&self, source: rusqlite::Error) -> BookError {
        BookError::Sqlite { path: self.path.clone(), source }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // SQLite rolls back what a panic left open, so a poisoned lock guards sound data.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a proof of one's own, without its DLEQ proof: that must never be sent on, so it is not kept.
pub(crate) fn insert_proof(
    rows: &Transaction<'_>,
    proof: &Proof,
    state: &str,
) -> Result<usize, rusqlite::Error> {
    let mut bare = proof.clone();
    bare.dleq = None;
    rows.execute(
        "INSERT OR IGNORE INTO proof (y, amount, proof, state) VALUES (?1, ?2, ?3, ?4)",
        params![name_of(&bare)?, bare.amount.to_u64() as i64, serde_json::json!(bare).to_string(), state],
    )
}

/// A proof's Y in hex. A secret that does not map to the curve cannot have been signed.
pub(crate) fn name_of(proof: &Proof) -> Result<String, rusqlite::Error> {
    proof.y().map(|y| y.to_hex()).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
