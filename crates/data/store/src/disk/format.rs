use crate::StoreKey;
use crate::key::Purpose;
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use subtle::ConstantTimeEq;
use xxhash_rust::xxh3::xxh3_64;

/// The format that this version writes.
const CURRENT: u32 = 1;
/// What brings a folder from one format to the next: the first from 1 to 2, and so on.
const UPGRADES: [Upgrade; CURRENT as usize - 1] = [];
const NAME: &str = "format";
/// How often the lock is tried, 10 ms apart.
const PATIENCE: u32 = 30;

type Upgrade = fn(&Path, &StoreKey) -> io::Result<()>;

/// A store's folder, held against every other process until dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The folder cannot be read or written.
    #[error("cannot open the store in {}: see that the disk works and has room, then try again", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the store in {} is in use by another process: stop that one first", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The key is another store's.
    #[error("the store in {} does not open with this key: bring the key that it was made with", path.display())]
    WrongKey {
        /// The folder.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error("the store in {} has format {found}, this version reads up to {CURRENT}: install a newer version", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file that names the format makes no sense, and the store cannot be read without.
    #[error("{} is damaged: repair the store", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Folder {
    /// Takes the folder, makes it a store if it is empty, and brings an older format up to date.
    pub(crate) fn take(path: &Path, key: &StoreKey) -> Result<Self, FormatError> {
        let folder = Folder::lock(path)?;
        let fault = |source| FormatError::Folder { path: path.to_owned(), source };
        match fs::read(path.join(NAME)) {
            Ok(bytes) => folder.check(&bytes, key)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folder.write(CURRENT, key).map_err(fault)?
            }
            Err(error) => return Err(fault(error)),
        }
        Ok(folder)
    }

    /// Takes the folder whatever its format's file says, to repair it.
    pub(crate) fn lock(path: &Path) -> Result<Self, FormatError> {
        let fault = |source| FormatError::Folder { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(fault)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(fault)?;
        // The thread that tends a store lets go of it up to a moment after its last user.
        for _ in 0..PATIENCE {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Folder { path: path.to_owned(), _lock: lock }),
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(fault(error.into())),
            }
        }
        Err(FormatError::InUse { path: path.to_owned() })
    }

    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self, bytes: &[u8], key: &StoreKey) -> Result<(), FormatError> {
        let damaged = || FormatError::Damaged { path: self.path.join(NAME) };
        let (version, check) = parse(bytes).ok_or_else(damaged)?;
        if version > CURRENT {
            return Err(FormatError::Newer { path: self.path.clone(), found: version });
        }
        if !bool::from(check.ct_eq(key_check(key).as_slice())) {
            return Err(FormatError::WrongKey { path: self.path.clone() });
        }
        let fault = |source| FormatError::Folder { path: self.path.clone(), source };
        for (from, upgrade) in (1..).zip(UPGRADES).filter(|(from, _)| *from >= version) {
            upgrade(&self.path, key).map_err(fault)?;
            self.write(from + 1, key).map_err(fault)?;
        }
        Ok(())
    }

    /// Writes the format's file anew.
    pub(crate) fn rewrite(&self, key: &StoreKey) -> io::Result<()> {
        self.write(CURRENT, key)
    }

    fn write(&self, version: u32, key: &StoreKey) -> io::Result<()> {
        let fresh = self.path.join("format.new");
        let mut file = File::create(&fresh)?;
        let mut bytes = format!("cloudpal store {version}\n").into_bytes();
        bytes.extend(key_check(key));
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, self.path.join(NAME))?;
        File::open(&self.path)?.sync_all()
    }
}

/// "cloudpal store N", a line feed, 16 bytes that tell the right key, and a sum that tells a wrong key from damage.
fn parse(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (bytes, sum) = bytes.split_last_chunk::<8>()?;
    if xxh3_64(bytes).to_le_bytes() != *sum {
        return None;
    }
    let rest = bytes.strip_prefix(b"cloudpal store ")?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let version = std::str::from_utf8(&rest[..end]).ok()?.parse().ok().filter(|version| *version > 0)?;
    let check = &rest[end + 1..];
    (check.len() == 16).then_some((version, check))
}

fn key_check(key: &StoreKey) -> [u8; 16] {
    let mut check = [0; 16];
    check.copy_from_slice(&key.derive(Purpose::Check).expose()[..16]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_taker_the_right_key_and_no_newer_format() {
        let dir = tempfile::tempdir().unwrap();
        let key = StoreKey::new([1; 32]);
        let held = Folder::take(dir.path(), &key).unwrap();
        assert!(matches!(Folder::take(dir.path(), &key), Err(FormatError::InUse { .. })));
        drop(held);
        let other = StoreKey::new([2; 32]);
        assert!(matches!(Folder::take(dir.path(), &other), Err(FormatError::WrongKey { .. })));
        drop(Folder::take(dir.path(), &key).unwrap());
        let good = fs::read(dir.path().join(NAME)).unwrap();
        let mut newer = [b"cloudpal store 9\n", &good[17..good.len() - 8]].concat();
        newer.extend(xxh3_64(&newer).to_le_bytes());
        fs::write(dir.path().join(NAME), newer).unwrap();
        assert!(matches!(Folder::take(dir.path(), &key), Err(FormatError::Newer { found: 9, .. })));
        let damaged = |bytes: &[u8], what: &str| {
            fs::write(dir.path().join(NAME), bytes).unwrap();
            assert!(matches!(Folder::take(dir.path(), &key), Err(FormatError::Damaged { .. })), "{what}");
        };
        for at in 0..good.len() {
            damaged(&good[..at], &format!("cut at {at}"));
            let mut bad = good.clone();
            bad[at] ^= 1;
            damaged(&bad, &format!("byte {at}"));
        }
        Folder::lock(dir.path()).unwrap().rewrite(&key).unwrap();
        drop(Folder::take(dir.path(), &key).unwrap());
    }
}
