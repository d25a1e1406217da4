use std::time::Duration;

/// Requests that a new peer may have at a time.
const START: u32 = 64;
/// Never fewer than this, so that two messages can be on their way while one is made.
const LEAST: u32 = 16;
/// Never more than this: a proof costs its maker a few microseconds, so this is work for a few milliseconds.
const MOST: u32 = 4096;
/// How much work should wait at the peer.
const AHEAD: Duration = Duration::from_millis(150);
/// How long the rate is measured before it is used.
const BUCKET: Duration = Duration::from_millis(50);

/// How many requests a peer may have at a time: as many as it answers in [`AHEAD`], or in two round trips where
/// that is longer. A slow peer then never holds much of what a fast one could send, and a fast one never waits.
#[derive(Debug)]
pub(crate) struct Window {
    size: u32,
    /// Answers since `since`.
    answers: u32,
    since: Option<Duration>,
    shortest: Duration,
    /// Whether the window, rather than a lack of work, held requests back since `since`.
    limited: bool,
    measured: bool,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            size: START,
            answers: 0,
            since: None,
            shortest: Duration::MAX,
            limited: false,
            measured: false,
        }
    }
}

impl Window {
    /// How many requests there may be now, for blocks of about `block_bytes`.
    pub fn size(&self, block_bytes: u64) -> usize {
        // At most 64 MiB asked for at a time.
        let by_bytes = (64 << 20) / block_bytes.max(1);
        (self.size as usize).min(by_bytes.max(4) as usize)
    }

    /// The window was all that held a request back.
    pub const fn reached(&mut self) {
        self.limited = true;
    }

    /// An answer came to a request of `asked`.
    pub fn answered(&mut self, asked: Duration, now: Duration) {
        let trip = now.saturating_sub(asked);
        self.shortest = self.shortest.min(trip);
        self.answers += 1;
        let since = *self.since.get_or_insert(now);
        if !self.measured && self.size < MOST {
            self.size += 1;
        }
        let elapsed = now.saturating_sub(since);
        if elapsed < BUCKET {
            return;
        }
        if self.limited {
            let aim = AHEAD.max(self.shortest * 2);
            let goal = f64::from(self.answers) * aim.as_secs_f64() / elapsed.as_secs_f64();
            let goal = (goal as u32).clamp(LEAST, MOST);
            // Half of the way, so that one odd measure does little.
            self.size = if self.measured { self.size.midpoint(goal) } else { goal };
            self.measured = true;
        }
        (self.answers, self.since, self.limited) = (0, Some(now), false);
    }

    /// It has stopped answering: one request at a time until it goes on.
    pub const fn collapse(&mut self) {
        self.size = LEAST;
        self.measured = true;
        self.answers = 0;
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that answers `rate` requests a second after a trip of `trip`, for two seconds.
    fn settle(rate: u32, trip: Duration) -> usize {
        let mut window = Window::default();
        let mut now = Duration::from_secs(100);
        for _ in 0..2 * rate {
            let waiting = Duration::from_secs(1) / rate * window.size(100) as u32;
            now += (Duration::from_secs(1) / rate).max(trip / window.size(100) as u32);
            window.reached();
            window.answered(now.saturating_sub(trip.max(waiting)), now);
        }
        window.size(100)
    }

    #[test]
    fn a_fast_peer_gets_many_and_a_slow_one_few() {
        let ms = Duration::from_millis;
        assert!((1000..=4096).contains(&settle(100_000, ms(1))), "{}", settle(100_000, ms(1)));
        assert!((16..200).contains(&settle(200, ms(5))), "{}", settle(200, ms(5)));
        assert!(settle(20_000, ms(200)) >= 4000, "{}", settle(20_000, ms(200)));
    }

    #[test]
    fn large_blocks_narrow_it() {
        assert_eq!(Window::default().size(15 << 20), 4);
        assert_eq!(Window::default().size(65_536), START as usize);
    }
}
