//! One writer at a time, among all handles of one bee.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;

#[derive(Debug, Default)]
pub(crate) struct WriterLock {
    owner: Mutex<Option<ThreadId>>,
    freed: Condvar,
}

/// Held while writing; may move to another thread.
#[derive(Debug)]
pub(crate) struct WriterGuard {
    lock: Arc<WriterLock>,
}

impl WriterLock {
    /// Waits for the writer before; none if it is the same thread, which would wait for ever.
    pub fn lock(self: &Arc<Self>) -> Option<WriterGuard> {
        let me = std::thread::current().id();
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(other) = *owner {
            if other == me {
                return None;
            }
            owner = self.freed.wait(owner).unwrap_or_else(PoisonError::into_inner);
        }
        *owner = Some(me);
        Some(WriterGuard { lock: self.clone() })
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        *self.lock.owner.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.lock.freed.notify_one();
    }
}
