//! The state folder: who owns what in it, and what `up` has to remember for `down` and the next `up`.
//!
//! ```text
//! DIR/            passable for all, writable for root
//!   person/       seed, purse, device keys     0700, the person (sudo's user, else 7301)
//!   host/         pals' disks and memory       0700, the data centre, 7302
//!   mint/         the seller's ledger          0700, the seller, 7303
//!   programs/     copies of programs, guest kernel and guest programs, readable for all
//!   up.json       how to reach everything, while it is up; no secrets
//!   stage.json    what xtask remembers; no secrets
//! ```
//!
//! Each machine runs as a user of its own, from 1000000 on, who owns nothing here: all it needs is handed to it open.

use crate::tree;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The data centre's user.
pub const HOST_USER: u32 = 7302;
/// The seller's user.
pub const MINT_USER: u32 = 7303;
/// Whom machines run as: one user each.
pub const MACHINE_USERS: std::ops::Range<u32> = 1_000_000..1_065_536;
/// The person, when nobody called us through sudo.
const PERSON_USER: u32 = 7301;

/// A state folder, by its absolute path.
#[derive(Clone, Debug)]
pub struct State {
    dir: PathBuf,
}

/// What `up` remembers. Ports and addresses stay the same over `down` and `up`, because tickets name
/// the mint and devices' configs name the pal's address.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Third byte of every address: 198.18.N.0/24 are pals, 198.19.N.0/24 the links.
    pub subnet: u8,
    pub mint_port: u16,
    pub host_port: u16,
    /// Steps that were done once and need not be done again.
    pub done: Vec<String>,
    /// What the guest's image was built from.
    pub image: String,
    /// Long-lived programs that were started.
    pub services: Vec<Started>,
    /// `--listen` of the running `up`.
    pub listen: Option<std::net::IpAddr>,
    /// The machine's `ip_forward` before `--listen` set it.
    pub forwarded_before: Option<String>,
}

/// A process that cannot be confused with a later one of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub name: String,
    pub pid: u32,
    /// Clock ticks after boot: field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl State {
    /// The folder asked for, or the default one. Does not touch the disk.
    pub fn locate(asked: Option<&Path>) -> Result<Self> {
        let dir = match asked {
            Some(dir) => std::path::absolute(dir).with_context(|| format!("{} is no path", dir.display()))?,
            None => default_dir(),
        };
        Ok(State { dir })
    }

    /// The folder asked for; else the default one if anything runs there, else where `up` of this clone
    /// was last told to start things.
    pub fn of_last_up(asked: Option<&Path>) -> Result<Self> {
        let located = Self::locate(asked)?;
        let runs =
            |state: &State| Ok::<_, anyhow::Error>(state.recall()?.is_some_and(|memory| memory.runs()));
        if asked.is_some() || runs(&located)? {
            return Ok(located);
        }
        match fs::read_to_string(last_up()?) {
            Ok(dir) => Ok(State { dir: dir.into() }),
            Err(_) => Ok(located),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("programs").join(name)
    }

    /// Six hex digits that tell this folder's namespaces from another's (FNV-1a of its path).
    pub fn tag(&self) -> String {
        format!("{:06x}", self.hash() & 0xff_ffff)
    }

    pub fn hash(&self) -> u32 {
        let bytes = self.dir.as_os_str().as_encoded_bytes();
        bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    }

    /// Makes the folders, each for its owner, with a place for logs, and notes that they were the last.
    pub fn lay_out(&self) -> Result<()> {
        make_folder(&self.dir, 0, 0o755)?;
        write(&last_up()?, &self.dir.to_string_lossy())?;
        if let Some(closed) = closed_above(&self.dir) {
            bail!(
                "{} is closed to other users, so the data centre's user cannot reach {}; take another --state DIR, such as /var/tmp/cloudpal",
                closed.display(),
                self.dir.display()
            );
        }
        make_folder(&self.join("programs"), 0, 0o755)?;
        for (name, user) in [("person", person_user()), ("host", HOST_USER), ("mint", MINT_USER)] {
            make_folder(&self.join(name), user, 0o700)?;
            make_folder(&self.join(name).join("log"), user, 0o700)?;
        }
        Ok(())
    }

    pub fn remember(&self, memory: &Memory) -> Result<()> {
        write(&self.join("stage.json"), &serde_json::to_string_pretty(memory)?)
    }

    /// What an earlier `up` remembered; none if there was none here.
    pub fn recall(&self) -> Result<Option<Memory>> {
        let path = self.join("stage.json");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(
                serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

impl Memory {
    /// Does what needs doing only once in the life of a state folder.
    pub fn once(&mut self, state: &State, what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.has_done(what) {
            return Ok(());
        }
        work()?;
        self.done.push(what.to_owned());
        state.remember(self)
    }

    /// Whether any program that was started still runs.
    pub fn runs(&self) -> bool {
        self.services.iter().any(Started::alive)
    }

    pub fn has_done(&self, what: &str) -> bool {
        self.done.iter().any(|done| done == what)
    }
}

/// Whose folder `person` is: who called sudo, else a user of its own.
pub fn person_user() -> u32 {
    std::env::var("SUDO_UID").ok().and_then(|id| id.parse().ok()).filter(|id| *id != 0).unwrap_or(PERSON_USER)
}

/// Writes a file in one go: a reader sees the old or the new text.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, text).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Names the folder of the last `up` of this clone.
fn last_up() -> Result<PathBuf> {
    Ok(tree::target()?.join("last-up"))
}

fn default_dir() -> PathBuf {
    let beside = tree::root().join(".cloudpal");
    if closed_above(&beside).is_none() {
        return beside;
    }
    PathBuf::from(format!("/var/lib/cloudpal-try-{}", State { dir: beside }.tag()))
}

/// A folder above `dir` that other users cannot pass.
fn closed_above(dir: &Path) -> Option<&Path> {
    let closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|about| about.mode() & 0o001 == 0);
    dir.ancestors().skip(1).find(closed)
}

fn make_folder(path: &Path, user: u32, mode: u32) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| chown(path, Some(user), Some(user)))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_apart() {
        let tag = |path: &str| State::locate(Some(Path::new(path))).unwrap().tag();
        assert_ne!(tag("/var/tmp/one"), tag("/var/tmp/two"));
        assert_eq!(tag("/var/tmp/one").len(), 6);
    }

    #[test]
    fn an_older_memory_can_still_be_read() {
        let memory: Memory = serde_json::from_str(r#"{"subnet": 7}"#).unwrap();
        assert_eq!((memory.subnet, memory.services.len()), (7, 0));
    }
}
