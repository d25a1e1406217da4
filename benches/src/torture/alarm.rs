//! Notices panics on any thread, and work that never comes back.

use crate::judge::Wrong;
use std::sync::{Mutex, Once, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

/// A disk that answers at once leaves nothing to wait this long for. Counted in ticks, so that a machine that stood still
/// in between (it may be stopped while others measure) counts as one.
const PATIENCE: u32 = 600;
const TICK: Duration = Duration::from_millis(100);

/// Panics are kept from now on, wherever they happen, and printed as before.
pub fn watch() {
    WATCH.call_once(|| {
        let printed = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            printed(info);
            SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
        }));
    });
}

/// The panics since the last call.
pub fn panics() -> Vec<String> {
    std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Does `work` on a thread of its own. What panics or does not come back is told instead of its result.
pub fn guarded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Wrong> {
    watch();
    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || drop(sender.send(work())));
    let waits = (0..PATIENCE).map(|_| receiver.recv_timeout(TICK));
    let answered = waits.into_iter().find(|result| !matches!(result, Err(mpsc::RecvTimeoutError::Timeout)));
    let Some(result) = answered else { return Err(Wrong::Hung) };
    // Its last act was to send; threads that it left behind may still panic, and are noticed by whoever is next.
    let _ = worker.join();
    match panics().pop() {
        Some(panic) => Err(Wrong::Panicked(panic)),
        None => result.map_err(|_| Wrong::Panicked("the worker ended without a word".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_another_thread_is_noticed() {
        assert_eq!(guarded(|| 7), Ok(7));
        let deep = guarded(|| thread::spawn(|| panic!("deep inside")).join().is_err());
        assert!(matches!(deep, Err(Wrong::Panicked(text)) if text.contains("deep inside")));
    }
}
