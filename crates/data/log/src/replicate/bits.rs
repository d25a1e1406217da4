use std::collections::BTreeMap;

/// Bits in a page: 4 KiB.
const PAGE: u64 = 32_768;
const WORDS: usize = (PAGE / 64) as usize;

/// A set of numbers with room for all of them: a bit each, in pages that exist only where a bit is set. Peers choose
/// what is set in some of these, so a set has a limit of pages; past it numbers are not taken, which costs a repeated
/// question and never a wrong answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits {
    pages: BTreeMap<u64, Page>,
}

#[derive(Debug, Clone)]
struct Page {
    words: Box<[u64; WORDS]>,
    /// How many are set.
    count: u32,
}

/// 16 MiB of bits: 134 million numbers.
const MAX_PAGES: usize = 4096;

impl Bits {
    pub fn get(&self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        self.pages.get(&page).is_some_and(|page| page.words[word] & bit != 0)
    }

    /// Returns whether it was taken and had not been there.
    pub fn insert(&mut self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        let Some(page) = self.page_mut(page) else { return false };
        let fresh = page.words[word] & bit == 0;
        page.words[word] |= bit;
        page.count += u32::from(fresh);
        fresh
    }

    pub fn remove(&mut self, number: u64) {
        let (number, word, bit) = place(number);
        let Some(page) = self.pages.get_mut(&number) else { return };
        page.count -= u32::from(page.words[word] & bit != 0);
        page.words[word] &= !bit;
        self.tidy(number);
    }

    pub fn clear(&mut self) {
        self.pages.clear();
    }

    /// Sets or clears all of `start..end`.
    pub fn fill(&mut self, start: u64, end: u64, set: Fill) {
        let mut at = start;
        while at < end {
            let number = at / PAGE;
            if set == Fill::Clear && !self.pages.contains_key(&number) {
                // Nothing lies between here and the next page that exists.
                let Some((next, _)) = self.pages.range(number..).next() else { return };
                at = next * PAGE;
                continue;
            }
            let stop = end.min((number + 1) * PAGE);
            let (from, to) = ((at % PAGE) as usize, (stop - number * PAGE) as usize);
            let Some(page) = self.page_mut(number) else { return };
            each_mask(from, to, |word, mask| {
                let word = &mut page.words[word];
                *word = if set == Fill::Set { *word | mask } else { *word & !mask };
            });
            page.recount();
            self.tidy(number);
            at = stop;
        }
    }

    /// Replaces the 32 bits from `start`, a multiple of 32.
    pub fn put_word(&mut self, start: u64, bits: u32) {
        let (number, word, _) = place(start);
        if bits == 0 && !self.pages.contains_key(&number) {
            return;
        }
        if let Some(page) = self.page_mut(number) {
            let shift = start & 32;
            let old = page.words[word];
            let new = old & !(0xffff_ffff << shift) | u64::from(bits) << shift;
            page.words[word] = new;
            page.count = page.count + new.count_ones() - old.count_ones();
        }
        self.tidy(number);
    }

    /// The first number at or after `from` that is set.
    pub fn next_set(&self, from: u64) -> Option<u64> {
        let (first, ..) = place(from);
        for (number, page) in self.pages.range(first..) {
            let start = if *number == first { from % PAGE } else { 0 };
            if let Some(found) = scan(start, |word| page.words[word]) {
                return Some(number * PAGE + found);
            }
        }
        None
    }

    /// The first number at or after `from` that is not set.
    pub fn next_clear(&self, from: u64) -> u64 {
        let mut at = from;
        loop {
            let (number, ..) = place(at);
            let Some(page) = self.pages.get(&number) else { return at };
            match scan(at % PAGE, |word| !page.words[word]) {
                Some(found) => return number * PAGE + found,
                None => at = (number + 1) * PAGE,
            }
        }
    }

    fn page_mut(&mut self, number: u64) -> Option<&mut Page> {
        if self.pages.len() >= MAX_PAGES && !self.pages.contains_key(&number) {
            return None;
        }
        Some(self.pages.entry(number).or_insert_with(|| Page { words: Box::new([0; WORDS]), count: 0 }))
    }

    /// Lets a page go that holds nothing.
    fn tidy(&mut self, number: u64) {
        if self.pages.get(&number).is_some_and(|page| page.count == 0) {
            self.pages.remove(&number);
        }
    }
}

impl Page {
    fn recount(&mut self) {
        self.count = self.words.iter().map(|word| word.count_ones()).sum();
    }
}

/// What to do with a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Set,
    Clear,
}

const fn place(number: u64) -> (u64, usize, u64) {
    let within = number % PAGE;
    (number / PAGE, (within / 64) as usize, 1 << (within % 64))
}

/// Calls `apply` with each word that `from..to` touches and the mask of its bits.
fn each_mask(from: usize, to: usize, mut apply: impl FnMut(usize, u64)) {
    let mut at = from;
    while at < to {
        let word = at / 64;
        let stop = to.min((word + 1) * 64);
        let ones = stop - at;
        let mask = if ones == 64 { u64::MAX } else { ((1 << ones) - 1) << (at % 64) };
        apply(word, mask);
        at = stop;
    }
}

/// The first set bit at or after `start` within a page.
fn scan(start: u64, word: impl Fn(usize) -> u64) -> Option<u64> {
    let first = (start / 64) as usize;
    let mut bits = word(first) & (u64::MAX << (start % 64));
    for at in first..WORDS {
        if at > first {
            bits = word(at);
        }
        if bits != 0 {
            return Some(at as u64 * 64 + u64::from(bits.trailing_zeros()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A small generator, so that a failing run can be had again by its seed.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn it_agrees_with_a_set_of_numbers() {
        for seed in 1..20 {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for _ in 0..400 {
                let at = next(&mut state) % (PAGE * 3);
                let end = at + next(&mut state) % [3, 70, 40_000][(at % 3) as usize];
                match next(&mut state) % 5 {
                    0 => assert_eq!(bits.insert(at), model.insert(at)),
                    1 => {
                        bits.remove(at);
                        model.remove(&at);
                    }
                    2 => {
                        bits.fill(at, end, Fill::Set);
                        model.extend(at..end);
                    }
                    3 => {
                        bits.fill(at, end, Fill::Clear);
                        model.retain(|number| !(at..end).contains(number));
                    }
                    _ => {
                        let (start, word) = (at / 32 * 32, next(&mut state) as u32);
                        bits.put_word(start, word);
                        model.retain(|number| !(start..start + 32).contains(number));
                        model.extend((0..32).filter(|bit| word >> bit & 1 == 1).map(|bit| start + bit));
                    }
                }
                let probe = next(&mut state) % (PAGE * 4);
                assert_eq!(bits.get(probe), model.contains(&probe), "seed {seed}");
                assert_eq!(bits.next_set(probe), model.range(probe..).next().copied(), "seed {seed}");
                let clear = (probe..).find(|number| !model.contains(number)).unwrap();
                assert_eq!(bits.next_clear(probe), clear, "seed {seed}");
            }
        }
    }
}
