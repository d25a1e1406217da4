use super::fault::file_fault;
use super::lengths::{Lengths, LogId, Mark};
use cloudpal_log::StorageError;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Runs the second place on a thread of its own, so that its sync and the engine's overlap.
pub(crate) struct Second {
    lengths: Arc<Mutex<State>>,
    /// None only while this is dropped.
    jobs: Option<Sender<Job>>,
    worker: Option<JoinHandle<()>>,
}

struct State {
    lengths: Lengths,
    /// How often something was recorded, and up to which of those is confirmed.
    recorded: u64,
    confirmed: u64,
}

struct Job {
    marks: Vec<(LogId, Mark)>,
    done: Sender<io::Result<()>>,
}

/// A sync under way.
pub(crate) struct Pending(Option<Receiver<io::Result<()>>>);

impl Second {
    /// Takes the files over.
    pub(crate) fn start(lengths: Lengths) -> io::Result<Self> {
        let lengths = Arc::new(Mutex::new(State { lengths, recorded: 0, confirmed: 0 }));
        let (jobs, todo) = channel::<Job>();
        let worker = Arc::clone(&lengths);
        let run = move || {
            while let Ok(job) = todo.recv() {
                let mut state = worker.lock().unwrap_or_else(PoisonError::into_inner);
                let result = state.lengths.record(&job.marks);
                state.recorded += 1;
                drop(state);
                // The caller may have gone: then nobody acknowledges anything.
                let _gone = job.done.send(result);
            }
        };
        let thread = std::thread::Builder::new().name("store-lengths".into()).spawn(run)?;
        Ok(Second { lengths, jobs: Some(jobs), worker: Some(thread) })
    }

    /// Begins to record `marks`.
    pub(crate) fn begin(&self, marks: Vec<(LogId, Mark)>) -> Pending {
        if marks.is_empty() {
            return Pending(None);
        }
        let (done, result) = channel();
        // A send fails only when the thread is gone; then `wait` finds the channel closed.
        let _closed = self.jobs.as_ref().map(|jobs| jobs.send(Job { marks, done }));
        Pending(Some(result))
    }

    /// How often something was recorded so far.
    pub(crate) fn recorded(&self) -> u64 {
        self.lock().recorded
    }

    /// Notes that everything recorded was acknowledged, unless more was recorded than `seen` by the caller before it
    /// found that out. Costs nothing when it is known.
    pub(crate) fn confirm(&self, seen: u64) -> Result<(), StorageError> {
        let mut state = self.lock();
        if state.recorded != seen || state.confirmed == seen {
            return Ok(());
        }
        state.lengths.confirm().map_err(|error| file_fault("sync", error))?;
        state.confirmed = seen;
        Ok(())
    }

    /// Remembers what was lost, until the log has reached it again.
    pub(crate) fn hold(&self, id: LogId, mark: Mark) {
        self.lock().lengths.hold(id, mark);
    }

    /// Takes each mark for the truth about its log: what was lost is given up. None forgets the log.
    pub(crate) fn settle(&self, truths: &[(LogId, Option<Mark>)]) -> Result<(), StorageError> {
        self.lock().lengths.settle(truths).map_err(|error| file_fault("sync", error))
    }
}

impl Second {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Second {
    /// Whoever closes a store may take its disk away: its files are closed when this returns.
    fn drop(&mut self) {
        self.jobs = None;
        // A panic over there was told where it happened.
        let _ended = self.worker.take().map(JoinHandle::join);
    }
}

impl Pending {
    /// Waits until the marks last.
    pub(crate) fn wait(self) -> Result<(), StorageError> {
        let Some(result) = self.0 else { return Ok(()) };
        let gone = || Err(io::Error::other("the thread that keeps lengths has stopped"));
        result.recv().unwrap_or_else(|_| gone()).map_err(|error| file_fault("sync", error))
    }
}
