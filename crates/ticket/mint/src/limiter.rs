//! Slows down whoever guesses vouchers, one address at a time; right codes are never slowed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
const WRONG_PER_WINDOW: u32 = 20;
// Beyond this many addresses in a minute the table starts over: memory stays bounded, and 128 bits
// cannot be guessed in any case.
const MAX_ADDRESSES: usize = 4_096;

/// Counts wrong codes.
#[derive(Debug)]
pub(crate) struct Limiter {
    window: Mutex<(Instant, HashMap<IpAddr, u32>)>,
}

impl Limiter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { window: Mutex::new((now, HashMap::new())) }
    }

    /// Whether `from` may try at `now`.
    pub(crate) fn allows(&self, from: IpAddr, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(window.0) >= WINDOW {
            *window = (now, HashMap::new());
        }
        window.1.get(&from).is_none_or(|wrong| *wrong < WRONG_PER_WINDOW)
    }

    /// Notes that `from` tried a wrong code.
    pub(crate) fn wrong(&self, from: IpAddr) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.1.len() >= MAX_ADDRESSES {
            window.1.clear();
        }
        *window.1.entry(from).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_wrong_codes_a_minute_and_others_unaffected() {
        let start = Instant::now();
        let limiter = Limiter::new(start);
        let (guesser, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..WRONG_PER_WINDOW {
            assert!(limiter.allows(guesser, start));
            limiter.wrong(guesser);
        }
        assert!(!limiter.allows(guesser, start));
        assert!(limiter.allows(other, start));
        assert!(limiter.allows(guesser, start + WINDOW));
    }
}
