use crate::{Bee, Range, ReadError, Snapshot};
use std::time::{Duration, Instant};

/// Tells when entries of a range change. See [`Bee::watch`].
#[derive(Debug)]
pub struct Watcher {
    bee: Bee,
    range: Range,
    seen: Snapshot,
}

/// A range before and after it changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The bee now.
    pub current: Snapshot,
    /// The bee at the change before, or when watching began. After a truncation it can no longer be read.
    pub previous: Snapshot,
}

impl Watcher {
    pub(crate) fn new(bee: Bee, range: Range) -> Self {
        let seen = bee.snapshot();
        Watcher { bee, range, seen }
    }

    /// Begins at `version` instead: what changed since counts as a change.
    pub fn since(mut self, version: u64) -> Result<Self, ReadError> {
        self.seen = self.bee.checkout(version)?;
        Ok(self)
    }

    /// Waits until an entry of the range was put or deleted, or the log was truncated; none if `timeout` is over.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<Change>, ReadError> {
        let end = Instant::now().checked_add(timeout);
        loop {
            let current = self.bee.snapshot();
            if (current.fork, current.version) != (self.seen.fork, self.seen.version) {
                match self.differs(&current) {
                    Ok(true) => return Ok(Some(self.advance(current))),
                    Ok(false) => self.seen = current.clone(),
                    Err(ReadError::Truncated { .. }) => continue,
                    Err(error) => return Err(error),
                }
            }
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let length = if current.version == 1 { self.bee.feed().length().min(1) } else { current.version };
            let now = self.bee.feed().wait_change((current.fork, length), left);
            if now == (current.fork, length) && left.is_zero() {
                return Ok(None);
            }
        }
    }

    fn differs(&self, current: &Snapshot) -> Result<bool, ReadError> {
        if current.fork != self.seen.fork {
            return Ok(true);
        }
        current.diff(&self.seen, self.range.clone().limit(1)).next().transpose().map(|found| found.is_some())
    }

    fn advance(&mut self, current: Snapshot) -> Change {
        let previous = std::mem::replace(&mut self.seen, current.clone());
        Change { current, previous }
    }
}
