use cloudpal_log::wire::ChannelId;
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What wakes a connection's writer. Its lock is the innermost of all: connection, then log, then this.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Channels whose log may have something to send.
    ready: BTreeSet<ChannelId>,
    /// Channels to close once what there is to say was said.
    finished: Vec<ChannelId>,
    /// Openings and closings wait.
    control: bool,
    closed: bool,
}

/// What there is to do for a writer.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub ready: BTreeSet<ChannelId>,
    pub finished: Vec<ChannelId>,
    pub closed: bool,
    /// Nothing was to do all the time.
    pub idle: bool,
}

impl Signal {
    /// A channel's log may have something to send.
    pub(crate) fn ready(&self, channel: ChannelId) {
        self.tell(|state| {
            state.ready.insert(channel);
        });
    }

    /// A channel is to be closed.
    pub(crate) fn finish(&self, channel: ChannelId) {
        self.tell(|state| state.finished.push(channel));
    }

    /// The connection has something to say about its channels.
    pub(crate) fn control(&self) {
        self.tell(|state| state.control = true);
    }

    /// The connection is to end.
    pub(crate) fn close(&self) {
        self.tell(|state| state.closed = true);
    }

    /// Waits until there is something to do, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Todo {
        let quiet = |state: &mut State| {
            !state.closed && !state.control && state.ready.is_empty() && state.finished.is_empty()
        };
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, quiet);
        let (mut state, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        state.control = false;
        Todo {
            ready: std::mem::take(&mut state.ready),
            finished: std::mem::take(&mut state.finished),
            closed: state.closed,
            idle: timed_out.timed_out(),
        }
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
