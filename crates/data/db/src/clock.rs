//! The hybrid logical clock: wall time where clocks agree, order of causes where they do not.
//!
//! Formula: Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in Globally Distributed Databases" (2014).

use cloudpal_log::codec::{CodecError, MAX_UINT, Reader, Write};

/// How far ahead of the clock here a stamp may be to be taken in, in milliseconds. What is further ahead waits.
pub const PATIENCE_MS: u64 = 5 * 60 * 1000;

/// When something was written, by its writer's account. Orders writes that knew nothing of each other; equal ones are
/// ordered by their writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Milliseconds since 1970, at least those of everything the writer had seen.
    pub wall_ms: u64,
    /// Counts what happened within one millisecond.
    pub counter: u64,
}

impl Stamp {
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.uint(self.wall_ms);
        out.uint(self.counter);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Stamp { wall_ms: reader.uint()?, counter: reader.uint()? })
    }

    /// Whether it is too far ahead of `now_ms` to be taken in.
    pub(crate) const fn is_ahead(self, now_ms: u64) -> bool {
        self.wall_ms > now_ms.saturating_add(PATIENCE_MS)
    }
}

/// What this replica's next stamp must be later than.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Clock(pub Stamp);

impl Clock {
    /// Takes in a stamp that was seen.
    pub fn see(&mut self, stamp: Stamp) {
        self.0 = self.0.max(stamp);
    }

    /// A stamp later than all that were seen, and no earlier than `now_ms`.
    pub fn next(&self, now_ms: u64) -> Stamp {
        if now_ms > self.0.wall_ms {
            Stamp { wall_ms: now_ms, counter: 0 }
        } else if self.0.counter < MAX_UINT {
            Stamp { wall_ms: self.0.wall_ms, counter: self.0.counter + 1 }
        } else {
            // Only somebody who makes stamps up gets a counter there.
            Stamp { wall_ms: self.0.wall_ms + 1, counter: 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_than_everything_seen_even_when_the_clock_goes_back() {
        let mut clock = Clock::default();
        clock.see(clock.next(1000));
        let seen = Stamp { wall_ms: 5000, counter: 7 };
        clock.see(seen);
        let next = clock.next(900);
        assert!(next > seen);
        assert_eq!(next, Stamp { wall_ms: 5000, counter: 8 });
        assert_eq!(clock.next(6000), Stamp { wall_ms: 6000, counter: 0 });
        clock.see(Stamp { wall_ms: 7000, counter: MAX_UINT });
        assert_eq!(clock.next(6000), Stamp { wall_ms: 7001, counter: 0 });
    }
}
