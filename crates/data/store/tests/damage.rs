//! What is not as it was written is told, never taken for the truth.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use bytes::Bytes;
use cloudpal_log::{Durability, Feed, FeedError};
use cloudpal_store::{Access, Extent, OpenError, Options, Store, StoreKey, repair};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::Random;

const LONG: Duration = Duration::from_secs(30);

fn blocks(count: u64) -> Vec<Bytes> {
    (0..count).map(|n| Bytes::from(n.to_le_bytes().repeat(1 + n as usize % 40))).collect()
}

/// A store with a log of `count` blocks, appended one by one, each acknowledged as durable.
fn filled(dir: &Path, count: u64) -> [u8; 32] {
    let store = support::open(dir);
    let log = store.log("a").unwrap().with_durability(Durability::Durable);
    for block in blocks(count) {
        log.append(&[block]).unwrap();
    }
    let key = log.key();
    store.close().unwrap();
    key
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Places of a file that hold something.
fn used(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    (0..bytes.len()).filter(|at| bytes[*at] != 0).collect()
}

/// Opens the store, repairing it if it must be, and judges what it says of a log of `count` acknowledged blocks: all
/// there, or what is missing is told.
fn judge(dir: &Path, key: [u8; 32], count: u64, what: &str) -> bool {
    let store = match Store::open(dir, &support::key(), Options::default()) {
        Ok(store) => store,
        Err(OpenError::Engine { .. } | OpenError::Folder(_)) => {
            repair(dir, &support::key(), &Options::default()).unwrap();
            support::open(dir)
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let lost = store.losses().into_iter().find(|loss| loss.key == key);
    let log = match store.log("a") {
        Ok(log) => log,
        Err(_) => {
            store.close().unwrap();
            let report = repair(dir, &support::key(), &Options::default()).unwrap();
            assert!(report.logs.iter().any(|log| log.key == key), "{what}: repair found nothing");
            return false;
        }
    };
    let mut whole = true;
    for (index, expected) in blocks(count).into_iter().enumerate() {
        let index = index as u64;
        match log.get_local(index) {
            Ok(Some(block)) => assert_eq!(block, expected, "{what}: wrong data in block {index}"),
            Err(FeedError::OutOfRange { length, .. }) => {
                let lost =
                    lost.as_ref().unwrap_or_else(|| panic!("{what}: block {index} was lost in silence"));
                assert_eq!(
                    (lost.had, lost.has),
                    (Extent { fork: 0, length: count }, Extent { fork: 0, length })
                );
                assert!(lost.certain, "{what}");
                assert!(!log.writable());
                assert!(log.append(&blocks(1)).is_err(), "{what}: a second history");
                whole = false;
            }
            // Told when it was found, and then not held.
            Err(FeedError::Storage { .. }) => {
                assert_eq!(log.get_local(index).unwrap(), None);
                whole = false;
            }
            other => panic!("{what}: block {index}: {other:?}"),
        }
    }
    store.close().unwrap();
    whole
}

#[test]
fn no_flipped_byte_gives_wrong_data_or_silent_loss() {
    let home = tempfile::tempdir().unwrap();
    let good = home.path().join("good");
    let count = 12;
    let key = filled(&good, count);
    let mut random = Random::new(11);
    let (mut flips, mut harmless) = (0, 0);
    for file in files(&good) {
        let relative = file.strip_prefix(&good).unwrap();
        let places = used(&file);
        let tries = if relative.extension().is_some_and(|extension| extension == "jnl") { 30 } else { 3 };
        for _ in 0..tries.min(places.len()) {
            let at = places[random.below(places.len() as u64) as usize];
            let bad = home.path().join("bad");
            support::copy(&good, &bad);
            let mut bytes = fs::read(&file).unwrap();
            bytes[at] ^= 1 << random.below(8);
            fs::write(bad.join(relative), bytes).unwrap();
            flips += 1;
            harmless += u32::from(judge(&bad, key, count, &format!("{} at {at}", relative.display())));
            fs::remove_dir_all(&bad).unwrap();
        }
    }
    println!("{flips} flips, {harmless} without consequence");
    assert!(flips > 50 && harmless < flips, "the probe flips nothing that matters");
}

#[test]
fn a_lost_journal_is_told_and_healed_by_a_peer() {
    let home = tempfile::tempdir().unwrap();
    let (ours, theirs) = (home.path().join("ours"), home.path().join("theirs"));
    let count = 40;
    let key = filled(&ours, count);
    // A peer has all of it.
    let peer = Store::open(&theirs, &StoreKey::new([2; 32]), Options::default()).unwrap();
    let copy = peer.get(key).unwrap();
    let store = support::open(&ours);
    let server = peer.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let log = store.log("a").unwrap();
    store.connect(server.address(), &Access::Anyone).unwrap();
    assert!(copy.wait_current(LONG));
    assert!(copy.fetch(0..count).unwrap().wait(LONG));
    drop(log);
    store.close().unwrap();
    // All that this device wrote is in its journal.
    let journal =
        files(&ours).into_iter().find(|path| path.extension().is_some_and(|ext| ext == "jnl")).unwrap();
    fs::write(&journal, []).unwrap();

    let store = support::open(&ours);
    let log = store.log("a").unwrap();
    assert_eq!(store.losses().len(), 1);
    assert_eq!((log.length(), log.writable()), (0, false));
    assert!(matches!(log.append(&blocks(1)), Err(FeedError::Refused { .. })));
    drop(log);
    store.sync().unwrap();
    store.close().unwrap();
    // It is not forgotten either.
    let store = support::open(&ours);
    let log = store.log("a").unwrap();
    assert_eq!((store.losses().len(), log.writable()), (1, false));
    store.connect(server.address(), &Access::Anyone).unwrap();
    assert!(log.fetch(0..count).unwrap().wait(LONG));
    for (index, block) in blocks(count).into_iter().enumerate() {
        assert_eq!(log.get(index as u64).unwrap(), block);
    }
    assert_eq!((store.losses(), log.writable()), (vec![], true));
    assert_eq!(log.append(&blocks(1)).unwrap(), count);
    drop(log);
    store.close().unwrap();
    assert_eq!(support::open(&ours).losses(), []);
}

#[test]
fn a_wrong_key_repairs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let key = filled(dir.path(), 5);
    let wrong = StoreKey::new([3; 32]);
    assert!(repair(dir.path(), &wrong, &Options::default()).is_err());
    fs::write(dir.path().join("format"), b"nonsense").unwrap();
    assert!(repair(dir.path(), &wrong, &Options::default()).is_err());
    repair(dir.path(), &support::key(), &Options::default()).unwrap();
    assert!(judge(dir.path(), key, 5, "after repair"));
}

#[test]
fn what_nobody_has_can_be_given_up() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5);
    let journal =
        files(dir.path()).into_iter().find(|path| path.extension().is_some_and(|ext| ext == "jnl")).unwrap();
    fs::write(&journal, []).unwrap();
    let store = support::open(dir.path());
    let log = store.log("a").unwrap();
    let loss = log.give_up_lost().unwrap().unwrap();
    assert_eq!((loss.had.length, loss.has.length), (5, 0));
    assert_eq!(log.append(&blocks(1)).unwrap(), 0);
    drop(log);
    store.close().unwrap();
    let store = support::open(dir.path());
    assert_eq!(store.losses(), []);
    assert_eq!(store.log("a").unwrap().length(), 1);
}

#[test]
fn a_copy_of_the_folder_at_any_moment_opens_with_all_that_was_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let live = home.path().join("live");
    let store = support::open(&live);
    let log = store.log("a").unwrap().with_durability(Durability::Durable);
    let all = blocks(60);
    let mut acknowledged = 0;
    for chunk in all.chunks(3) {
        log.append(chunk).unwrap();
        acknowledged += chunk.len() as u64;
        if acknowledged.is_multiple_of(12) {
            let copy = home.path().join("copy");
            support::copy(&live, &copy);
            let store = support::open(&copy);
            let log = store.log("a").unwrap();
            assert_eq!(store.losses(), []);
            assert!(log.length() >= acknowledged);
            for index in 0..acknowledged {
                assert_eq!(log.get_local(index).unwrap().unwrap(), all[index as usize]);
            }
            log.append(&blocks(2)).unwrap();
            store.close().unwrap();
            fs::remove_dir_all(&copy).unwrap();
        }
    }
}

#[test]
fn a_torn_batch_at_the_end_of_the_journal_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let count = 6;
    let key = filled(dir.path(), count);
    let journal =
        files(dir.path()).into_iter().find(|path| path.extension().is_some_and(|ext| ext == "jnl")).unwrap();
    let good = fs::read(&journal).unwrap();
    let end = used(&journal).last().unwrap() + 1;
    // A batch whose end reached the disk and whose middle did not: by it fjall alone never opens again.
    let torn: Vec<u8> =
        [&[1, 2, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0][..], &[0; 500], &[3; 9], b"FJL\x03"].concat();
    for cut in [14, torn.len() / 2, torn.len()] {
        let bytes = [&good[..end], &torn[..cut], &vec![0; 4096]].concat();
        fs::write(&journal, bytes).unwrap();
        assert!(judge(dir.path(), key, count, "torn"), "cut at {cut}");
        fs::write(&journal, &good).unwrap();
    }
}

#[test]
fn a_block_that_does_not_open_comes_from_a_peer() {
    let home = tempfile::tempdir().unwrap();
    let (ours, theirs) = (home.path().join("ours"), home.path().join("theirs"));
    let count = 30;
    let key = filled(&ours, count);
    let report = repair(&ours, &support::key(), &Options::default()).unwrap();
    assert_eq!(report, cloudpal_store::Repaired::default());
    let store = support::open(&ours);
    let peer = Store::open(&theirs, &StoreKey::new([2; 32]), Options::default()).unwrap();
    let server = store.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let (log, copy) = (store.log("a").unwrap(), peer.get(key).unwrap());
    peer.connect(server.address(), &Access::Anyone).unwrap();
    assert!(copy.wait_current(LONG) && copy.fetch(0..count).unwrap().wait(LONG));
    // Not held here any more, as after damage; the owner asks its reader.
    log.clear(3..9).unwrap();
    assert!(log.fetch(0..count).unwrap().wait(LONG));
    assert_eq!(log.get_local(5).unwrap().unwrap(), blocks(6)[5]);
}
