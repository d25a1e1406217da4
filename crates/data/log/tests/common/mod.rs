//! Shared by the tests that run random programs.

/// Random numbers from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Blocks for one append.
    pub fn blocks(&mut self, most: u64) -> Vec<bytes::Bytes> {
        (0..1 + self.below(most))
            .map(|_| {
                let byte = self.next() as u8;
                vec![byte; self.below(40) as usize].into()
            })
            .collect()
    }
}

/// Seeds of a short run: the fixed ones, the one in `SEED`, or as many as `SEEDS` says.
pub fn seeds(count: u64) -> Vec<u64> {
    let number =
        |name| std::env::var(name).ok().map(|text| text.parse().expect("a number in the environment"));
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(count)).collect(),
    }
}
