//! What a drive reads from its writer: entries, names, lists of blocks, and contents found by them. Every answer or error is
//! fine; what is read is written the same again, and no path leads out.
#![no_main]
use cloudpal_drive::blobs::{BlobError, BlobReader, BlockMap, Blobs};
use cloudpal_drive::{DrivePath, Entry};
use cloudpal_log::{Feed, KeyPair, MemoryFeed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Blocks that the contents of entries may be found in; the last is a list of the others.
static BLOBS: LazyLock<Blobs> = LazyLock::new(|| {
    let feed = MemoryFeed::create(KeyPair::from_seed(&[7; 32]));
    let blocks = [vec![1; 40], vec![2; 10], vec![], vec![0, 2, 1, 10, 0, 40]];
    feed.append(&blocks.map(Into::into)).expect("memory takes blocks");
    Blobs::new(Arc::new(feed), Duration::ZERO)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::decode(bytes) {
        let again = Entry::decode(&entry.encode()).expect("what was written is read");
        assert_eq!(again, entry);
        if let Some(blob) = &entry.blob {
            let _ = BLOBS.has(blob);
            if let Ok(whole) = BLOBS.get(blob) {
                let read = |mut reader: BlobReader| -> Result<Vec<u8>, BlobError> {
                    let mut out = Vec::new();
                    reader.write_to(&mut out).map(|_| out)
                };
                assert_eq!(BLOBS.reader(blob, 0..u64::MAX).and_then(read).expect("it was read before"), whole);
            }
            let _ = BLOBS.reader(blob, 3..9).map(|mut reader| reader.write_to(&mut Vec::new()));
        }
    }
    let mut map = BlockMap::default();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let _ = map.extend(first).and_then(|()| map.extend(second)).and_then(|()| map.extend(bytes));
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(path) = DrivePath::new(text)
    {
        assert!(path.parts().all(|part| !matches!(part, "" | "." | "..")));
        assert_eq!(DrivePath::new(path.as_str()).as_ref(), Ok(&path));
        let (link, target) = text.split_at(text.floor_char_boundary(text.len() / 2));
        if let Ok(link) = DrivePath::new(link) {
            let _ = link.follow(target);
        }
    }
});
