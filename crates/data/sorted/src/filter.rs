//! Which keys a segment certainly does not have: a split block Bloom filter (as in Parquet), ten bits a key.
//!
//! A key has one block of 32 bytes and one bit in each of its eight words, so a look costs one line of the
//! processor's cache. About one key in a hundred that is not there is taken for one that may be.

use xxhash_rust::xxh3::xxh3_64;

const BLOCK: usize = 32;
const BITS_A_KEY: usize = 10;
const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// What a filter knows a key by.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Appends a filter of these hashes.
pub fn build(hashes: &[u64], out: &mut Vec<u8>) {
    let blocks = (hashes.len() * BITS_A_KEY).div_ceil(BLOCK * 8).max(1);
    let start = out.len();
    out.resize(start + blocks * BLOCK, 0);
    let filter = &mut out[start..];
    for &hash in hashes {
        let at = block(hash, blocks) * BLOCK;
        for (byte, bit) in bits(hash) {
            filter[at + byte] |= bit;
        }
    }
}

/// Whether bytes may be a filter at all.
pub fn is_one(filter: &[u8]) -> bool {
    !filter.is_empty() && filter.len().is_multiple_of(BLOCK)
}

/// Whether the key may be there. Yes, of what is no filter.
pub fn may_have(filter: &[u8], hash: u64) -> bool {
    let at = block(hash, filter.len() / BLOCK) * BLOCK;
    let Some(block) = filter.get(at..at + BLOCK) else { return true };
    bits(hash).all(|(byte, bit)| block[byte] & bit != 0)
}

fn block(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// A byte of the block and the bit in it, for each word.
fn bits(hash: u64) -> impl Iterator<Item = (usize, u8)> {
    SALT.into_iter().enumerate().map(move |(word, salt)| {
        let bit = (hash as u32).wrapping_mul(salt) >> 27;
        (word * 4 + (bit / 8) as usize, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_denied_and_few_others_are_let_through() {
        let key = |i: u32| hash(&i.to_be_bytes());
        for count in [0, 1, 100, 20_000] {
            let mut filter = Vec::new();
            build(&(0..count).map(key).collect::<Vec<_>>(), &mut filter);
            assert!(is_one(&filter));
            assert!((0..count).all(|i| may_have(&filter, key(i))));
            let wrong = (1 << 20..(1 << 20) + 100_000).filter(|&i| may_have(&filter, key(i))).count();
            assert!(wrong < 2_000, "{wrong} of 100,000 with {count} keys");
        }
        assert!(may_have(&[], 7) && !is_one(&[]) && !is_one(&[0; 33]));
    }
}
