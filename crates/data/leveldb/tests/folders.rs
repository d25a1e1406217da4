//! Folders as LevelDB leaves them, damaged ones, and our own.
#![allow(clippy::unwrap_used, reason = "a test stops there, and says where")]

use cloudpal_leveldb::{Folder, OpenError, ReadError, WriteError, Writer};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn read(path: &Path) -> Result<Entries, OpenError> {
    let mut entries = Entries::new();
    Folder::open(path)?.visit(&mut |key, value| {
        assert!(entries.last_key_value().is_none_or(|(last, _)| &last[..] < key), "keys rise");
        entries.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}

/// What npm's classic-level 3.0.0 wrote: a table of one session, the log of a second one that was killed.
fn killed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/killed")
}

/// And what its program had put.
fn put() -> Entries {
    let same = "the same value again and again ".repeat(6);
    let mut entries: Entries =
        (0..40).map(|at| (format!("key {at:02}").into(), same.clone().into_bytes())).collect();
    for (key, value) in [
        (&b""[..], &b"at the empty key"[..]),
        (&[0], b"zero"),
        (&[0, 0], b""),
        (&[255, 0, 254], &[0, 1, 2]),
        (b"key 08", b"newer"),
        (b"key 09", b"newest"),
        (b"long", &[7; 40_000]),
    ] {
        entries.insert(key.to_vec(), value.to_vec());
    }
    entries.remove(&b"key 07"[..]);
    entries
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_folder_whose_program_was_killed_is_read_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    copy(&killed(), &path);
    let before = files(&path);
    assert_eq!(read(&path).unwrap(), put());
    assert_eq!(files(&path), before);
    fs::remove_file(path.join("LOCK")).unwrap();
    assert_eq!(read(&path).unwrap(), put(), "a copy may lack the lock");
    assert!(!path.join("LOCK").exists());
}

fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let changed = fs::metadata(&path).unwrap().modified().unwrap();
            (path.clone(), fs::read(path).unwrap(), changed)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn no_flipped_bit_passes_unseen() {
    let dir = tempfile::tempdir().unwrap();
    copy(&killed(), dir.path());
    // Of the log, its first records and those at its end; in between there is one long value.
    let parts = [
        ("CURRENT", 0..usize::MAX),
        ("MANIFEST-000004", 0..usize::MAX),
        ("000005.ldb", 0..usize::MAX),
        ("000006.log", 0..300),
        ("000006.log", 32_700..32_900),
    ];
    let (mut noticed, mut cut) = (0, 0);
    for (name, range) in parts {
        let file = dir.path().join(name);
        let whole = fs::read(&file).unwrap();
        for at in range.start..range.end.min(whole.len()) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&file, &flipped).unwrap();
            let unfinished = || !Folder::open(dir.path()).unwrap().unfinished().is_empty();
            match read(dir.path()) {
                Err(OpenError::Read(ReadError::Damaged { file: named, source })) => {
                    // An index that points elsewhere is told by where it points.
                    let is_near = source.offset <= at as u64 || name == "000005.ldb";
                    assert!(named == file && is_near, "{name} {at}: {named:?} {source}");
                    noticed += 1;
                }
                // Another MANIFEST, a table that is not there, or a manifest that ends early.
                Err(error) => assert!(matches!(error, OpenError::Read(ReadError::Io { .. })), "{error:?}"),
                // A length that reaches behind the end is what a crash leaves, too; it is told.
                Ok(entries) if name != "000005.ldb" && unfinished() => {
                    assert!(
                        entries
                            .iter()
                            .all(|(key, value)| put().get(key) == Some(value) || key.starts_with(b"key"))
                    );
                    cut += 1;
                }
                // Nothing is read from the gap in the footer.
                Ok(entries) => {
                    assert_eq!(entries, put());
                    assert!(name == "000005.ldb" && at > whole.len() - 48, "{name} {at}");
                }
            }
        }
        fs::write(&file, &whole).unwrap();
    }
    assert!(noticed > 1000 && cut < 20, "{noticed} noticed, {cut} as if cut off");
}

#[test]
fn a_table_that_is_shorter_or_gone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    copy(&killed(), dir.path());
    let table = dir.path().join("000005.ldb");
    let whole = fs::read(&table).unwrap();
    fs::write(&table, &whole[..whole.len() - 1]).unwrap();
    let error = read(dir.path()).unwrap_err();
    assert!(
        matches!(&error, OpenError::Read(ReadError::Damaged { file, .. }) if *file == table),
        "{error:?}"
    );
    fs::remove_file(&table).unwrap();
    let error = read(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::Read(ReadError::Io { file, .. }) if *file == table), "{error:?}");
}

#[test]
fn the_end_of_a_log_that_was_cut_off_is_told() {
    let dir = tempfile::tempdir().unwrap();
    copy(&killed(), dir.path());
    let log = dir.path().join("000006.log");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 5000]).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let [unfinished] = folder.unfinished() else { panic!("{:?}", folder.unfinished()) };
    assert_eq!((&unfinished.file, unfinished.offset + unfinished.bytes), (&log, whole.len() as u64 - 5000));
    let mut left = put();
    left.remove(&b"long"[..]);
    assert_eq!(read(dir.path()).unwrap(), left);
}

#[test]
fn what_is_no_leveldb_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read(dir.path()), Err(OpenError::Missing(_))));
    assert!(matches!(read(&dir.path().join("nowhere")), Err(OpenError::Missing(_))));
}

#[test]
fn what_is_written_comes_back_over_many_tables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    // Bytes that hardly pack.
    let mut state = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    let mut entries: Entries =
        (0..60_000_u32).map(|at| (at.to_be_bytes().to_vec(), noise(at as usize % 100))).collect();
    entries.insert(vec![], vec![]);
    // Larger than a table.
    entries.insert(b"large".to_vec(), noise(3_000_000));
    let mut writer = Writer::create(&path).unwrap();
    entries.iter().for_each(|(key, value)| writer.put(key, value).unwrap());
    assert!(!path.exists(), "it is there when it is whole");
    let written = writer.finish().unwrap();
    assert_eq!(written.keys, entries.len() as u64);
    assert!(written.tables > 1, "{written:?}");
    assert_eq!(read(&path).unwrap(), entries);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_empty_folder_is_one_too() {
    let dir = tempfile::tempdir().unwrap();
    let written = Writer::create(dir.path()).unwrap().finish().unwrap();
    assert_eq!((written.keys, written.tables), (0, 0));
    assert_eq!(read(dir.path()).unwrap(), Entries::new());
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing_and_nothing_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    let mut writer = Writer::create(&path).unwrap();
    writer.put(b"b", b"").unwrap();
    assert!(matches!(writer.put(b"b", b""), Err(WriteError::Order)));
    assert!(matches!(writer.put(b"a", b""), Err(WriteError::Order)));
    assert!(matches!(Writer::create(&path), Err(WriteError::Leftover(_))));
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    Writer::create(&path).unwrap().finish().unwrap();
    assert!(matches!(Writer::create(&path), Err(WriteError::Exists(_))));
}
