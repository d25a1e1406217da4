//! Looks at the engine's lists of its files before the engine does.
//!
//! fjall 3.1 believes them. A changed number in one makes it ask for so much memory that the process ends; a room whose list is
//! gone it deletes with everything in it, and all rooms when the list of rooms is gone; without its mark it begins
//! anew beside the old journals. Formats: `current` in a room is the number of its list u64, the xxh3-128 of that file, and
//! 0; the list is the file `v` and number.

use super::fault::file_fault;
use cloudpal_log::StorageError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// What is wrong with a list.
#[derive(Debug, thiserror::Error)]
enum Unsound {
    #[error("the engine's file {} is gone", .0.display())]
    Gone(PathBuf),
    #[error("the engine's file {} is not as it was written", .0.display())]
    Changed(PathBuf),
}

/// Fails when the engine in `folder` would not find all that it wrote.
pub(super) fn check(folder: &Path) -> Result<(), StorageError> {
    read(&folder.join("version"))?;
    let rooms = folder.join("keyspaces");
    let entries = fs::read_dir(&rooms).map_err(|error| file_fault("read", error))?;
    let mut paths = vec![rooms.join("0")];
    for entry in entries {
        paths.push(entry.map_err(|error| file_fault("read", error))?.path());
    }
    paths.into_iter().filter(|path| !path.is_file()).try_for_each(|room| check_room(&room))
}

fn check_room(room: &Path) -> Result<(), StorageError> {
    let current = room.join("current");
    let bytes = read(&current)?;
    let parts: Option<(&[u8; 8], &[u8])> = bytes.split_first_chunk();
    let Some((number, [sum @ .., 0])) = parts else { return Err(unsound(Unsound::Changed(current))) };
    let list = room.join(format!("v{}", u64::from_le_bytes(*number)));
    if xxh3_128(&read(&list)?).to_le_bytes() != *sum {
        return Err(unsound(Unsound::Changed(list)));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, StorageError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unsound(Unsound::Gone(path.to_owned())),
        _ => file_fault("read", error),
    })
}

fn unsound(source: Unsound) -> StorageError {
    StorageError::Engine { doing: "open", source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions};

    #[test]
    fn every_flipped_byte_and_every_missing_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let room = {
            let db = Database::builder(dir.path()).open().unwrap();
            let room = db.keyspace("a", KeyspaceCreateOptions::default).unwrap();
            room.insert("key", "value").unwrap();
            room.rotate_memtable_and_wait().unwrap();
            room.path().to_owned()
        };
        check(dir.path()).unwrap();
        let number = fs::read(room.join("current")).unwrap()[0];
        for path in [room.join("current"), room.join(format!("v{number}"))] {
            let good = fs::read(&path).unwrap();
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 4;
                fs::write(&path, bad).unwrap();
                assert!(check(dir.path()).is_err(), "byte {at} of {}", path.display());
            }
            fs::write(&path, good).unwrap();
        }
        for name in ["version", "keyspaces/0/current", "keyspaces/1/current", "keyspaces/0"] {
            let (path, away) = (dir.path().join(name), dir.path().join("away"));
            fs::rename(&path, &away).unwrap();
            assert!(check(dir.path()).is_err(), "without {name}");
            fs::rename(&away, &path).unwrap();
        }
        check(dir.path()).unwrap();
    }
}
