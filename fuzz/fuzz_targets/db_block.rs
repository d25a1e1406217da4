//! Blocks of a writer's log: each is read or refused, and what is read is written back so that it reads the same.
#![no_main]
use bytes::Bytes;
use cloudpal_db::wire::{Block, EpochKey};
use cloudpal_db::{WriterId, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = Bytes::copy_from_slice(bytes);
    let Ok(block) = Block::decode(&whole) else { return };
    assert_eq!(Block::decode(&block.encode()).as_ref(), Ok(&block));
    let key = EpochKey(cloudpal_core::Secret::new([1; 32]));
    let writer = WriterId([2; 32]);
    match block {
        // Nobody sealed it.
        Block::Part(part) => assert_eq!(part.open(&key, &writer, 3), None),
        Block::Records(records) => records.iter().for_each(|record| {
            record.verify();
            record.digest();
        }),
        Block::Header(_) => {}
    }
    let sealed = wire::parts(bytes, key.id(0), &key, &writer, 3, &mut || [4; 24]);
    for (position, block) in (3..).zip(sealed) {
        let Ok(Block::Part(part)) = Block::decode(&block) else { panic!("a part is one") };
        assert_eq!(part.open(&key, &writer, position).as_deref(), Some(bytes));
        assert_eq!(part.open(&key, &writer, position + 1), None);
    }
});
