use crate::database::{Shared, State, now_ms, secret};
use cloudpal_sorted::Progress;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long the thread sleeps at most: entries that are ahead of the clock come due.
const NAP: Duration = Duration::from_secs(1);

/// What comes within this time is merged at once. Writers who do not find the thread waiting have nobody to wake.
const PAUSE: Duration = Duration::from_millis(1);

/// How often it tries for the lock before it queues.
const PATIENCE: u32 = 40;

/// How often it looks whether there is something to do for others.
const CHORES: Duration = Duration::from_secs(5);

/// How often it looks whether so much was written that a checkpoint is worth it.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// How often it forgets history that is older than anybody asked for.
const FORGET: Duration = Duration::from_secs(3600);

/// The thread that merges what peers send, writes memory to pages and merges runs. It ends when this is dropped.
pub(crate) struct Follower {
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    asked: AtomicBool,
    /// Held while the thread works on the database.
    working: Mutex<()>,
}

impl Ended {
    fn working(&self) -> MutexGuard<'_, ()> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    pub fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let ended = Arc::new(Ended::default());
        let (weak, end) = (Arc::downgrade(shared), Arc::clone(&ended));
        std::thread::Builder::new().name("database".into()).spawn(move || run(&weak, &end))?;
        Ok(Follower { ended })
    }

    /// Returns when the thread is done with what it was doing. It touches neither pages nor logs from then on, so that they may be
    /// opened again.
    pub fn end(&self) {
        self.ended.asked.store(true, Ordering::Release);
        drop(self.ended.working());
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(weak: &Weak<Shared>, ended: &Ended) {
    let mut beats = 0;
    let mut chores = Instant::now();
    let (mut checkpoint, mut forget) = (Instant::now(), Instant::now());
    loop {
        let working = ended.working();
        let Some(shared) = weak.upgrade() else { return };
        if ended.asked.load(Ordering::Acquire) {
            return;
        }
        let store = shared.store.clone();
        if let Err(error) = shared.follow() {
            tracing::warn!(database = shared.name, %error, "what came could not be merged");
        }
        if chores.elapsed() >= CHORES {
            chores = Instant::now();
            if let Err(error) = shared.do_chores() {
                tracing::debug!(database = shared.name, %error, "nothing could be done for other members");
            }
        }
        if checkpoint.elapsed() >= CHECKPOINT {
            checkpoint = Instant::now();
            if let Err(error) = shared.make_checkpoint_if_worth() {
                tracing::warn!(database = shared.name, %error, "no checkpoint could be made");
            }
        }
        if forget.elapsed() >= FORGET {
            forget = Instant::now();
            if let Err(error) = shared.forget_old() {
                tracing::warn!(database = shared.name, %error, "old history could not be forgotten");
            }
        }
        let more = shared.compact();
        drop(shared);
        drop(working);
        if !more {
            std::thread::sleep(PAUSE);
            beats = store.wait_any(beats, NAP);
        }
    }
}

impl Shared {
    /// Merges what came, and asks for what the disk has lost of this device's log.
    fn follow(&self) -> Result<(), crate::OpenError> {
        let mut state = self.lock_patiently();
        let before = state.replica.version();
        state.advance()?;
        state.heal_own()?;
        if state.replica.version() != before {
            drop(state);
            self.notify();
        }
        Ok(())
    }

    /// The lock, without queueing for it at once: a writer who gives it free with somebody in the queue has a call of the system to
    /// make, with every batch.
    fn lock_patiently(&self) -> std::sync::MutexGuard<'_, State> {
        for _ in 0..PATIENCE {
            if let Some(state) = self.try_lock() {
                return state;
            }
            std::thread::sleep(PAUSE / 4);
        }
        self.lock()
    }

    /// Carries on records that would be lost, and hands keys to members that have none.
    fn do_chores(&self) -> Result<(), crate::WriteFault> {
        let mut state = self.lock();
        let mut failed = None;
        let records = state.replica.chores(now_ms(), &mut || secret(&mut failed));
        failed.map_or(Ok(()), Err)?;
        if records.is_empty() {
            return Ok(());
        }
        state.carry(records)
    }

    /// One step of merging runs; whether there is more to do.
    fn compact(&self) -> bool {
        match self.sorted.compact() {
            Ok(progress) => progress == Progress::More,
            Err(error) => {
                tracing::warn!(database = self.name, %error, "the view could not be tidied up");
                false
            }
        }
    }
}
