//! The person's folder: seed, device key, pals and purses.
//!
//! ```text
//! DIR/                0700
//!   seed              24 words, 0600
//!   device.key        X25519 key of this device, hex, 0600
//!   recovery-kit.txt  only after `init --json`, to be printed and deleted
//!   pals/ID.json      what is known of a pal; nothing secret
//!   devices/ID/       WireGuard configs made here, 0600
//!   purse/            see module `credit`
//!   lock              held while a command changes anything
//! ```

mod files;
mod pals;

pub use files::{FileError, list, make_private_dir, read, remove, write_private};
pub use pals::{PalRecord, Stage};

use crate::failure::Exit;
use cloudpal_core::{AgreementSecret, Label, PalId, PhraseError, Secret, SeedPhrase, SigningKey};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why the person's folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// Reading or writing failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// `init` was not run.
    #[error("there are no keys in {}; run `cloudpal init` first, or `cloudpal init --restore` with your recovery kit", .0.display())]
    NoSeed(PathBuf),
    /// `init` was run before.
    #[error("{} already holds the keys of a person; nothing was changed. Use another folder with --config, or keep these", .0.display())]
    SeedExists(PathBuf),
    /// Words that are not a seed phrase.
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    /// A file of ours that cannot be read.
    #[error("{} is damaged; restore it from a backup", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Another `cloudpal` is changing the same folder.
    #[error("another cloudpal command is at work in {}; wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// No such pal.
    #[error("there is no pal \"{0}\" here; `cloudpal list` shows those there are")]
    NoPal(String),
    /// There is none at all.
    #[error("there is no pal yet; make one with `cloudpal create --at HOST`")]
    NoPals,
    /// More than one fits.
    #[error("there are {0} pals; say which one by its name or id (see `cloudpal list`)")]
    Ambiguous(usize),
    /// The operating system gives no randomness.
    #[error("the operating system gave no random bytes; no key was made")]
    Random(#[source] getrandom::Error),
}

impl PersonError {
    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            PersonError::SeedExists(_) => Exit::WouldLose,
            PersonError::NoSeed(_) | PersonError::NoPal(_) | PersonError::NoPals => Exit::NotFound,
            PersonError::Phrase(_) | PersonError::Ambiguous(_) => Exit::Usage,
            PersonError::File(_) | PersonError::Damaged { .. } | PersonError::Busy(_) => Exit::Failed,
            PersonError::Random(_) => Exit::Failed,
        }
    }
}

/// `N` random bytes of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], PersonError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(PersonError::Random)?;
    Ok(bytes)
}

/// A person's folder. Holding it says nothing about who else does: see [`Person::lock`].
#[derive(Clone, Debug)]
pub struct Person {
    dir: PathBuf,
}

/// While this lives, no other command changes the folder.
#[derive(Debug)]
pub struct Locked {
    _file: File,
}

impl Person {
    /// The folder, which need not be there yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Person { dir: dir.into() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether `init` was run.
    pub fn is_set_up(&self) -> bool {
        self.seed_path().exists()
    }

    /// Keeps other commands from changing the folder; refused at once while one does.
    pub fn lock(&self) -> Result<Locked, PersonError> {
        make_private_dir(&self.dir)?;
        let file = files::open_lock(&self.dir.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Locked { _file: file }),
            Err(TryLockError::WouldBlock) => Err(PersonError::Busy(self.dir.clone())),
            // A file system without locks (some network shares): single use is then up to the person.
            Err(TryLockError::Error(_)) => Ok(Locked { _file: file }),
        }
    }

    /// Stores a new seed so that it is not in force yet; `show` is called between, to hand the words to
    /// the person. A kill before the end leaves the folder as it was.
    pub fn set_up<E: From<PersonError>>(
        &self,
        phrase: &SeedPhrase,
        show: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if self.is_set_up() {
            return Err(PersonError::SeedExists(self.dir.clone()).into());
        }
        let waiting = self.dir.join("seed.new");
        let key = Zeroizing::new(hex::encode(Secret::<32>::new(random()?).expose()));
        write_private(&self.dir.join("device.key"), key.as_bytes()).map_err(PersonError::from)?;
        files::write_new(&waiting, phrase.words().as_bytes()).map_err(PersonError::from)?;
        show()?;
        files::rename(&waiting, &self.seed_path()).map_err(PersonError::from)?;
        Ok(())
    }

    /// The seed phrase.
    pub fn phrase(&self) -> Result<SeedPhrase, PersonError> {
        let path = self.seed_path();
        let words = Zeroizing::new(read(&path)?.ok_or_else(|| PersonError::NoSeed(self.dir.clone()))?);
        let words = std::str::from_utf8(&words).map_err(|_| PersonError::Damaged { path, source: None })?;
        Ok(SeedPhrase::parse(words)?)
    }

    /// This device's own key.
    pub fn device_key(&self) -> Result<AgreementSecret, PersonError> {
        let path = self.dir.join("device.key");
        let text = Zeroizing::new(read(&path)?.ok_or_else(|| PersonError::NoSeed(self.dir.clone()))?);
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_ascii(), &mut *bytes)
            .map_err(|_| PersonError::Damaged { path, source: None })?;
        Ok(AgreementSecret::from_secret(&Secret::new(*bytes)))
    }

    /// Signs what this person asks of a host for one pal.
    pub fn owner_sign(&self, pal: PalId) -> Result<SigningKey, PersonError> {
        Ok(SigningKey::from_secret(&self.phrase()?.derive(&Label::OwnerSign { pal })))
    }

    /// This person's end of the channel to one pal.
    pub fn owner_unlock(&self, pal: PalId) -> Result<AgreementSecret, PersonError> {
        Ok(AgreementSecret::from_secret(&self.phrase()?.derive(&Label::OwnerUnlock { pal })))
    }

    /// Where purses are kept.
    pub fn purse_dir(&self) -> PathBuf {
        self.dir.join("purse")
    }

    /// Where the configs of a pal's devices are kept.
    pub fn devices_dir(&self, pal: PalId) -> PathBuf {
        self.dir.join("devices").join(pal.to_string())
    }

    fn seed_path(&self) -> PathBuf {
        self.dir.join("seed")
    }
}
