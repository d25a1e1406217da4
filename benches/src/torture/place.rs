//! Where things are put for a moment, and how nothing of that stays: not after a signal, and not for longer than until
//! the next run when a run was killed.
//!
//! Everything of one run lies in two folders of the same name, one on a real disk and one in memory. A lock on a file in the
//! first tells that the run lives.

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{SigSet, Signal};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

const PREFIX: &str = "cloudpal-torture-";
const LOCK: &str = "lives";
const MEMORY: &str = "/dev/shm";
const TRIES: u32 = 1000;

static RUN: Mutex<State> = Mutex::new(State::NotYet);

enum State {
    NotYet,
    On(Run),
    /// Whoever still works gets no folder any more.
    Over,
}

/// The folders of this run.
struct Run {
    disk: PathBuf,
    /// The same as `disk` where the machine has no file system in memory.
    memory: PathBuf,
    _lock: File,
}

/// Clears what dead runs have left, and from now on clears up after this one when it is told to stop. To be called before
/// the first thread is started: those that follow must not take the signals.
pub fn begin() -> Result<()> {
    clear_dead();
    let stopping: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    stopping.thread_block().context("cannot hold signals back")?;
    std::thread::spawn(move || {
        if let Ok(signal) = stopping.wait() {
            end();
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}

/// Clears everything of this run.
pub fn end() {
    let state = std::mem::replace(&mut *RUN.lock().unwrap_or_else(PoisonError::into_inner), State::Over);
    if let State::On(run) = state {
        clear(&run.memory, &run.disk);
    }
}

/// A folder that goes away by itself, in memory where the machine has such a place: thousands of images are
/// written and opened, and what survives a loss of power was decided before.
pub fn fast_folder() -> Result<TempDir> {
    folder(|run| &run.memory)
}

/// One on a real disk.
pub fn disk_folder() -> Result<TempDir> {
    folder(|run| &run.disk)
}

fn folder(place: impl FnOnce(&Run) -> &Path) -> Result<TempDir> {
    let mut state = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(*state, State::NotYet) {
        *state = State::On(Run::start().context("cannot make the folders of this run")?);
    }
    match &*state {
        State::On(run) => TempDir::new_in(place(run)).context("cannot make a temporary folder"),
        _ => bail!("the run was told to stop"),
    }
}

impl Run {
    fn start() -> Result<Self> {
        let disk = tempfile::Builder::new().prefix(PREFIX).tempdir()?.keep();
        let lock = File::create(disk.join(LOCK))?;
        lock.try_lock()?;
        let memory = match (Path::new(MEMORY).is_dir(), disk.file_name()) {
            (true, Some(name)) => Path::new(MEMORY).join(name),
            _ => disk.clone(),
        };
        fs::create_dir_all(&memory)?;
        Ok(Self { disk, memory, _lock: lock })
    }
}

/// Folders of runs whose lock nobody holds. One that is being made has none yet, and is left alone.
fn clear_dead() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().filter(|name| name.to_string_lossy().starts_with(PREFIX));
        let (Some(name), Ok(lock)) = (name, File::open(path.join(LOCK))) else { continue };
        if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            eprintln!("clearing what a run that was killed left in {}", path.display());
            clear(&Path::new(MEMORY).join(name), &path);
        }
    }
}

/// Unmounts what is mounted in the folders of a run and removes them, the one with the lock last: what does not go is told,
/// and tried again by the next run.
fn clear(memory: &Path, disk: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    for point in points.filter(|point| point.starts_with(disk)) {
        unmount(point);
    }
    for folder in [memory, disk] {
        // Those who still work may be faster than one look at a folder.
        let gone = (0..TRIES).any(|_| fs::remove_dir_all(folder).is_ok() || !folder.exists());
        if !gone {
            return eprintln!("cannot remove {}", folder.display());
        }
    }
}

/// Unmounts at once; a file that is still open keeps what is behind it until it is closed.
pub fn unmount(point: &Path) {
    if let Err(error) = umount2(point, MntFlags::MNT_DETACH) {
        eprintln!("cannot unmount {}: {error}", point.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_run_is_cleared_and_a_living_one_is_not() {
        let (dead, living) = (Run::start().unwrap(), Run::start().unwrap());
        for run in [&dead, &living] {
            fs::write(run.memory.join("image"), b"x").unwrap();
        }
        let (left, memory) = (dead.disk.clone(), dead.memory.clone());
        drop(dead);
        clear_dead();
        assert!(!left.exists() && !memory.exists());
        assert!(living.memory.join("image").exists());
        clear(&living.memory, &living.disk);
    }
}
