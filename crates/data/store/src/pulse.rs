use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Beats whenever anything changes in any log of a store.
#[derive(Default)]
pub(crate) struct Pulse {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    beats: u64,
    /// Waking nobody would cost a call of the system each time.
    waiting: u32,
}

impl Pulse {
    pub fn beat(&self) {
        let mut state = self.lock();
        state.beats += 1;
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until there were more than `seen` beats, at most for `timeout`; how many there were.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let mut state = self.lock();
        state.waiting += 1;
        let waited = self.changed.wait_timeout_while(state, timeout, |state| state.beats == seen);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state.beats
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
