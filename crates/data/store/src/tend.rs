use crate::OpenError;
use crate::store::Inner;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How soon after the last sync the lengths are noted as certain.
const SETTLE: Duration = Duration::from_millis(50);

/// Starts the thread that makes relaxed appends last, and notes which lengths are certain. It ends with the store.
pub(crate) fn start(inner: &Arc<Inner>) -> Result<(), OpenError> {
    let weak = Arc::downgrade(inner);
    let every = inner.options.sync_every.max(SETTLE);
    let run = move || {
        let mut next = Instant::now() + every;
        loop {
            std::thread::sleep(SETTLE);
            let Some(inner) = weak.upgrade().filter(|inner| !inner.is_closed()) else { return };
            let due = Instant::now() >= next;
            if due {
                next = Instant::now() + every;
            }
            for shared in inner.all_open() {
                let mut state = shared.lock();
                state.exchange.tick(inner.now());
                if due && inner.engine.has_room() {
                    state.exchange.resume();
                }
                drop(state);
                if due {
                    shared.keep_sums();
                }
            }
            // A full disk or a stopped engine is told to whoever writes next.
            if let Err(error) = inner.engine.tend(due) {
                tracing::debug!(%error, "the store could not be synced");
            }
        }
    };
    let spawned = std::thread::Builder::new().name("store-tend".into()).spawn(run);
    spawned.map(|_| ()).map_err(|source| OpenError::File { path: inner.folder().to_owned(), source })
}
