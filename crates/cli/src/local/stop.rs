//! Ctrl-C as a thing to wait for, so that a store is always closed well.

use crate::failure::{Exit, Failure};
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether SIGINT or SIGTERM has come.
#[derive(Clone, Debug)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Catches both signals from now on. Threads that are started later leave them to this.
    pub fn catch() -> Result<Stop, Failure> {
        let failed =
            |error: std::io::Error| Failure::because(Exit::Failed, "signals cannot be caught", error);
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().map_err(|error| failed(error.into()))?;
        let stop = Stop(Arc::default());
        let told = stop.clone();
        let wait = move || {
            // Neither signal can fail to be waited for; if it did, nothing would stop the program but SIGKILL.
            let _signal = signals.wait();
            told.set();
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
        Ok(stop)
    }

    fn set(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether to stop, after at most `timeout`.
    pub fn wait(&self, timeout: Duration) -> bool {
        let stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(stopped, timeout, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
