use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Beats whenever anything changes in any log of a store.
#[derive(Default)]
pub(crate) struct Pulse {
    beats: Mutex<u64>,
    changed: Condvar,
}

impl Pulse {
    pub fn beat(&self) {
        *self.beats.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits until there were more than `seen` beats, at most for `timeout`; how many there were.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(beats, timeout, |beats| *beats == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
