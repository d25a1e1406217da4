//! Batches of writers who come at the same time: the first of them writes for all.

use crate::error::WriteFault;
use cloudpal_db::{Batch, Written};
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

type Answer = Result<Written, WriteFault>;

/// Batches written as one, at most.
const AT_ONCE: usize = 256;

#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<(u64, Batch)>,
    answers: HashMap<u64, Answer>,
    next: u64,
    busy: bool,
}

impl Queue {
    /// Has `batch` written, by this thread or another; `write` answers for each batch it is given.
    pub fn submit(&self, batch: Batch, write: impl FnOnce(&[Batch]) -> Vec<Answer>) -> Answer {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push((ticket, batch));
        let mut write = Some(write);
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
            if state.busy {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // Only one round of a writer: its own batch is in it, as the first come are taken first.
            let Some(write) = write.take() else { return Err(WriteFault::Closed) };
            let own = state.waiting.iter().position(|(of, _)| *of == ticket).unwrap_or(0);
            let count = state.waiting.len().min(AT_ONCE.max(own + 1));
            let (tickets, batches): (Vec<u64>, Vec<Batch>) = state.waiting.drain(..count).unzip();
            state.busy = true;
            drop(state);
            let answers = write(&batches);
            state = self.lock();
            state.busy = false;
            let others = tickets.len() > 1 || !state.waiting.is_empty();
            state.answers.extend(tickets.into_iter().zip(answers));
            if others {
                self.changed.notify_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
