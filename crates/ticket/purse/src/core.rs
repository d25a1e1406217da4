//! What all of the purse's operations stand on: seed, seller, book, and one operation at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cloudpal_form::{Blank, BlankError, ExchangeError, Keyset, Route, Seller, SellerError};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::book::{Book, BookError};

/// Why a purse could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder could not be made or locked.
    #[error("cannot use the purse's folder {}: check its owner and the disk", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The purse in this folder has another seed.
    #[error("the purse in {} belongs to other seed words: check them, or choose another folder", .0.display())]
    WrongSeed(PathBuf),
    /// The purse in this folder has another seller.
    #[error("the purse in {} holds tickets of {theirs}: choose another folder for {asked}", path.display())]
    OtherSeller {
        /// The folder.
        path: PathBuf,
        /// Its seller.
        theirs: String,
        /// The seller asked for.
        asked: String,
    },
    /// The seller's address.
    #[error(transparent)]
    Seller(#[from] SellerError),
    /// The records.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// What can go wrong in any operation of the purse. After each of these nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The seller.
    #[error(transparent)]
    Seller(#[from] SellerError),
    /// A swap did not come about, or not yet.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The seller has no keyset in use.
    #[error("the seller signs nothing at present: try again later")]
    NoActiveKeyset,
    /// The amount cannot be made of the seller's denominations.
    #[error("the seller has no tickets that add up to {0} cpm")]
    Amount(u64),
    /// A secret could not be derived.
    #[error(transparent)]
    Blank(#[from] BlankError),
    /// The lock on the folder failed.
    #[error("another program has the purse and the wait for it failed")]
    Busy(#[source] std::io::Error),
    /// The records.
    #[error(transparent)]
    Book(#[from] BookError),
}

pub(crate) struct Core {
    pub(crate) book: Book,
    pub(crate) seed: Zeroizing<[u8; 64]>,
    /// For buying: the seller may know who pays.
    pub(crate) direct: Seller,
    /// For everything after: by another way when one is configured.
    pub(crate) clean: Seller,
    lock: File,
    busy: Mutex<()>,
}

/// How often an operation starts over when another purse from the same seed words got in its way.
pub(crate) const TRIES: u32 = 4;

/// Held during an operation: against other threads, and by file lock against other programs.
pub(crate) struct Turn<'a> {
    lock: &'a File,
    _busy: MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Core {
    pub(crate) fn open(dir: &Path, url: &str, route: &Route, seed: &[u8; 64]) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(dir.join("purse.lock"))
            .map_err(folder)?;
        let direct = Seller::new(url, &Route::Direct)?;
        let clean = Seller::new(url, route)?;
        let book = Book::open(&dir.join("purse.sqlite"))?;

        let mark = fingerprint(seed);
        match book.meta("seed")? {
            None => book.set_meta("seed", &mark)?,
            Some(known) if known == mark => {}
            Some(_) => return Err(OpenError::WrongSeed(dir.to_owned())),
        }
        match book.meta("seller")? {
            None => book.set_meta("seller", direct.url())?,
            Some(known) if known == direct.url() => {}
            Some(theirs) => {
                let asked = direct.url().to_owned();
                return Err(OpenError::OtherSeller { path: dir.to_owned(), theirs, asked });
            }
        }
        Ok(Self { book, seed: Zeroizing::new(*seed), direct, clean, lock, busy: Mutex::new(()) })
    }

    pub(crate) fn turn(&self) -> Result<Turn<'_>, WorkError> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock.lock().map_err(WorkError::Busy)?;
        Ok(Turn { lock: &self.lock, _busy: busy })
    }

    /// Whether `error` came of another purse from the same seed words, and starting over will help: what it
    /// spent is known now, and its counters are learnt here.
    pub(crate) fn mend(&self, error: &WorkError) -> Result<bool, WorkError> {
        match error {
            WorkError::Exchange(ExchangeError::Spent(_)) => Ok(true),
            WorkError::Exchange(ExchangeError::BlanksUsed) => self.restore().map(|_| true),
            _ => Ok(false),
        }
    }

    /// All keysets, and the one that signs now.
    pub(crate) fn keysets(&self) -> Result<(Vec<Keyset>, Keyset), WorkError> {
        let keysets = self.clean.keysets()?;
        let active = keysets.iter().find(|keyset| keyset.is_active()).cloned();
        Ok((keysets, active.ok_or(WorkError::NoActiveKeyset)?))
    }

    /// Blanks for `amount` in the fewest tickets; their counters are taken durably first.
    pub(crate) fn plain_blanks(&self, keyset: &Keyset, amount: u64) -> Result<Vec<Blank>, WorkError> {
        let parts = keyset.split(amount).ok_or(WorkError::Amount(amount))?;
        let first = self.book.take(&keyset.id().to_string(), parts.len() as u32)?;
        (first..)
            .zip(parts)
            .map(|(counter, part)| Ok(Blank::plain(&self.seed, keyset.id(), counter, part)?))
            .collect()
    }

    pub(crate) fn balance(&self) -> Result<u64, BookError> {
        self.book.read(|rows| {
            rows.query_row(
                "SELECT COALESCE(SUM(amount), 0) FROM proof WHERE state <> 'SPENT' AND work IS NULL",
                [],
                |row| row.get::<_, i64>(0).map(|sum| sum as u64),
            )
        })
    }
}

fn fingerprint(seed: &[u8; 64]) -> String {
    let digest = Sha256::new().chain_update(b"cloudpal purse seed mark v1").chain_update(seed).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
