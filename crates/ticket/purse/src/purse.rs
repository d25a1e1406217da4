//! The purse's async face.
//!
//! Each call runs on a thread that may block, and to its end even if its future is dropped: an operation
//! cut in the middle is the exception (a killed program), not something a timeout brings about.

use std::path::Path;
use std::sync::Arc;

use cloudpal_form::{Route, Ticket};
use zeroize::Zeroizing;

use crate::book::BookError;
use crate::buy::{Bought, BuyError, BuyStep};
use crate::core::{Core, OpenError};
use crate::lock::{LockError, LockRequest, LockedTicket};
use crate::reclaim::{Leave, ReclaimError, Reclaimed};
use crate::recover::{RecoverError, Recovered};

/// One person's tickets of one seller. Cheap to clone; needs a tokio runtime.
#[derive(Clone)]
pub struct Purse {
    core: Arc<Core>,
}

impl Purse {
    /// Opens the purse in `dir`, making it at the first call; sends nothing. Everything goes straight to
    /// the seller; see [`Purse::open_by`].
    pub fn open(dir: &Path, mint_url: &str, seed: &[u8; 64]) -> Result<Self, OpenError> {
        Self::open_by(dir, mint_url, seed, &Route::Direct)
    }

    /// Opens the purse so that everything but the purchase itself goes by `route`, such as Tor.
    pub fn open_by(dir: &Path, mint_url: &str, seed: &[u8; 64], route: &Route) -> Result<Self, OpenError> {
        Ok(Self { core: Arc::new(Core::open(dir, mint_url, route, seed)?) })
    }

    /// Buys for `voucher`. If it fails or is killed, call it again with the same voucher, or
    /// [`Purse::recover`]: it pays once.
    pub async fn buy(
        &self,
        voucher: &str,
        progress: impl Fn(BuyStep) + Send + 'static,
    ) -> Result<Bought, BuyError> {
        let code = Zeroizing::new(voucher.to_owned());
        self.run(move |core| core.buy(&code, &progress)).await
    }

    /// What can be locked, in whole cpm; tickets in an unfinished swap do not count until it is done.
    pub async fn balance(&self) -> Result<u64, BookError> {
        self.run(Core::balance).await
    }

    /// Locks tickets to one data centre. They are in the journal before this returns: hand them over,
    /// then say so by [`Purse::handed_over`].
    pub async fn lock(&self, request: LockRequest) -> Result<Vec<Ticket>, LockError> {
        self.run(move |core| core.lock(&request)).await
    }

    /// Notes that the tickets with these ids ([`Ticket::y`]) are in the data centre's hands.
    pub async fn handed_over(&self, ids: &[String]) -> Result<(), BookError> {
        let ids = ids.to_vec();
        self.run(move |core| core.handed_over(&ids)).await
    }

    /// Tickets that were locked and not handed over yet: do that, or take them back.
    pub async fn unfinished(&self) -> Result<Vec<LockedTicket>, BookError> {
        self.run(Core::unfinished).await
    }

    /// Tickets that were handed over and not taken back. Which of them are spent the purse does not ask.
    pub async fn handed(&self) -> Result<Vec<LockedTicket>, BookError> {
        self.run(Core::handed).await
    }

    /// Takes locked tickets back into the balance, as far as they are not spent.
    pub async fn reclaim(&self, tickets: &[Ticket], leave: Leave) -> Result<Reclaimed, ReclaimError> {
        let tickets = tickets.to_vec();
        self.run(move |core| core.reclaim(&tickets, &leave)).await
    }

    /// Finishes or undoes what was cut short. Call it at every start. Returns how many there were.
    pub async fn check_pending(&self) -> Result<usize, RecoverError> {
        self.run(Core::check_pending).await
    }

    /// As [`Purse::check_pending`], then restores from the seed what the book does not have: after the
    /// folder was lost, open a new one with the same seed words and recover.
    pub async fn recover(&self) -> Result<Recovered, RecoverError> {
        self.run(Core::recover).await
    }

    /// Restores tickets locked to one data centre until one time, after the journal was lost. The data
    /// centre knows both; tickets already spent are among them, and [`Purse::reclaim`] leaves those out.
    pub async fn restore_locked(
        &self,
        till_pubkey: &str,
        locktime_unix: u64,
        host: &str,
        pal: &str,
    ) -> Result<Vec<Ticket>, RecoverError> {
        let (till, host, pal) = (till_pubkey.to_owned(), host.to_owned(), pal.to_owned());
        self.run(move |core| core.restore_locked(&till, locktime_unix, &host, &pal)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Core) -> T + Send + 'static) -> T {
        let core = self.core.clone();
        match tokio::task::spawn_blocking(move || work(&core)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down; nobody waits for this future any more.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl std::fmt::Debug for Purse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Purse({}, [redacted])", self.core.direct.url())
    }
}
