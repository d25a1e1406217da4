use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// A token bucket: `burst` at once, then one every `every_ms`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    burst: u64,
    every_ms: u64,
    /// Time saved up, at most `burst * every_ms`.
    saved_ms: u64,
    at_ms: u64,
}

impl Bucket {
    pub(crate) const fn full(burst: u64, every_ms: u64, now_ms: u64) -> Self {
        Bucket { burst, every_ms, saved_ms: burst * every_ms, at_ms: now_ms }
    }

    fn fill(&mut self, now_ms: u64) {
        // A clock that goes back saves nothing and takes nothing.
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = now_ms;
        self.saved_ms = self.saved_ms.saturating_add(passed).min(self.burst * self.every_ms);
    }

    fn has_one(&self) -> bool {
        self.saved_ms >= self.every_ms
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        let has = self.has_one();
        if has {
            self.saved_ms -= self.every_ms;
        }
        has
    }

    fn is_full(&self) -> bool {
        self.saved_ms == self.burst * self.every_ms
    }
}

/// So many wakes at once are possible; then one every 30 s.
///
/// A pal that a packet woke stays up for its idle time, so nobody but one who rings for the sake of
/// ringing, or a test that sends it back to sleep, comes near this.
pub const BURST: u64 = 60;
const EVERY_MS: u64 = 30_000;
const SOURCE_BURST: u64 = 4;
const SOURCE_EVERY_MS: u64 = 300_000;
const SOURCES: usize = 1024;

/// How often a pal may be woken. The first budget is for anybody. The second is for sources that
/// answered a challenge, and no one of them can use it up alone.
#[derive(Debug)]
pub(crate) struct Budget {
    anybody: Bucket,
    proven: Bucket,
    sources: HashMap<IpAddr, Bucket>,
}

impl Budget {
    pub(crate) fn full(now_ms: u64) -> Self {
        Budget {
            anybody: Bucket::full(BURST, EVERY_MS, now_ms),
            proven: Bucket::full(BURST, EVERY_MS, now_ms),
            sources: HashMap::new(),
        }
    }

    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        self.anybody.take(now_ms)
    }

    pub(crate) fn take_proven(&mut self, source: SocketAddr, now_ms: u64) -> bool {
        let key = network(source.ip());
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&key) {
            self.sources.retain(|_, bucket| {
                bucket.fill(now_ms);
                !bucket.is_full()
            });
            if self.sources.len() >= SOURCES {
                return false;
            }
        }
        self.proven.fill(now_ms);
        if !self.proven.has_one() {
            return false;
        }
        let new = Bucket::full(SOURCE_BURST, SOURCE_EVERY_MS, now_ms);
        self.sources.entry(key).or_insert(new).take(now_ms) && self.proven.take(now_ms)
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::full(3, 10, 100);
        let taken = (0..10).filter(|_| bucket.take(100)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(109));
        assert!(bucket.take(110));
        assert!(!bucket.take(50), "a clock that goes back fills nothing");
        let taken = (0..10).filter(|_| bucket.take(u64::MAX)).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn one_proven_source_does_not_lock_out_another() {
        let mut budget = Budget::full(0);
        let (flood, owner) = ("203.0.113.1:1".parse().unwrap(), "203.0.113.2:1".parse().unwrap());
        assert_eq!((0..100).filter(|_| budget.take_proven(flood, 0)).count(), SOURCE_BURST as usize);
        assert!(budget.take_proven(owner, 0));
        assert_eq!((0..100).filter(|_| budget.take(0)).count(), BURST as usize);
    }

    #[test]
    fn addresses_of_one_network_are_one_source_and_memory_is_bounded() {
        let mut budget = Budget::full(0);
        let rings = (0..1000u16)
            .filter(|i| budget.take_proven(format!("[2001:db8::{i:x}]:5").parse().unwrap(), 0))
            .count();
        assert_eq!((rings, budget.sources.len()), (SOURCE_BURST as usize, 1));
        for i in 0..5000u32 {
            budget.take_proven(SocketAddr::from((i.to_be_bytes(), 1)), u64::from(i) * EVERY_MS);
        }
        assert!(budget.sources.len() <= SOURCES);
    }
}
