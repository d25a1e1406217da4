//! Progress of what takes more than a second.

use crate::terminal::Progress;
use std::time::{Duration, Instant};

/// Not more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells at most once a second how far something is.
pub struct Ticks<'a> {
    progress: &'a dyn Progress,
    last: Instant,
}

impl<'a> Ticks<'a> {
    /// What is done within a second is not told at all.
    pub fn new(progress: &'a dyn Progress) -> Self {
        Ticks { progress, last: Instant::now() }
    }

    /// Tells `what` if it is time.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.last.elapsed() >= PAUSE {
            self.progress.step(&what());
            self.last = Instant::now();
        }
    }
}
