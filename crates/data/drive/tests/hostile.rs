//! Entries that lie: each read of one is an error, never a panic, a wrong answer or a great deal of memory.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use cloudpal_drive::*;
use cloudpal_log::Feed;
use cloudpal_log::codec::Write;
use common::*;
use std::time::Duration;

fn raw(made: &TestDrive, name: &str, blob: &str) {
    let value = format!(r#"{{"executable":false,"linkname":null,"blob":{blob},"metadata":null}}"#);
    let map = cloudpal_bee::Bee::new(made.map.clone(), Default::default()).sub("files");
    map.put(name, value).unwrap();
}

fn blob(block_offset: u64, byte_offset: u64, block_length: u64, byte_length: u64) -> String {
    format!(
        r#"{{"blockOffset":{block_offset},"byteOffset":{byte_offset},"blockLength":{block_length},"byteLength":{byte_length}}}"#
    )
}

/// The blob log: one block of 65,536, one of 10, one of 65,536, one empty.
fn made() -> TestDrive {
    let made = TestDrive::new(Options { wait: Duration::ZERO, ..Options::default() });
    made.drive.put(&path("/a"), content(1, 65_546), About::default()).unwrap();
    made.drive.put(&path("/b"), content(2, 65_536), About::default()).unwrap();
    made.blobs.append(&[Bytes::new()]).unwrap();
    made
}

#[test]
fn blobs_that_lie_are_errors() {
    let made = made();
    let most = (1_u64 << 53) - 1;
    let mut lies = 0;
    for (name, blob) in [
        ("past the end", blob(0, 0, 5, 65_546)),
        ("far past the end", blob(most - 1, 0, 1, 1)),
        ("longest", blob(0, 0, most, most)),
        ("longer than its blocks", blob(0, 0, 2, 65_547)),
        ("shorter than its blocks", blob(0, 0, 2, 65_545)),
        ("whole blocks too many", blob(0, 0, 3, 65_546)),
        ("no bytes but blocks", blob(0, 0, 1, 0)),
        ("bytes but no blocks", blob(0, 0, 0, 1)),
        ("huge", blob(0, 0, 2, most)),
    ] {
        raw(&made, "/lie", &blob);
        let now = made.drive.now();
        let file = now.entry(&path("/lie")).unwrap().unwrap();
        assert!(matches!(now.content(&file), Err(ReadError::Blob { .. })), "{name}");
        let read = |range| {
            now.read(&file, range)?
                .write_to(&mut Vec::new())
                .map_err(|_| ReadError::Missing { path: name.into() })
        };
        assert!(read(0..u64::MAX).is_err(), "{name}");
        for start in [0, 1, 65_536, 70_000, most, u64::MAX] {
            // Anything but a panic.
            let _ = read(start..u64::MAX);
            let _ = read(start..start.saturating_add(3));
        }
        let _ = now.has(&file);
        let _ = now.prefetch(&Folder::root());
        lies += 1;
    }
    assert_eq!(lies, 9);
    // An empty block in the end is no lie: a JS stream may have written one.
    raw(&made, "/true", &blob(2, 65_546, 2, 65_536));
    assert_eq!(made.drive.get(&path("/true")).unwrap().unwrap(), content(2, 65_536));
}

#[test]
fn ranges_do_not_leave_the_content() {
    let made = made();
    // The byte offset is that of another content.
    raw(&made, "/lie", &blob(0, 65_546, 2, 65_546));
    let now = made.drive.now();
    let file = now.entry(&path("/lie")).unwrap().unwrap();
    assert!(now.read(&file, 1..9).is_err());
    let mut all = Vec::new();
    made.drive.read(&path("/a"), 65_530..u64::MAX).unwrap().write_to(&mut all).unwrap();
    assert_eq!(all, content(1, 65_546)[65_530..]);
}

#[test]
fn lists_of_blocks_that_lie_are_errors() {
    let map = |items: &[(u64, u64)]| {
        let mut bytes = vec![0];
        bytes.uint(items.len() as u64);
        for (index, length) in items {
            bytes.uint(*index);
            bytes.uint(*length);
        }
        bytes
    };
    let most = (1_u64 << 53) - 1;
    let mut count = Vec::from([0]);
    count.uint(most);
    for (what, block) in [
        ("nothing", Vec::new()),
        ("another version", vec![1, 0]),
        ("a count without items", count),
        ("a block past the end", map(&[(99, 1)])),
        ("a block at the end of numbers", map(&[(most, 1)])),
        ("another length", map(&[(1, 11)])),
        ("lengths that overflow", map(&[(0, most), (1, most), (2, most)])),
    ] {
        let made = made();
        let at = made.blobs.append(&[block.into()]).unwrap();
        raw(&made, "/lie", &blob(at, 131_082, 1, 2).replace('}', r#","blockMap":true}"#));
        let now = made.drive.now();
        let file = now.entry(&path("/lie")).unwrap().unwrap();
        assert!(now.content(&file).is_err(), "{what}");
        for range in [0..5, 5..70_000, most..u64::MAX] {
            let _ = now.read(&file, range).map(|mut reader| reader.write_to(&mut Vec::new()));
        }
        let _ = now.has(&file);
        // Whatever it says, freeing it must not reach the others.
        made.drive.discard(&path("/lie")).unwrap();
        assert_eq!(made.drive.get(&path("/a")).unwrap().unwrap(), content(1, 65_546), "{what}");
        assert_eq!(made.drive.get(&path("/b")).unwrap().unwrap(), content(2, 65_536), "{what}");
    }
    let made = made();
    raw(&made, "/long", &blob(0, 0, 65, 9).replace('}', r#","blockMap":true}"#));
    assert!(made.drive.get(&path("/long")).is_err());
}

#[test]
fn one_faulty_entry_hides_no_other() {
    let made = made();
    let map = cloudpal_bee::Bee::new(made.map.clone(), Default::default()).sub("files");
    map.put("/a1", "{").unwrap();
    map.put("/a2", "").unwrap();
    map.put_null("/a3").unwrap();
    map.put(b"/a4\xff", "{}").unwrap();
    map.put("/x//y", "{}").unwrap();
    map.put("//y", "{}").unwrap();
    map.put("stray", "{}").unwrap();
    let now = made.drive.now();
    let listed: Vec<_> = now.list(&Folder::root()).collect();
    let names: Vec<_> = listed.iter().flatten().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["/a", "/b"]);
    assert_eq!(listed.len(), 8);
    let children: Vec<_> = now.children(&Folder::root()).collect();
    assert_eq!(children.iter().flatten().map(Child::name).collect::<Vec<_>>(), ["a", "b", "x"]);
    assert!(now.entry(&path("/a1")).is_err());
    assert_eq!(now.blobs_length().unwrap(), 3);
    assert_eq!(now.diff(&made.drive.checkout(1).unwrap(), &Folder::root()).filter(Result::is_ok).count(), 2);
    // Space is found again all the same.
    made.drive.discard(&path("/a")).unwrap();
    assert_eq!(made.drive.get(&path("/b")).unwrap().unwrap(), content(2, 65_536));
}

#[test]
fn links_in_circles_end() {
    let made = TestDrive::new(Options::default());
    for (at, target) in
        [("/self", "self"), ("/a/x", "../b/x"), ("/b/x", "../a/x"), ("/up", ".."), ("/above", "../..")]
    {
        made.drive.symlink(&path(at), target, None).unwrap();
    }
    let now = made.drive.now();
    for name in ["/self", "/a/x", "/b/x", "/up", "/above"] {
        assert!(matches!(now.follow(&path(name)), Err(ReadError::Link { .. }) | Ok(None)), "{name}");
    }
    // Sixteen in a row are followed, as in JS; one more is too many.
    made.drive.put(&path("/end"), "end", About::default()).unwrap();
    for number in 0..17 {
        let target = if number == 0 { "end".into() } else { format!("chain{}", number - 1) };
        made.drive.symlink(&path(&format!("/chain{number}")), &target, None).unwrap();
    }
    let now = made.drive.now();
    assert_eq!(now.follow(&path("/chain14")).unwrap().unwrap().path, path("/end"));
    assert!(now.follow(&path("/chain16")).is_err());
}

/// A reader gets the entry before the content: it waits, and no longer than it was told.
#[test]
fn a_content_that_comes_later_is_waited_for() {
    let writer = made();
    let late = TestFeed::new([2; 32]);
    let options = Options { wait: Duration::from_secs(60), ..Options::default() };
    let reader = TestDrive::over(writer.map.reader(), late.reader(), writer.manifest.clone(), options);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.drive.get(&path("/b")).unwrap().unwrap());
        for block in writer.blobs.blocks() {
            late.append(&[block.unwrap()]).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), content(2, 65_536));
    });
    let options = Options { wait: Duration::from_millis(5), ..Options::default() };
    let reader =
        TestDrive::over(writer.map.reader(), TestFeed::new([3; 32]).reader(), writer.manifest, options);
    assert!(matches!(reader.drive.get(&path("/b")), Err(ReadError::Blob { .. })));
}

/// A reader may hold other blocks of the map before the first, or nothing at all.
#[test]
fn a_drive_opens_before_its_beginning_is_here() {
    let writer = made();
    let map = TestFeed::new(writer.map.key);
    let open = |map: &TestFeed, logs: &TestLogs| {
        Drive::open(map.reader(), logs.clone(), Options::default()).unwrap()
    };
    let unknown = TestLogs::new(None, writer.blobs.clone());
    assert!(matches!(open(&map, &unknown).blobs(), Err(OpenError::Unknown)));
    for block in writer.map.blocks() {
        map.append(&[block.unwrap()]).unwrap();
    }
    let known = TestLogs::new(Some(writer.manifest.clone()), writer.blobs.clone());
    assert_eq!(open(&map, &known).get(&path("/b")).unwrap().unwrap(), content(2, 65_536));
    assert!(matches!(open(&map, &unknown).blobs(), Err(OpenError::Unknown)));
    map.clear(0..1).unwrap();
    let drive = open(&map, &known);
    assert!(known.asked.lock().unwrap().len() == 1, "the blob log was opened without the header");
    assert!(matches!(drive.blobs(), Err(OpenError::Header(_))));
}

/// Bytes with no sense, and sound entries with bytes changed: an answer or an error.
#[test]
fn random_bytes_are_read_or_refused() {
    let sound = br#"{"executable":true,"linkname":"a","blob":{"blockOffset":1,"byteOffset":2,"blockLength":3,"byteLength":4},"metadata":{"a":[1]}}"#;
    let mut random = Random(1);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = sound.to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        if let Ok(entry) = Entry::decode(&bytes) {
            assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
            read += 1;
        }
    }
    assert!(read > 100);
}
