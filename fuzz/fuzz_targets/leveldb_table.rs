//! Tables of LevelDB: whatever their blocks hold, a walk ends, its keys rise, or it is refused.
#![no_main]
use cloudpal_leveldb::format::block::{TRAILER, seal};
use cloudpal_leveldb::format::{key, push_varint};
use cloudpal_leveldb::{Table, TableFault};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = walk(bytes);
    // Few inputs have right checksums, so here they are made right: a block of entries and its index.
    let (entries, index) = bytes.split_at(bytes.len() / 2);
    let _ = walk(&table(entries, index));
    let mut one = vec![0, 0];
    let (size, mut handle) = (seal(bytes).len() - TRAILER, vec![0]);
    push_varint(&mut handle, size as u64);
    one.push(handle.len() as u8);
    one.extend(handle);
    one.extend([0, 0, 0, 0]);
    let _ = walk(&table(bytes, &one));
});

fn walk(table: &[u8]) -> Result<(), TableFault> {
    let mut cursor = Table::open(table)?.cursor();
    let mut last: Option<Vec<u8>> = None;
    while cursor.advance()? {
        let now = cursor.key().to_vec();
        if let (Some(before), Some(now)) = (last.as_deref().and_then(key::split), key::split(&now)) {
            assert!(key::order(before, now).is_lt());
        }
        last = Some(now);
    }
    Ok(())
}

fn table(entries: &[u8], index: &[u8]) -> Vec<u8> {
    let (mut file, mut footer) = (Vec::new(), Vec::new());
    let blocks = [entries, &[0; 4], index].map(seal);
    for (at, block) in blocks.iter().enumerate() {
        if at > 0 {
            push_varint(&mut footer, file.len() as u64);
            push_varint(&mut footer, (block.len() - TRAILER) as u64);
        }
        file.extend_from_slice(block);
    }
    footer.resize(40, 0);
    footer.extend_from_slice(&0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    file.extend(footer);
    file
}
