//! What lies in a log of checkpoints: blocks, the contents that their pieces make, and what is readable without a key.
#![no_main]
use bytes::Bytes;
use cloudpal_db::wire::{CheckpointBlock, Chunk, EpochKey, Item, Items, What};
use cloudpal_db::{Standing, WriterId};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = Bytes::copy_from_slice(bytes);
    let (log, key) = (WriterId([2; 32]), EpochKey(cloudpal_core::Secret::new([1; 32])));
    if let Ok(block) = CheckpointBlock::decode(&whole) {
        assert_eq!(CheckpointBlock::decode(&block.encode()).as_ref(), Ok(&block));
        match &block.what {
            // Nobody sealed it.
            What::Chunk(chunk) => assert_eq!(chunk.open(&key, &log, 3), None),
            What::Standing(bytes) => look_at(bytes),
            What::Tail(tail) => assert!(tail.standing <= block.back),
        }
    }
    look_at(bytes);
    let sealed = Chunk::seal(bytes.to_vec(), (key.id(0), &key), &log, 3, [4; 24]);
    assert_eq!(sealed.open(&key, &log, 3).as_deref(), Some(bytes));
    assert_eq!(sealed.open(&key, &log, 4), None);

    // However the stream is cut, the same comes out of it.
    let cut = bytes.first().map_or(0, |first| usize::from(*first) % (bytes.len() + 1));
    assert_eq!(items(&[bytes]), items(&[&bytes[..cut], &bytes[cut..]]));
});

fn items(pieces: &[&[u8]]) -> (Vec<Item>, bool) {
    let (mut items, mut found) = (Items::default(), Vec::new());
    for piece in pieces {
        items.add(piece);
        loop {
            match items.take() {
                Ok(Some(item)) => found.push(item),
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
    }
    (found, items.is_empty())
}

fn look_at(bytes: &[u8]) {
    if let Some(standing) = Standing::decode(bytes) {
        let _ = (standing.heads(), standing.base());
        for (signed, places) in standing.places() {
            let _ = (signed.verify(), places.len());
        }
    }
}
