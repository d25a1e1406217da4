//! The host's one key, to which all its tickets are locked.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cashu::SecretKey;
use zeroize::Zeroizing;

/// Why the host's key could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot keep the till's key in {}: check the folder's owner and the disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could read it.
    #[error("{} can be read by others: run chmod 600 on it", .0.display())]
    TooOpen(PathBuf),
    /// It does not hold a key.
    #[error("{} is damaged: put back your copy; tickets locked to it cannot be redeemed without", .0.display())]
    Damaged(PathBuf),
    /// No randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
}

/// Reads the key at `path`, or makes it.
pub(crate) fn keep(path: &Path) -> Result<SecretKey, KeyError> {
    match fs::metadata(path) {
        Ok(_) => read(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            read(path)
        }
        Err(source) => Err(KeyError::Io { path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> Result<SecretKey, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::TooOpen(path.to_owned()));
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(io)?);
    SecretKey::from_slice(&bytes).map_err(|_| KeyError::Damaged(path.to_owned()))
}

fn make(path: &Path) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new([0; 32]);
    loop {
        getrandom::fill(bytes.as_mut()).map_err(|error| KeyError::Random(error.to_string()))?;
        if SecretKey::from_slice(bytes.as_ref()).is_ok() {
            break;
        }
    }
    // Written aside and linked in: never half a key under its name, and the first of two makers wins.
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside).map_err(io)?;
    file.write_all(bytes.as_ref()).and_then(|()| file.sync_all()).map_err(io)?;
    match fs::hard_link(&aside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    fs::remove_file(&aside).map_err(io)
}
