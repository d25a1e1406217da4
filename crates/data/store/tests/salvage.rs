//! A store whose engine no longer opens or reads: `repair` brings back what is there.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use bytes::Bytes;
use cloudpal_log::{Durability, Feed};
use cloudpal_store::{FormatError, OpenError, Options, Repaired, Store, repair};
use std::fs;
use std::path::{Path, PathBuf};
use support::Random;
use xxhash_rust::xxh3::xxh3_64;

const COUNT: u64 = 120;

/// Small ones for the tables, large ones for the files of blocks.
fn block(number: u64) -> Bytes {
    let size = if number.is_multiple_of(10) { 5_000 } else { 1 + number as usize % 40 };
    Bytes::from(vec![number as u8; size])
}

/// A store with most of its blocks in tables and the rest in the journal, after the log was longer once.
fn filled(dir: &Path) {
    let store = support::open(dir);
    let log = store.log("a").unwrap().with_durability(Durability::Durable);
    let append = |numbers: std::ops::Range<u64>| {
        log.append(&numbers.map(block).collect::<Vec<_>>()).unwrap();
    };
    append(0..50);
    log.append(&vec![Bytes::from_static(b"forgotten"); 70]).unwrap();
    store.gc().unwrap();
    log.truncate(50).unwrap();
    append(50..90);
    store.gc().unwrap();
    append(90..COUNT);
    store.close().unwrap();
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

/// Opens the store and looks at every block: how many are not held. Those that are must be right.
fn missing(dir: &Path, what: &str) -> u64 {
    let store = support::open(dir);
    let log = store.log("a").unwrap();
    let short = COUNT - log.length();
    assert_eq!(store.losses().len(), usize::from(short > 0), "{what}: lost in silence");
    let lacks = |index: &u64| match log.get_local(*index).unwrap() {
        Some(got) => {
            assert_eq!(got, block(*index), "{what}: wrong data in block {index}");
            false
        }
        None => true,
    };
    let missing = (0..log.length()).filter(lacks).count() as u64;
    store.close().unwrap();
    missing + short
}

#[test]
fn without_the_lists_of_its_files_all_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let (good, bad) = (home.path().join("good"), home.path().join("bad"));
    filled(&good);
    assert_eq!(repair(&good, &support::key(), &Options::default()).unwrap(), Repaired::default());
    for name in ["current", "version"] {
        support::copy(&good, &bad);
        let lists = files(&bad.join("engine"));
        for list in lists.iter().filter(|path| path.ends_with(name)) {
            fs::remove_file(list).unwrap();
        }
        let report = repair(&bad, &support::key(), &Options::default()).unwrap();
        assert!(report.set_aside.is_some() && report.logs.is_empty(), "without {name}: {report:?}");
        assert_eq!(missing(&bad, name), 0);
        fs::remove_dir_all(&bad).unwrap();
    }
}

#[test]
fn a_flipped_byte_in_any_file_of_the_engine_costs_what_lies_around_it() {
    let home = tempfile::tempdir().unwrap();
    let (good, bad) = (home.path().join("good"), home.path().join("bad"));
    filled(&good);
    let mut random = Random::new(5);
    let mut set_aside = 0;
    for file in files(&good.join("engine")) {
        let bytes = fs::read(&file).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        for _ in 0..6.min(used.len()) {
            let at = used[random.below(used.len() as u64) as usize];
            let what = format!("{} at {at}", file.display());
            support::copy(&good, &bad);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << random.below(8);
            fs::write(bad.join(file.strip_prefix(&good).unwrap()), flipped).unwrap();
            let report = repair(&bad, &support::key(), &Options::default()).unwrap();
            set_aside += u32::from(report.set_aside.is_some());
            assert_eq!(missing(&bad, &what) > 0, !report.logs.is_empty(), "{what}: {report:?}");
            fs::remove_dir_all(&bad).unwrap();
        }
    }
    assert!(set_aside > 3, "nothing was damaged enough");
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let path = dir.path().join("format");
    let old = fs::read(&path).unwrap();
    let mut newer = [b"cloudpal store 2\n", &old[17..old.len() - 8]].concat();
    newer.extend(xxh3_64(&newer).to_le_bytes());
    fs::write(&path, newer).unwrap();
    let content = || files(dir.path()).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let before: Vec<(Vec<u8>, PathBuf)> = content();
    let refused = |result: Result<(), OpenError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, OpenError::Folder(FormatError::Newer { found: 2, .. })), "{error}");
        assert!(error.to_string().contains("install a newer version"));
    };
    refused(Store::open(dir.path(), &support::key(), Options::default()).map(drop));
    refused(repair(dir.path(), &support::key(), &Options::default()).map(drop));
    assert!(before == content(), "a store that cannot be read was changed");
}
