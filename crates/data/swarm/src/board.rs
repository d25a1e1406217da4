//! What callers can see of a swarm from outside its thread.

use crate::Key;
use cloudpal_store::Connection;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How it stands with a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Nodes of the table have taken the announcement.
    pub announced: bool,
    /// How many look-ups came back.
    pub look_ups: u64,
    /// How many peers are known that announced it.
    pub found: usize,
    /// How many of them are connected.
    pub connected: usize,
    /// What went wrong last with it.
    pub trouble: Option<String>,
}

/// Written by the actor, read by everybody.
#[derive(Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<Key, Standing>,
    connections: Vec<Connection>,
}

impl Board {
    /// Changes what is said of a topic.
    pub(crate) fn note(&self, topic: &Key, change: impl FnOnce(&mut Standing)) {
        change(self.lock().topics.entry(*topic).or_default());
        self.changed.notify_all();
    }

    pub(crate) fn forget(&self, topic: &Key) {
        self.lock().topics.remove(topic);
        self.changed.notify_all();
    }

    pub(crate) fn show(&self, connections: Vec<Connection>) {
        self.lock().connections = connections;
        self.changed.notify_all();
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.lock().connections.clone()
    }

    /// Waits until `done` says so of the topic, at most for `timeout`, and tells how it stands then.
    pub(crate) fn wait(&self, topic: &Key, timeout: Duration, done: impl Fn(&Standing) -> bool) -> Standing {
        let until = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let standing = state.topics.get(topic).cloned().unwrap_or_default();
            let left = until.saturating_duration_since(Instant::now());
            if done(&standing) || left.is_zero() {
                return standing;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
