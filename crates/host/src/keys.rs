//! The host's own keys: one signs prices and receipts, one encrypts memory images, one seals the
//! network state volumes of pals. Files of 32 bytes that only the host's user can read.

use cloudpal_core::{PalId, PublicKey, Secret, SigningKey};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// All of them.
#[derive(Debug)]
pub struct Keys {
    dir: PathBuf,
    /// Signs prices and receipts.
    pub sign: SigningKey,
    /// Encrypts memory images; see `cloudpal_machine`.
    pub snapshot: Secret<32>,
}

/// A key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system refused.
    #[error("cannot read or make the key {0}; its folder must belong to the host's user")]
    Io(PathBuf, #[source] io::Error),
    /// Not 32 bytes.
    #[error("the key {0} is damaged; restore it from a backup, it cannot be made again")]
    Damaged(PathBuf),
}

impl Keys {
    /// Reads the keys in `dir`, and makes those that are missing.
    pub fn open(dir: &Path) -> Result<Keys, KeyError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| KeyError::Io(dir.to_owned(), error))?;
        let sign = SigningKey::from_secret(&read_or_make(&dir.join("sign"))?);
        let snapshot = read_or_make(&dir.join("snapshot"))?;
        Ok(Keys { dir: dir.to_owned(), sign, snapshot })
    }

    /// Who this host is.
    pub fn public(&self) -> PublicKey {
        self.sign.public()
    }

    /// The key of one pal's network state volume, made when first asked for.
    pub fn network(&self, pal: PalId) -> Result<Secret<32>, KeyError> {
        read_or_make(&self.dir.join(format!("network-{pal}")))
    }

    /// Destroys the key of a removed pal's network state volume.
    pub fn forget(&self, pal: PalId) -> Result<(), KeyError> {
        let path = self.dir.join(format!("network-{pal}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeyError::Io(path, error)),
            _ => Ok(()),
        }
    }
}

fn read_or_make(path: &Path) -> Result<Secret<32>, KeyError> {
    match read(path) {
        Err(KeyError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => make(path),
        other => other,
    }
}

fn read(path: &Path) -> Result<Secret<32>, KeyError> {
    let fail = |error| KeyError::Io(path.to_owned(), error);
    let mut file = fs::File::open(path).map_err(fail)?;
    let mut bytes = [0; 33];
    let mut size = 0;
    while size < bytes.len() {
        match file.read(&mut bytes[size..]).map_err(fail)? {
            0 => break,
            more => size += more,
        }
    }
    let key = Secret::from_slice(&bytes[..size]);
    bytes.zeroize();
    key.ok_or_else(|| KeyError::Damaged(path.to_owned()))
}

fn make(path: &Path) -> Result<Secret<32>, KeyError> {
    let fail = |error| KeyError::Io(path.to_owned(), error);
    let key = random().map_err(fail)?;
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(fail)?;
    file.write_all(key.expose()).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&new, path).map_err(fail)?;
    if let Some(parent) = path.parent() {
        fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(fail)?;
    }
    Ok(key)
}

/// 32 bytes from the operating system's generator.
pub fn random() -> io::Result<Secret<32>> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let key = Secret::new(bytes);
    bytes.zeroize();
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_the_same_and_a_damaged_one_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::open(dir.path()).unwrap().public();
        assert_eq!(Keys::open(dir.path()).unwrap().public(), first);
        fs::write(dir.path().join("sign"), [1; 31]).unwrap();
        assert!(matches!(Keys::open(dir.path()), Err(KeyError::Damaged(_))));
        assert_eq!(fs::read(dir.path().join("sign")).unwrap(), [1; 31]);
    }

    #[test]
    fn only_the_hosts_user_can_read_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Keys::open(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join("snapshot")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
