//! When the pal has nothing to do: no inner packet and no handshake for a while. Keepalives do not count.

/// Is told every second what WireGuard has received; says when to tell the host.
#[derive(Debug)]
pub struct Idle {
    limit_s: u64,
    seen: u64,
    since_s: u64,
    told_s: u64,
}

/// The host is told from here on, in seconds without traffic.
const FIRST_S: u64 = 10;
/// And then this often.
const EVERY_S: u64 = 5;

impl Idle {
    /// Starts counting at `now_s`, seconds on a clock that only moves forward. `limit_s` is when the host
    /// wants to know at once.
    pub fn new(limit_s: u32, now_s: u64) -> Self {
        Idle { limit_s: limit_s.into(), seen: 0, since_s: now_s, told_s: now_s }
    }

    /// Counts from now on, as after a wake.
    pub fn restart(&mut self, now_s: u64) {
        (self.since_s, self.told_s) = (now_s, now_s);
    }

    /// `seen` is any number that changes with every inner packet and handshake, and with nothing else.
    /// Gives the idle time when the host is to be told.
    pub fn tick(&mut self, now_s: u64, seen: u64) -> Option<u32> {
        if seen != self.seen {
            self.seen = seen;
            self.restart(now_s);
            return None;
        }
        let idle = now_s.saturating_sub(self.since_s);
        let told = self.told_s.saturating_sub(self.since_s);
        let due = idle >= FIRST_S.min(self.limit_s) && now_s >= self.told_s + EVERY_S;
        let reached = idle >= self.limit_s && told < self.limit_s;
        if !due && !reached {
            return None;
        }
        self.told_s = now_s;
        Some(u32::try_from(idle).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_from_ten_seconds_on_every_five_and_at_the_limit() {
        let mut idle = Idle::new(33, 100);
        let told: Vec<_> = (101..=146).filter_map(|now| idle.tick(now, 0)).collect();
        assert_eq!(told, [10, 15, 20, 25, 30, 33, 38, 43]);
    }

    #[test]
    fn traffic_and_waking_start_it_again() {
        let mut idle = Idle::new(20, 0);
        assert_eq!(idle.tick(15, 0), Some(15));
        assert_eq!(idle.tick(16, 7), None);
        assert_eq!((17..36).find_map(|now| idle.tick(now, 7)), Some(10));
        idle.restart(40);
        assert_eq!((41..50).find_map(|now| idle.tick(now, 7)), None);
        assert_eq!(idle.tick(50, 7), Some(10));
    }

    #[test]
    fn a_limit_under_ten_seconds_is_kept() {
        let mut idle = Idle::new(3, 0);
        assert_eq!((1..5).find_map(|now| idle.tick(now, 0)), Some(3));
    }
}
