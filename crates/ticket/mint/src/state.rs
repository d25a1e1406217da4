//! The state folder: `seed`, `mint.sqlite`, `vouchers.sqlite`, and `lock` while serving.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::ledger::{Ledger, LedgerError};

const SEED_BYTES: usize = 64;

/// A seller's state folder whose seed has been read. The seed signs tickets: it is money, redacted.
pub struct State {
    dir: PathBuf,
    seed: Zeroizing<[u8; SEED_BYTES]>,
}

/// Why a state folder could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a seller already.
    #[error("{} already holds a seller: its seed is kept; choose another folder for a new one", .0.display())]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot write {}: check that the folder may be written and the disk is not full", path.display())]
    Io {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
    /// The voucher ledger could not be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why a state folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No seller here.
    #[error("{} holds no seller: run `cloudpal-mint --state {} init` first", .0.display(), .0.display())]
    Missing(PathBuf),
    /// The seed is not 64 bytes.
    #[error("{} is damaged: put back your copy of it; without it no ticket can be honoured", .0.display())]
    Damaged(PathBuf),
    /// Others could read the seed.
    #[error("{} can be read by others: run chmod 600 on it", .0.display())]
    TooOpen(PathBuf),
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl State {
    /// Makes a state folder with a new seed. Refuses to touch one that has a seed.
    pub fn init(dir: &Path) -> Result<Self, InitError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| InitError::Io { path, source }
        };
        let path = dir.join("seed");
        if path.exists() {
            return Err(InitError::Exists(dir.to_owned()));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        getrandom::fill(seed.as_mut()).map_err(|error| InitError::Random(error.to_string()))?;

        // Written aside and linked in, so that a crash never leaves half a seed under its name.
        let aside = dir.join("seed.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .map_err(at(&aside))?;
        file.write_all(seed.as_ref()).and_then(|()| file.sync_all()).map_err(at(&aside))?;
        fs::hard_link(&aside, &path).map_err(at(&path))?;
        fs::remove_file(&aside).map_err(at(&aside))?;
        let state = Self { dir: dir.to_owned(), seed };
        state.ledger()?;
        Ok(state)
    }

    /// Opens a state folder that [`State::init`] made.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("seed");
        let io = |source| OpenError::Io { path: path.clone(), source };
        let mut file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::Missing(dir.to_owned()));
            }
            other => other.map_err(io)?,
        };
        if file.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
            return Err(OpenError::TooOpen(path));
        }
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        let mut beyond = [0];
        file.read_exact(seed.as_mut()).map_err(|_| OpenError::Damaged(path.clone()))?;
        if file.read(&mut beyond).map_err(io)? != 0 {
            return Err(OpenError::Damaged(path));
        }
        Ok(Self { dir: dir.to_owned(), seed })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The voucher ledger; may be opened while the seller serves.
    pub fn ledger(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.dir.join("vouchers.sqlite"))
    }

    pub(crate) fn mint_database(&self) -> PathBuf {
        self.dir.join("mint.sqlite")
    }

    pub(crate) fn seed(&self) -> &[u8; SEED_BYTES] {
        &self.seed
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State({}, [redacted])", self.dir.display())
    }
}
