//! The bytes of LevelDB's files. Every parser here is total: any bytes give an answer or [`Damage`].

pub mod batch;
pub mod block;
pub mod edit;
pub mod key;
pub mod record;

mod input;

pub use input::Input;

use crc::{CRC_32_ISCSI, Crc, Table};

/// What is wrong with a file, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at byte {offset}")]
pub struct Damage {
    /// Bytes from the file's beginning.
    pub offset: u64,
    /// What was found there.
    pub what: &'static str,
}

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// LevelDB's checksum of some parts: CRC-32C, turned so that a checksum of checksums is a good one.
pub fn checksum(parts: &[&[u8]]) -> u32 {
    let mut digest = CRC.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Appends a number in groups of seven bits, lowest first.
pub fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes with their length in front.
pub fn push_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
