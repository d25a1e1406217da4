//! The same work on many things, on all cores, with a word now and then about how far it is.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// How often a part says how far it is, and how many things make it a long one, that does.
const WORDS: u64 = 20;
const MANY: u64 = 3_000;

/// Does `work` on all `items`; results come in no order.
pub fn all<T: Send, R: Send>(items: impl Iterator<Item = T> + Send, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Says how far a part is, on standard error.
pub struct Progress {
    what: &'static str,
    total: u64,
    since: Instant,
}

impl Progress {
    /// Of a part that goes through `total` things called `what`.
    pub fn new(what: &'static str, total: u64) -> Self {
        Self { what, total, since: Instant::now() }
    }

    /// To be told of each, numbered from 1; says something about few of them.
    pub fn at(&self, number: u64) {
        if self.total >= MANY && number.is_multiple_of(self.total.div_ceil(WORDS).max(1)) {
            eprintln!("    {number} of {} {}, {} s", self.total, self.what, self.since.elapsed().as_secs());
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_is_done_once() {
        let mut done = super::all(0..1000, |number| number);
        done.sort_unstable();
        assert!(done.into_iter().eq(0..1000));
    }
}
