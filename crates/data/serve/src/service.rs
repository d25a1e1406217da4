//! One database that is served: its tokens, its limits, and what has been done already.

use crate::code::{Code, Failure};
use crate::rate::{Account, Rate};
use crate::token::{Access, Book, BookError, Record};
use cloudpal_base::Database;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

pub(crate) mod origins;

use origins::Origins;

/// What one connection and one token may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Snapshots held by a connection.
    pub snapshots: usize,
    /// Subscriptions of a connection.
    pub subscriptions: usize,
    /// Connections at a time, of all tokens together.
    pub connections: usize,
    /// What a token may ask per second.
    pub rate: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { snapshots: 1024, subscriptions: 16, connections: 256, rate: Rate::default() }
    }
}

/// A database with everything that serving it takes. Shared by all its connections.
pub struct Service {
    pub(crate) database: Database,
    pub(crate) limits: Limits,
    pub(crate) origins: Origins,
    book: Book,
    tokens: Mutex<Tokens>,
    accounts: Mutex<HashMap<String, Account>>,
    connections: Mutex<usize>,
    began: Instant,
    version: watch::Sender<u64>,
}

/// The tokens as they were read when the file was last changed.
struct Tokens {
    changed: Option<SystemTime>,
    records: Arc<[Record]>,
}

/// How long the watcher may keep a database open that nobody serves any more.
const WATCH: Duration = Duration::from_secs(1);

impl Service {
    /// Serves `database` to holders of the tokens in `book`.
    pub fn new(database: Database, book: Book, limits: Limits) -> Result<Arc<Self>, BookError> {
        let tokens = Mutex::new(Tokens { changed: book.changed(), records: book.list()?.into() });
        let version = watch::Sender::new(database.version());
        let service = Arc::new(Service {
            database,
            limits,
            origins: Origins::default(),
            book,
            tokens,
            accounts: Mutex::default(),
            connections: Mutex::default(),
            began: Instant::now(),
            version,
        });
        let watched = Arc::downgrade(&service);
        std::thread::spawn(move || watch_versions(&watched));
        Ok(service)
    }

    /// The database that is served.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Its tokens.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// What the holder of `token` may do.
    pub fn access(&self, token: &str) -> Result<Access, Failure> {
        Access::check(&self.records()?, token, seconds())
    }

    /// Fails when a token that was good has expired or was revoked since.
    pub(crate) fn confirm(&self, access: &Access) -> Result<(), Failure> {
        if access.is_current(seconds()) && access.is_among(&self.records()?) {
            return Ok(());
        }
        Err(Failure::new(
            Code::Unauthorized,
            "the token has expired or was revoked; ask the owner for another",
        ))
    }

    fn records(&self) -> Result<Arc<[Record]>, Failure> {
        let mut tokens = lock(&self.tokens);
        let changed = self.book.changed();
        if tokens.changed != changed {
            let records = self.book.list().map_err(|error| Failure::of_database(&error))?;
            *tokens = Tokens { changed, records: records.into() };
        }
        Ok(tokens.records.clone())
    }

    /// Notes what a token asked, and says how long to wait before serving it further.
    pub(crate) fn charge(&self, access: &Access, operations: u64, bytes: u64) -> Duration {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut accounts = lock(&self.accounts);
        let account = accounts.entry(access.id().to_owned()).or_default();
        Duration::from_micros(account.charge(self.limits.rate, now, operations, bytes))
    }

    /// Tells when the view has changed.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// A place for one more connection.
    pub(crate) fn place(self: &Arc<Self>) -> Result<Place, Failure> {
        let mut taken = lock(&self.connections);
        if *taken >= self.limits.connections {
            let message = format!("{} connections are open, which is all; try again later", *taken);
            return Err(Failure::new(Code::TooMany, message));
        }
        *taken += 1;
        Ok(Place(self.clone()))
    }
}

/// A connection's place, given back when it ends.
pub(crate) struct Place(Arc<Service>);

impl Drop for Place {
    fn drop(&mut self) {
        *lock(&self.0.connections) -= 1;
    }
}

fn watch_versions(service: &Weak<Service>) {
    let Some(mut seen) = service.upgrade().map(|service| {
        // What is not swept now is swept another time; a device that may not write has noted nothing.
        let _ = origins::sweep(&service.database);
        *service.version.borrow()
    }) else {
        return;
    };
    while let Some(database) = service.upgrade().map(|service| service.database.clone()) {
        let now = database.wait(seen, WATCH);
        if database.is_closed() {
            return;
        }
        drop(database);
        if now != seen {
            seen = now;
            if let Some(service) = service.upgrade() {
                service.version.send_replace(now);
            }
        }
    }
}

/// Seconds since 1970.
pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a lock guards here is whole between any two statements, so a thread that died changes nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
