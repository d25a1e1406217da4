//! How long to wait before something is tried again.

use std::time::Duration;

/// `first`, doubled for each of `tries` but never above `most`, and up to a quarter more as `chance` has it: peers that
/// lost each other at the same moment do not all come back at the same moment.
pub(crate) fn delay(first: Duration, most: Duration, tries: u32, chance: u32) -> Duration {
    let base = first.saturating_mul(2_u32.saturating_pow(tries)).min(most);
    base + (base / 4).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// A number to spread delays by. Without randomness there is none, which delays nothing but evenly.
pub(crate) fn chance() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_or(0, |()| u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_most_and_spread_by_a_quarter() {
        let second = Duration::from_secs(1);
        let wait = |tries, chance| delay(second, second * 10, tries, chance);
        assert_eq!([wait(0, 0), wait(1, 0), wait(3, 0)], [second, second * 2, second * 8]);
        assert_eq!([wait(4, 0), wait(u32::MAX, 0)], [second * 10; 2]);
        assert_eq!(wait(u32::MAX, u32::MAX), Duration::from_millis(12_500));
    }
}
