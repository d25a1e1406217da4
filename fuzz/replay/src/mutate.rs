//! Small changes to known inputs, in an order that follows from a seed.

/// Longer inputs are cut: most of what parsers do wrong fits into less.
const LONGEST: usize = 4096;

/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xfc, 0xfd, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Makes inputs out of a corpus.
pub struct Mutator(u64);

impl Mutator {
    /// From a seed. Equal seeds give equal inputs.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next input: one of the corpus, changed a few times. Without a corpus, random bytes.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match self.below(corpus.len()) {
            _ if corpus.is_empty() || self.below(64) == 0 => self.noise(256),
            chosen => corpus[chosen].clone(),
        };
        for _ in 0..=self.below(4) {
            self.change(&mut input, corpus);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len());
        match self.below(8) {
            0 | 1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            2 if !input.is_empty() => input[at] = self.random() as u8,
            3 => {
                let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)].min(input.len() - at);
                input[at..at + width].copy_from_slice(&edge[..width]);
            }
            4 => {
                let noise = self.noise(8);
                input.splice(at..at, noise);
            }
            5 => {
                let end = at + self.below(input.len() - at + 1).min(16);
                input.drain(at..end);
            }
            6 => input.truncate(at),
            _ if !corpus.is_empty() => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                input.truncate(at);
                input.extend(&other[from..]);
            }
            _ => input.extend(self.noise(16)),
        }
    }

    fn noise(&mut self, up_to: usize) -> Vec<u8> {
        (0..self.below(up_to)).map(|_| self.random() as u8).collect()
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.random() % end as u64) as usize }
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_repeats_itself_and_changes_what_it_is_given() {
        let corpus = [vec![7; 100], vec![9; 3]];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..500).map(|_| mutator.next(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let changed = inputs(1).iter().filter(|input| !corpus.contains(input)).count();
        assert!(changed > 400, "{changed}");
        assert!(inputs(3).iter().any(|input| input.len() > 100) && inputs(3).iter().any(Vec::is_empty));
    }
}
