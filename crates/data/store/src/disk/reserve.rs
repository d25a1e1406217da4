//! Names for the engine's files of blocks, made before it wants them.
//!
//! lsm-tree 3.1 syncs a new file of blocks and never the folder that has its name. On a disk that keeps no more than POSIX
//! promises, the file is gone after a loss of power although tables point into it and the journal was emptied because of
//! it. The engine numbers those files one by one and writes over a name that is there already, so empty files with the
//! next numbers are made and their folder synced before anything is flushed or compacted.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Free names that are there at least, beside one for each file: a flush takes a few, a compaction replaces what
/// there is.
const SPARE: u64 = 8;

/// Sees to it that the next files in `folder` have names that last.
pub(super) fn reserve(folder: &Path) -> io::Result<()> {
    let (mut files, mut free, mut next) = (0, 0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else {
            continue;
        };
        next = next.max(number + 1);
        match entry.metadata() {
            Ok(file) if file.len() == 0 => free += 1,
            // What a compaction has just replaced is gone between the two looks.
            _ => files += 1,
        }
    }
    let wanted = files + SPARE;
    if free >= wanted {
        return Ok(());
    }
    // Twice as many, so that most flushes find enough.
    for number in next..next + 2 * wanted - free {
        // Whoever was faster, another flush or the engine itself, keeps what it wrote.
        OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(number.to_string()))?;
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

    fn sizes(folder: &Path) -> Vec<u64> {
        let mut files: Vec<(u64, u64)> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name().to_str().unwrap().parse().unwrap(), entry.metadata().unwrap().len())
            })
            .collect();
        files.sort_unstable();
        files.into_iter().map(|(_, size)| size).collect()
    }

    #[test]
    fn the_engine_takes_the_names_in_order_and_they_never_run_out() {
        let dir = tempfile::tempdir().unwrap();
        for opening in 0..3 {
            let db = Database::builder(dir.path()).worker_threads(1).open().unwrap();
            let apart = || {
                let apart = KvSeparationOptions::default().separation_threshold(64);
                KeyspaceCreateOptions::default().with_kv_separation(Some(apart))
            };
            let room = db.keyspace("bodies", apart).unwrap();
            let folder = room.path().join("blobs");
            for round in 0..30_u8 {
                reserve(&folder).unwrap();
                let before = sizes(&folder);
                room.insert([opening, round], vec![round; 400]).unwrap();
                db.persist(PersistMode::Buffer).unwrap();
                room.rotate_memtable_and_wait().unwrap();
                let after = sizes(&folder);
                assert!(after.len() <= before.len(), "a file was made without a name that lasts");
                assert!(after.iter().any(|size| *size > 0));
            }
        }
    }
}
