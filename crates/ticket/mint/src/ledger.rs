//! What was printed, what was paid by it, and what was settled: one SQLite file beside the mint's own.
//!
//! A voucher's life: printed -> redeemed for one quote, for ever. Redeeming marks the voucher and pays
//! the quote by writing one row, so there is no moment at which one has happened and the other not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloudpal_form::{Voucher, VoucherFormError};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS voucher (
        hash BLOB PRIMARY KEY,
        amount INTEGER NOT NULL,
        printed_unix INTEGER NOT NULL,
        quote TEXT UNIQUE,
        redeemed_unix INTEGER
    ) STRICT;
    CREATE TABLE IF NOT EXISTS settlement (
        quote TEXT PRIMARY KEY,
        account TEXT NOT NULL,
        amount INTEGER NOT NULL,
        note TEXT,
        settled_unix INTEGER
    ) STRICT;
";

/// The voucher ledger. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct Ledger {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
}

/// What redeeming did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redeemed {
    /// The quote is paid now.
    Now,
    /// This voucher had paid this quote before: nothing changed.
    Before,
}

/// Why the ledger did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite failed.
    #[error("the voucher ledger {} failed: check the disk", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// No randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
    /// The worth of a voucher is out of bounds.
    #[error(transparent)]
    Form(#[from] VoucherFormError),
    /// No such voucher was printed here.
    #[error("this voucher is not known here: check the code, and that this is the seller who printed it")]
    Unknown,
    /// It paid another quote.
    #[error("this voucher has been used already")]
    Used,
    /// Another voucher paid this quote.
    #[error("this quote is paid by another voucher already: ask for a new quote")]
    QuotePaid,
    /// The voucher is worth something else than the quote asks.
    #[error("this voucher is worth {worth} cpm, the quote asks for {asked}: ask for a quote of {worth}")]
    Worth {
        /// What the voucher is worth.
        worth: u64,
        /// What the quote asks for.
        asked: u64,
    },
}

impl Ledger {
    /// Opens or makes the ledger at `path`.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let at = |source| LedgerError::Store { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(at)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(at)?;
        connection.execute_batch(SCHEMA).map_err(at)?;
        Ok(Self { path: path.to_owned(), connection: Arc::new(Mutex::new(connection)) })
    }

    /// Prints a voucher worth `amount` cpm: stores its hash, returns the code to hand out.
    pub fn print(&self, amount: u64) -> Result<Voucher, LedgerError> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| LedgerError::Random(error.to_string()))?;
        let voucher = Voucher::new(amount, secret)?;
        self.lock()
            .execute(
                "INSERT INTO voucher (hash, amount, printed_unix) VALUES (?1, ?2, ?3)",
                params![voucher.hash(), amount as i64, now_unix()],
            )
            .map_err(|source| self.store(source))?;
        Ok(voucher)
    }

    /// Pays `quote`, which asks for `asked` cpm, by `voucher`: both in one row, idempotent.
    pub fn redeem(&self, voucher: &Voucher, quote: &str, asked: u64) -> Result<Redeemed, LedgerError> {
        let hash = voucher.hash();
        let mut connection = self.lock();
        let store = |source| self.store(source);
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store)?;
        // Found by hash, so the time this takes says nothing about any code's characters.
        let found: Option<(i64, Option<String>)> = transaction
            .query_row("SELECT amount, quote FROM voucher WHERE hash = ?1", [hash], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(store)?;
        let (worth, paid) = found.ok_or(LedgerError::Unknown)?;
        match paid {
            Some(paid) if paid == quote => return Ok(Redeemed::Before),
            Some(_) => return Err(LedgerError::Used),
            None => {}
        }
        let worth = worth as u64;
        if worth != asked {
            return Err(LedgerError::Worth { worth, asked });
        }
        let taken: bool = transaction
            .query_row("SELECT EXISTS (SELECT 1 FROM voucher WHERE quote = ?1)", [quote], |row| row.get(0))
            .map_err(store)?;
        if taken {
            return Err(LedgerError::QuotePaid);
        }
        transaction
            .execute(
                "UPDATE voucher SET quote = ?2, redeemed_unix = ?3 WHERE hash = ?1",
                params![hash, quote, now_unix()],
            )
            .map_err(store)?;
        transaction.commit().map_err(store)?;
        Ok(Redeemed::Now)
    }

    /// What was paid towards `quote`, and the payment's name.
    pub(crate) fn payment(&self, quote: &str) -> Result<Option<(u64, String)>, LedgerError> {
        self.lock()
            .query_row("SELECT amount, hex(hash) FROM voucher WHERE quote = ?1", [quote], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
            })
            .optional()
            .map_err(|source| self.store(source))
    }

    /// The quote that `voucher` has paid, if any.
    pub(crate) fn paid_by(&self, voucher: &Voucher) -> Result<Option<String>, LedgerError> {
        self.lock()
            .query_row("SELECT quote FROM voucher WHERE hash = ?1", [voucher.hash()], |row| row.get(0))
            .optional()
            .map_err(|source| self.store(source))?
            .ok_or(LedgerError::Unknown)
    }

    /// Remembers what a settlement quote is for: the mint does not tell it again when it is paid.
    pub(crate) fn expect_settlement(
        &self,
        quote: &str,
        account: &str,
        amount: u64,
    ) -> Result<(), LedgerError> {
        self.lock()
            .execute(
                "INSERT OR IGNORE INTO settlement (quote, account, amount) VALUES (?1, ?2, ?3)",
                params![quote, account, amount as i64],
            )
            .map_err(|source| self.store(source))?;
        Ok(())
    }

    /// The settlement of `quote`: account, amount and, once settled, the note.
    pub(crate) fn settlement(
        &self,
        quote: &str,
    ) -> Result<Option<(String, u64, Option<String>)>, LedgerError> {
        self.lock()
            .query_row("SELECT account, amount, note FROM settlement WHERE quote = ?1", [quote], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })
            .optional()
            .map_err(|source| self.store(source))
    }

    /// Stores the note for `quote` unless there is one, and returns the one that counts.
    pub(crate) fn settle(&self, quote: &str, note: &str) -> Result<String, LedgerError> {
        let connection = self.lock();
        connection
            .execute(
                "UPDATE settlement SET note = ?2, settled_unix = ?3 WHERE quote = ?1 AND note IS NULL",
                params![quote, note, now_unix()],
            )
            .and_then(|_| {
                connection
                    .query_row("SELECT note FROM settlement WHERE quote = ?1", [quote], |row| row.get(0))
            })
            .map_err(|source| self.store(source))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // SQLite rolls back what a panic left open, so a poisoned lock guards sound data.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Store { path: self.path.clone(), source }
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({})", self.path.display())
    }
}

pub(crate) fn now_unix() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("vouchers.sqlite")).unwrap();
        (dir, ledger)
    }

    #[test]
    fn a_voucher_pays_one_quote_once() {
        let (_dir, ledger) = ledger();
        let voucher = ledger.print(500).unwrap();
        assert_eq!(ledger.redeem(&voucher, "a", 500).unwrap(), Redeemed::Now);
        assert_eq!(ledger.redeem(&voucher, "a", 500).unwrap(), Redeemed::Before);
        assert!(matches!(ledger.redeem(&voucher, "b", 500), Err(LedgerError::Used)));
        let second = ledger.print(500).unwrap();
        assert!(matches!(ledger.redeem(&second, "a", 500), Err(LedgerError::QuotePaid)));
        assert_eq!(ledger.payment("a").unwrap().unwrap().0, 500);
    }

    #[test]
    fn unknown_and_wrongly_quoted_vouchers_are_refused_and_stay_good() {
        let (_dir, ledger) = ledger();
        let foreign = Voucher::new(500, [9; 16]).unwrap();
        assert!(matches!(ledger.redeem(&foreign, "a", 500), Err(LedgerError::Unknown)));
        let voucher = ledger.print(100).unwrap();
        assert!(matches!(
            ledger.redeem(&voucher, "a", 500),
            Err(LedgerError::Worth { worth: 100, asked: 500 })
        ));
        assert_eq!(ledger.redeem(&voucher, "b", 100).unwrap(), Redeemed::Now);
    }

    #[test]
    fn two_programs_racing_for_one_voucher_give_one_winner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vouchers.sqlite");
        let voucher = Ledger::open(&path).unwrap().print(7).unwrap();
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let (path, voucher) = (path.clone(), voucher.clone());
                std::thread::spawn(move || Ledger::open(&path).unwrap().redeem(&voucher, &format!("q{n}"), 7))
            })
            .collect();
        let won = tries.into_iter().filter_map(|t| t.join().unwrap().ok()).count();
        assert_eq!(won, 1);
    }

    #[test]
    fn the_code_is_not_in_the_file() {
        let (dir, ledger) = ledger();
        let code = ledger.print(500).unwrap().reveal();
        drop(ledger);
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let group = &code.as_bytes()[7..17];
            assert!(!bytes.windows(group.len()).any(|window| window == group));
        }
    }
}
