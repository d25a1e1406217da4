use super::lengths::{LogId, Mark};
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Which commit of an engine: the first is 1.
pub(crate) type Ticket = u64;

/// Lets commits that wait for the disk share one sync: whoever comes while one runs waits for the next, which covers
/// all of them.
#[derive(Default)]
pub(crate) struct Group {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// Commits made, and how many of them surely last.
    written: Ticket,
    synced: Ticket,
    running: bool,
    /// Marks of commits made since the last sync began.
    marks: HashMap<LogId, Mark>,
}

impl Group {
    /// Notes a commit that the engine has taken, and the length it gave a log. Returns its ticket.
    pub(crate) fn written(&self, mark: Option<(LogId, Mark)>) -> Ticket {
        let mut state = self.lock();
        state.marks.extend(mark);
        state.written += 1;
        state.written
    }

    /// The ticket of the newest commit.
    pub(crate) fn newest(&self) -> Ticket {
        self.lock().written
    }

    /// Whether the commit with `ticket` and all before it last.
    pub(crate) fn lasts(&self, ticket: Ticket) -> bool {
        self.lock().synced >= ticket
    }

    /// Whether anything would be lost without another sync.
    pub(crate) fn dirty(&self) -> bool {
        let state = self.lock();
        state.synced < state.written
    }

    /// Returns when the commit with `ticket` and all before it last. `sync` makes everything written so far last; one
    /// caller at a time runs it.
    pub(crate) fn wait<E>(
        &self,
        ticket: Ticket,
        sync: impl FnOnce(&[(LogId, Mark)]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.lock();
        while state.running && state.synced < ticket {
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.synced >= ticket {
            return Ok(());
        }
        state.running = true;
        let covers = state.written;
        let marks: Vec<_> = state.marks.drain().collect();
        drop(state);
        let result = sync(&marks);
        let mut state = self.lock();
        state.running = false;
        match result {
            Ok(()) => state.synced = state.synced.max(covers),
            Err(_) => {
                for (id, mark) in marks {
                    state.marks.entry(id).or_insert(mark);
                }
            }
        }
        self.done.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[test]
    fn many_waiters_share_few_syncs_and_none_returns_early() {
        let group = Group::default();
        let (syncs, lasting) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let ticket = group.written(None);
                        let sync = |_: &[_]| {
                            let covers = group.newest();
                            std::thread::sleep(Duration::from_micros(200));
                            syncs.fetch_add(1, Ordering::SeqCst);
                            lasting.fetch_max(covers, Ordering::SeqCst);
                            Ok::<(), ()>(())
                        };
                        group.wait(ticket, sync).unwrap();
                        assert!(lasting.load(Ordering::SeqCst) >= ticket);
                    }
                });
            }
        });
        assert!(syncs.load(Ordering::SeqCst) < 160, "no two commits ever shared a sync");
        assert!(!group.dirty());
    }

    #[test]
    fn a_failed_sync_is_told_to_its_caller_and_tried_again() {
        let group = Group::default();
        let mark = Mark { key: [0; 32], fork: 0, length: 3 };
        let ticket = group.written(Some(([1; 11], mark)));
        assert_eq!(group.wait(ticket, |_| Err("broken")), Err("broken"));
        assert!(group.dirty());
        let mut seen = Vec::new();
        let keep = |marks: &[_]| {
            seen.extend_from_slice(marks);
            Ok::<(), ()>(())
        };
        group.wait(ticket, keep).unwrap();
        assert_eq!(seen, [([1; 11], mark)]);
    }
}
