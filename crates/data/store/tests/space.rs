//! Disk space: given back, counted, limited, and used up.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use bytes::Bytes;
use cloudpal_log::{Feed, FeedError, StorageError};
use cloudpal_store::{Access, DeleteError, LogOptions, Namespace, Options, Store, StoreKey, Which};
use std::path::Path;
use std::time::Duration;
use support::Random;

const MIB: u64 = 1 << 20;
const LONG: Duration = Duration::from_secs(30);

/// Blocks that no file system can press together.
fn noise(random: &mut Random, count: u64, len: usize) -> Vec<Bytes> {
    (0..count)
        .map(|_| (0..len / 8).flat_map(|_| random.next().to_le_bytes()).collect::<Vec<_>>().into())
        .collect()
}

fn with(dir: &Path, options: Options) -> Store {
    Store::open(dir, &support::key(), options).unwrap()
}

#[test]
fn cleared_and_deleted_blocks_give_their_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = support::open(dir.path());
    let mut random = Random::new(3);
    let (kept, cleared, deleted) = (store.log("kept").unwrap(), store.log("cleared").unwrap(), "deleted");
    let keep = noise(&mut random, 16, 65_536);
    kept.append(&keep).unwrap();
    cleared.append(&noise(&mut random, 160, 65_536)).unwrap();
    let gone = store.log(deleted).unwrap();
    gone.append(&noise(&mut random, 160, 65_536)).unwrap();
    let full = store.usage().unwrap();
    assert_eq!(full.logs.len(), 3);
    assert_eq!(full.logs.iter().map(|log| log.held_bytes).sum::<u64>(), 21 * MIB);
    assert!(full.disk_bytes > 21 * MIB);

    cleared.clear(0..160).unwrap();
    let key = gone.key();
    assert!(matches!(store.delete(key), Err(DeleteError::InUse)));
    drop(gone);
    store.delete(key).unwrap();
    assert!(matches!(store.delete(key), Err(DeleteError::Absent)));
    let swept = store.gc().unwrap();
    assert_eq!(swept.after_bytes, store.usage().unwrap().disk_bytes);
    assert!(swept.after_bytes < 8 * MIB, "{swept:?}");
    assert!(swept.before_bytes > 21 * MIB);

    // All else is as it was, also after opening again.
    let length = cleared.length();
    drop((kept, cleared));
    store.close().unwrap();
    let store = support::open(dir.path());
    let kept = store.log("kept").unwrap();
    for (index, block) in keep.iter().enumerate() {
        assert_eq!(kept.get_local(index as u64).unwrap().as_ref(), Some(block));
    }
    let cleared = store.log("cleared").unwrap();
    assert_eq!((cleared.length(), cleared.get_local(7).unwrap()), (length, None));
    assert_eq!((store.keys().unwrap().len(), store.losses()), (2, vec![]));
    // A deleted log is begun anew.
    assert_eq!(store.log(deleted).unwrap().length(), 0);
}

#[test]
fn a_log_keeps_to_its_quota_and_a_store_to_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = with(dir.path(), Options { quota: Some(16 * MIB), ..Options::default() });
    let mut random = Random::new(4);
    let small = LogOptions { quota: Some(MIB), ..LogOptions::default() };
    let log = store.open_log(Which::named(Namespace::ROOT, "small"), small).unwrap();
    log.append(&noise(&mut random, 15, 65_536)).unwrap();
    let full = log.append(&noise(&mut random, 2, 65_536));
    assert!(matches!(full, Err(FeedError::Storage { source: StorageError::Full, .. })));
    assert_eq!(log.length(), 15);
    log.clear(0..5).unwrap();
    log.append(&noise(&mut random, 2, 65_536)).unwrap();
    let large = store.log("large").unwrap();
    let mut appended = 0;
    let error = loop {
        match large.append(&noise(&mut random, 8, 65_536)) {
            Ok(_) => appended += 8,
            Err(error) => break error,
        }
        assert!(appended < 1000, "the quota does not hold");
    };
    assert!(matches!(error, FeedError::Storage { source: StorageError::Full, .. }));
    assert_eq!(large.length(), appended);
    assert!(store.usage().unwrap().disk_bytes < 20 * MIB);
    // Room again, and on it goes.
    large.clear(0..appended).unwrap();
    store.gc().unwrap();
    large.append(&noise(&mut random, 8, 65_536)).unwrap();
}

/// A file system of a few MiB, if this machine lets the test make one.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn new(mib: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(dir.path())
            .status();
        if made.is_ok_and(|status| status.success()) {
            return Some(Tiny(dir));
        }
        println!("not allowed to mount a tmpfs: a disk that is really full was not tried");
        None
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _unmounted = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_forgiven() {
    // With a reserve writers are refused in time; without one the engine itself meets the end of the disk.
    for keep_free in [4 * MIB, 0] {
        let Some(tiny) = Tiny::new(24) else { return };
        let store = with(tiny.0.path(), Options { keep_free, ..Options::default() });
        let log = store.log("a").unwrap();
        let mut random = Random::new(6);
        let blocks = noise(&mut random, 4, 65_536);
        let mut appended = 0;
        let error = loop {
            match log.append(&blocks).and_then(|_| log.sync()) {
                Ok(()) => appended += 4,
                Err(error) => break error,
            }
            assert!(appended < 1000, "the disk is not full");
        };
        assert!(
            matches!(
                error,
                FeedError::Storage { source: StorageError::Full | StorageError::Engine { .. }, .. }
            ),
            "{error:?}"
        );
        let length = log.length();
        assert!(length >= appended && appended > 0);
        for index in 0..appended {
            assert_eq!(log.get_local(index).unwrap().unwrap(), blocks[index as usize % 4]);
        }
        drop(log);
        // Closing may fail; opening may not, once there is room.
        let _full = store.close();
        assert!(
            std::process::Command::new("mount")
                .args(["-o", "remount,size=64m"])
                .arg(tiny.0.path())
                .status()
                .unwrap()
                .success()
        );
        let store = with(tiny.0.path(), Options { keep_free, ..Options::default() });
        assert_eq!(store.losses().iter().filter(|loss| loss.certain).count(), 0);
        let log = store.log("a").unwrap();
        assert!(log.length() >= appended);
        for index in 0..appended {
            assert_eq!(log.get_local(index).unwrap().unwrap(), blocks[index as usize % 4]);
        }
        log.append(&blocks).unwrap();
        log.sync().unwrap();
    }
}

#[test]
fn a_full_copy_stops_asking_and_goes_on_with_room() {
    let home = tempfile::tempdir().unwrap();
    let store = with(&home.path().join("ours"), Options::default());
    let mut random = Random::new(9);
    let source = store.log("a").unwrap();
    source.append(&noise(&mut random, 300, 65_536)).unwrap();
    let server = store.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let options = Options { quota: Some(8 * MIB), ..Options::default() };
    let other = Store::open(&home.path().join("theirs"), &StoreKey::new([2; 32]), options).unwrap();
    let copy = other.get(source.key()).unwrap();
    other.connect(server.address(), &Access::Anyone).unwrap();
    assert!(copy.wait_current(LONG));
    let fetch = copy.fetch(0..300).unwrap();
    assert!(!fetch.wait(Duration::from_secs(2)));
    let held = copy.info().held;
    assert!(held > 10 && held < 200, "{held}");
    let taken = other.usage().unwrap().disk_bytes;
    assert!(taken < 12 * MIB, "{taken}");
    // What was there is given up; the rest comes as far as there is room.
    drop(fetch);
    copy.clear(0..300).unwrap();
    other.gc().unwrap();
    assert!(copy.fetch(250..260).unwrap().wait(LONG), "asking never went on");
}
