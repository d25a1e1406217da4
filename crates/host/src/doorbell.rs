//! The doorbell of one pal: a thread that watches the TUN while the pal sleeps and tells the worker
//! when it rings. Judging, holding and handing over are `link`'s and `plan`'s; this only decides who
//! calls them when, and keeps on disk what must not ring twice.
//!
//! The worker uses the same doorbell under a lock, so that handing over waits for nobody.
//! While the pal is awake the thread waits for the next sleep and nothing reaches it.

use crate::worker::Message;
use anyhow::Context;
use cloudpal_core::AgreementKey;
use cloudpal_link::{Doorbell, Tenant};
use cloudpal_plan::wake::Counters;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread looks this often whether it is still wanted.
const LOOK: Duration = Duration::from_millis(250);

/// The TUN is watched this long after a hand-over, for what was on its way when the route was switched.
const AFTER: Duration = Duration::from_secs(1);

/// A guest that has not answered by then has a queue that cannot be proven empty.
const BARRIER: Duration = Duration::from_millis(500);

/// The doorbell rang.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// When it was seen.
    pub at: Instant,
}

/// What the thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// Waits for the next sleep.
    Rest,
    /// Watches the TUN.
    Listen,
    /// Watches the TUN for the last stragglers.
    Until(Instant),
    /// Ends.
    Stop,
}

struct Shared {
    bell: Mutex<Doorbell>,
    watch: Mutex<Watch>,
    changed: Condvar,
    memory: PathBuf,
}

/// A pal's doorbell with its thread.
pub(crate) struct BellThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl BellThread {
    /// Opens the doorbell of a pal with this WireGuard key. `folder` keeps what must not ring twice.
    pub(crate) fn start(
        tenant: &Tenant,
        key: &AgreementKey,
        folder: &Path,
        messages: Sender<Message>,
    ) -> anyhow::Result<BellThread> {
        let secret = crate::keys::random().context("the operating system gives no randomness")?;
        let mut bell = Doorbell::open(tenant, key, secret).context("cannot open the doorbell")?;
        let memory = folder.join("doorbell");
        match fs::read(&memory) {
            Ok(bytes) => {
                if let Err(error) = bell.remember(&bytes) {
                    tracing::warn!(%error, "starting with an empty memory of initiations");
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("cannot read the doorbell's memory"),
        }
        let tun = bell.as_fd().try_clone_to_owned().context("cannot watch the TUN")?;
        let shared = Arc::new(Shared {
            bell: Mutex::new(bell),
            watch: Mutex::new(Watch::Rest),
            changed: Condvar::new(),
            memory,
        });
        let watched = shared.clone();
        let thread = std::thread::Builder::new()
            .name("doorbell".into())
            .spawn(move || watch(&watched, &tun, &messages))
            .context("cannot start the doorbell's thread")?;
        Ok(BellThread { shared, thread: Some(thread) })
    }

    /// Sends the pal's packets to the doorbell from now on, with what the firewall recorded of its
    /// sessions, and makes sure that the guest has taken everything sent before.
    pub(crate) fn listen(&self, tenant: &Tenant) -> anyhow::Result<()> {
        let mut bell = self.shared.bell();
        // In this order: a session made until the very switch is recorded, and what comes after it
        // waits in the TUN for the bell to listen.
        tenant.switch().to_bell()?;
        bell.listen(&tenant.recorded()?);
        self.shared.set(Watch::Listen);
        drop(bell);
        let barrier = self.shared.bell().barrier(BARRIER);
        // A guest that does not answer is put to sleep all the same: see the plan of the sleep.
        barrier.map(drop).or_else(|error| {
            tracing::warn!(%error, "the guest did not prove that its queue is empty");
            Ok(())
        })
    }

    /// Listens again after a restart of the agent: the route leads here already.
    pub(crate) fn listen_again(&self, tenant: &Tenant) -> anyhow::Result<()> {
        let mut bell = self.shared.bell();
        tenant.switch().to_bell()?;
        bell.listen(&tenant.recorded()?);
        self.shared.set(Watch::Listen);
        Ok(())
    }

    /// The pal is being woken for another reason than a packet: hold what comes.
    pub(crate) fn hold(&self) {
        self.shared.bell().hold();
    }

    /// Hands everything held over in order and switches the route to the machine.
    pub(crate) fn hand_over(&self, tenant: &Tenant) -> anyhow::Result<()> {
        let mut bell = self.shared.bell();
        let handed = bell.hand_over(tenant.switch()).context("cannot hand over what was held")?;
        tracing::debug!(?handed, "handed over");
        self.shared.set(Watch::Until(Instant::now() + AFTER));
        Ok(())
    }

    /// What it counted.
    pub(crate) fn counters(&self) -> Counters {
        self.shared.bell().counters()
    }
}

impl Drop for BellThread {
    fn drop(&mut self) {
        self.shared.set(Watch::Stop);
        // The TUN has room for one opener: it is let go before anybody opens it again.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn bell(&self) -> MutexGuard<'_, Doorbell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, watch: Watch) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
        self.changed.notify_all();
    }

    /// What to do now; waits while there is nothing to do.
    fn next(&self) -> Watch {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *watch {
                Watch::Until(end) if Instant::now() >= end => *watch = Watch::Rest,
                Watch::Rest => watch = self.changed.wait(watch).unwrap_or_else(PoisonError::into_inner),
                now => return now,
            }
        }
    }

    /// Writes down what must not ring again. A full disk must not keep a pal from waking.
    fn remember(&self, bytes: &[u8]) {
        let new = self.memory.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&new, &self.memory)
        };
        if let Err(error) = write() {
            tracing::error!(%error, "cannot write down which initiations rang; after a restart they may ring again");
        }
    }
}

fn watch(shared: &Shared, tun: &OwnedFd, messages: &Sender<Message>) {
    loop {
        let watch = shared.next();
        if watch == Watch::Stop {
            return;
        }
        if !readable(tun) {
            continue;
        }
        let mut bell = shared.bell();
        let at = Instant::now();
        let heard = bell.pump().and_then(|heard| match watch {
            Watch::Until(_) => bell.deliver().map(|_| heard),
            _ => Ok(heard),
        });
        match heard {
            Ok(heard) if heard.rung => {
                let memory = bell.memory();
                drop(bell);
                if messages.send(Message::Ring(Ring { at })).is_err() {
                    return;
                }
                shared.remember(&memory);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "the doorbell cannot read");
                drop(bell);
                std::thread::sleep(LOOK);
            }
        }
    }
}

fn readable(tun: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(tun.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
    // An interrupted wait is one that found nothing.
    poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
}
