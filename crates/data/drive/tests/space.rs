//! Equal files share a content, and space comes back only when nobody uses it.
#![allow(clippy::unwrap_used)]

mod common;

use cloudpal_drive::blobs::Blobs;
use cloudpal_drive::*;
use cloudpal_log::Feed;
use common::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn equal_files_share_one_content() {
    let made = TestDrive::new(Options::default());
    let bytes = content(1, 200_000);
    made.drive.put(&path("/a"), bytes.clone(), About::default()).unwrap();
    made.drive.put(&path("/b"), bytes.clone(), About { executable: true, metadata: None }).unwrap();
    made.drive.put_file(&path("/c"), &mut std::io::Cursor::new(bytes.clone()), About::default()).unwrap();
    let mut batch = made.drive.batch();
    batch.put(&path("/d"), bytes.clone(), About::default()).unwrap();
    for name in ["/e", "/f"] {
        batch.put(&path(name), content(2, 70_000), About::default()).unwrap();
    }
    batch.put(&path("/g"), content(3, 70_000), About::default()).unwrap();
    batch.flush().unwrap();
    assert_eq!(made.blobs.length(), 4 + 2 + 2);
    for name in ["/a", "/b", "/c", "/d"] {
        assert_eq!(made.drive.get(&path(name)).unwrap().unwrap(), bytes);
    }
    assert_eq!(made.drive.get(&path("/f")).unwrap().unwrap(), content(2, 70_000));
    // One byte less, one more, one other: each is another content.
    for other in [content(1, 199_999), content(1, 200_001), [&bytes[..199_999], b"x"].concat().into()] {
        let before = made.blobs.length();
        made.drive.put(&path("/other"), other.clone(), About::default()).unwrap();
        assert_eq!(made.blobs.length(), before + 4);
        assert_eq!(made.drive.get(&path("/other")).unwrap().unwrap(), other);
    }
}

/// A drive that is opened again still knows its contents, and does not believe what it knows.
#[test]
fn contents_are_known_when_the_drive_is_opened_again() {
    let made = TestDrive::new(Options::default());
    let bytes = content(1, 200_000);
    made.drive.put(&path("/a"), bytes.clone(), About::default()).unwrap();
    let open = || {
        let (map, blobs) = (made.map.clone(), made.blobs.clone());
        TestDrive::over(map, blobs, made.manifest.clone(), Options::default()).drive
    };
    open().put(&path("/b"), bytes.clone(), About::default()).unwrap();
    assert_eq!(made.blobs.length(), 4);
    // Another device wrote over what was cut off, at the same place and as long.
    made.drive.truncate(1).unwrap();
    made.blobs.truncate(0).unwrap();
    Blobs::new(made.blobs.clone(), std::time::Duration::ZERO).put(content(2, 200_000)).unwrap();
    open().put(&path("/c"), bytes.clone(), About::default()).unwrap();
    assert_eq!(made.blobs.length(), 8);
    assert_eq!(open().get(&path("/c")).unwrap().unwrap(), bytes);
}

#[test]
fn shared_contents_are_freed_with_their_last_file() {
    let made = TestDrive::new(Options::default());
    let bytes = content(1, 200_000);
    for name in ["/a", "/b", "/c"] {
        made.drive.put(&path(name), bytes.clone(), About::default()).unwrap();
    }
    assert_eq!(made.drive.clear(&[path("/a")]).unwrap().blocks, 0);
    assert_eq!(made.drive.discard(&path("/a")).unwrap().blocks, 0);
    made.drive.del(&path("/b")).unwrap();
    assert_eq!(made.drive.get(&path("/c")).unwrap().unwrap(), bytes);
    assert_eq!(made.drive.discard(&path("/c")).unwrap(), Freed { blocks: 4, bytes: 200_000 });
    assert_eq!(made.blobs.held(), 0);
    // A content that was freed is stored again.
    made.drive.put(&path("/d"), bytes.clone(), About::default()).unwrap();
    assert_eq!(made.blobs.length(), 8);
    assert_eq!(made.drive.get(&path("/d")).unwrap().unwrap(), bytes);
    // Cleared, an entry stays and says so when it is read.
    assert_eq!(made.drive.clear(&[path("/d")]).unwrap().blocks, 4);
    assert!(matches!(made.drive.get(&path("/d")), Err(ReadError::Blob { .. })));
    let now = made.drive.now();
    assert!(!now.has(&now.entry(&path("/d")).unwrap().unwrap()).unwrap());
}

#[test]
fn versions_that_are_kept_keep_their_contents() {
    let made = TestDrive::new(Options::default());
    made.drive.put(&path("/a"), content(1, 10), About::default()).unwrap();
    let old = made.drive.now();
    made.drive.put(&path("/a"), content(2, 10), About::default()).unwrap();
    made.drive.put(&path("/a"), content(3, 10), About::default()).unwrap();
    assert_eq!(made.drive.reclaim(std::slice::from_ref(&old)).unwrap().blocks, 1);
    assert_eq!(old.get(&path("/a")).unwrap().unwrap(), content(1, 10));
    assert_eq!(made.drive.reclaim(&[]).unwrap().blocks, 1);
    assert!(old.get(&path("/a")).is_err());
    assert_eq!(made.drive.get(&path("/a")).unwrap().unwrap(), content(3, 10));
    made.drive.clone().purge().unwrap();
    assert_eq!((made.blobs.held(), made.map.held()), (0, 0));
}

/// Contents stored while others are freed are either seen in an entry or pinned.
#[test]
fn freeing_never_meets_a_content_on_its_way() {
    let made = TestDrive::new(Options::default());
    let stop = AtomicBool::new(false);
    let freed = std::thread::scope(|scope| {
        let (drive, stop) = (&made.drive, &stop);
        let reclaimer = scope.spawn(move || {
            let mut freed = 0;
            while !stop.load(Ordering::Relaxed) {
                freed += drive.reclaim(&[]).unwrap().blocks;
            }
            freed
        });
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                scope.spawn(move || {
                    let mut random = Random(writer);
                    for round in 0..150 {
                        let at = path(&format!("/{writer}"));
                        let bytes = content(random.below(3) as u32, 70_000);
                        match random.below(3) {
                            0 => {
                                let mut batch = drive.batch();
                                batch.put(&at, bytes.clone(), About::default()).unwrap();
                                batch.flush().unwrap();
                            }
                            _ => drop(drive.put(&at, bytes.clone(), About::default()).unwrap()),
                        }
                        assert_eq!(drive.get(&at).unwrap().unwrap(), bytes, "{writer} {round}");
                        if random.below(2) == 0 {
                            drive.discard(&at).unwrap();
                        }
                    }
                })
            })
            .collect();
        let done: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        stop.store(true, Ordering::Relaxed);
        done.into_iter().for_each(|writer| writer.unwrap());
        reclaimer.join().unwrap()
    });
    println!("{freed} blocks freed by the reclaimer");
    assert!(made.drive.version() > 300);
}

#[test]
fn a_batch_that_is_dropped_changes_nothing() {
    let made = TestDrive::new(Options::default());
    made.drive.put(&path("/a"), content(1, 10), About::default()).unwrap();
    let version = made.drive.version();
    let mut batch = made.drive.batch();
    batch.put_stream(&path("/b"), &mut &content(2, 100_000)[..], About::default()).unwrap();
    // Not named yet, and not freed either.
    assert_eq!(made.drive.reclaim(&[]).unwrap().blocks, 0);
    drop(batch);
    assert_eq!(made.drive.version(), version);
    assert_eq!(made.drive.reclaim(&[]).unwrap().blocks, 2);
}

/// A stream that breaks leaves no entry and no blocks.
#[test]
fn a_source_that_fails_leaves_nothing() {
    struct Failing(u64);
    impl std::io::Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            match self.0.checked_sub(buf.len() as u64) {
                Some(left) => {
                    self.0 = left;
                    buf.fill(7);
                    Ok(buf.len())
                }
                None => Err(std::io::Error::other("unplugged")),
            }
        }
    }
    let made = TestDrive::new(Options::default());
    let error = made.drive.put_stream(&path("/a"), &mut Failing(20 << 20), About::default()).unwrap_err();
    assert!(matches!(error, WriteError::Blob { .. }), "{error}");
    assert!(made.blobs.length() > 0, "it failed before anything was stored");
    assert_eq!(made.blobs.held(), 0);
    assert_eq!(made.drive.now().list(&Folder::root()).count(), 0);
}

#[test]
fn watching_tells_of_the_folder_only() {
    let made = TestDrive::new(Options::default());
    let mut watcher = made.drive.watch(&folder("/docs"));
    let none = std::time::Duration::ZERO;
    made.drive.put(&path("/other"), "x", About::default()).unwrap();
    assert!(watcher.wait(none).unwrap().is_none());
    made.drive.put(&path("/docs/a"), "x", About::default()).unwrap();
    let change = watcher.wait(none).unwrap().unwrap();
    assert!(change.current.exists(&path("/docs/a")).unwrap());
    assert!(!change.previous.exists(&path("/docs/a")).unwrap());
    assert!(watcher.wait(none).unwrap().is_none());
}
