//! Chance that comes back: the same seed rolls the same.

/// A generator of one case (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Rolls that depend on `seed` only.
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// Any 64 bits.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..end`; 0 when that is empty.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any().checked_rem(end).unwrap_or(0)
    }

    /// One of `from..=to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// A seed for [`crate::content::Content`].
    pub fn seed(&mut self) -> u32 {
        self.any() as u32
    }

    /// 32 bytes in hex.
    pub fn key(&mut self) -> String {
        let bytes: Vec<u8> = (0..4).flat_map(|_| self.any().to_le_bytes()).collect();
        hex::encode(bytes)
    }
}
