//! The oplog file of npm hypercore 10, which may be damaged: read or refused.
#![no_main]
use cloudpal_log::{Oplog, OplogState};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = OplogState::decode(bytes);
    // A header behind a checksum that is right, so that the parser below it is reached too.
    let mut file = Vec::with_capacity(8 + bytes.len());
    let about = (bytes.len() as u32) << 2;
    file.extend_from_slice(&about.to_le_bytes());
    file.extend_from_slice(bytes);
    let sum = crc32(&file);
    let file = [&sum.to_le_bytes(), file.as_slice()].concat();
    let _ = Oplog::decode(&file);
    let _ = Oplog::decode(bytes);
});

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
