use crate::shared::Shared;
use crate::store::Inner;
use cloudpal_log::replicate::WantId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blocks that peers are asked for, until this is dropped.
pub struct Fetch {
    pub(crate) inner: Arc<Inner>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) want: WantId,
}

impl Fetch {
    /// Waits until all are held, at most for `timeout`; whether they are.
    pub fn wait(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            let done = state.exchange.is_answered(self.want);
            let left = until.saturating_duration_since(Instant::now());
            if done || left.is_zero() || self.inner.is_closed() {
                return done;
            }
            state = self.shared.wait(state, left);
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.shared.lock().exchange.unwant(self.want);
    }
}
