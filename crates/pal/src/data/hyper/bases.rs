//! The open databases of a store. A pal is an ordinary member of each: whatever comes to it from devices is merged, and what is
//! written to it goes to them.

use super::Problem;
use cloudpal_base::{Database, OpenError, Options, WriteFault};
use cloudpal_serve::owner::{Made, is_founder};
use cloudpal_serve::token::Book;
use cloudpal_serve::{Limits, Rate, Service};
use cloudpal_store::Store;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pal has 128 MiB for everything.
const OPTIONS: Options = Options { memory: 4 << 20 };
/// Databases at most.
const MOST: usize = 16;
/// What devices and apps may take, of each database.
const LIMITS: Limits = Limits {
    snapshots: 256,
    subscriptions: 16,
    connections: 64,
    rate: Rate { operations: 50_000, bytes: 32 << 20 },
};

/// Databases by name.
pub struct Bases {
    store: Store,
    /// Where the store is: tokens lie beside it.
    dir: PathBuf,
    open: Mutex<BTreeMap<String, Arc<Service>>>,
    /// Held while one is made or opened: two of the same would write to one log.
    opening: Mutex<()>,
}

impl Bases {
    /// Opens all that the store has, so that they follow their members. One that does not open says why to whoever asks for it.
    pub fn open_all(store: &Store, dir: &Path) -> Result<Self, Problem> {
        let (open, opening) = Default::default();
        let bases = Bases { store: store.clone(), dir: dir.to_owned(), open, opening };
        for name in bases.names()? {
            let _ = bases.open(&name);
        }
        Ok(bases)
    }

    /// The names of all.
    pub fn names(&self) -> Result<Vec<String>, Problem> {
        Ok(Database::names(&self.store)?)
    }

    /// One that is open.
    pub fn get(&self, name: &str) -> Option<Arc<Service>> {
        lock(&self.open).get(name).cloned()
    }

    /// One that is there.
    pub fn open(&self, name: &str) -> Result<Arc<Service>, Problem> {
        let _one = lock(&self.opening);
        self.open_one(name)
    }

    /// Makes a database, with this pal as its owner. One that it made before is given back.
    pub fn create(&self, name: &str) -> Result<(Arc<Service>, Made), Problem> {
        let _one = lock(&self.opening);
        match self.make(name, || Database::create_with(&self.store, name, OPTIONS))? {
            Some(made) => Ok((made, Made::Now)),
            None => self.there(name, is_founder),
        }
    }

    /// Asks to be let into the database with this key.
    pub fn join(&self, name: &str, key: [u8; 32]) -> Result<(Arc<Service>, Made), Problem> {
        let _one = lock(&self.opening);
        match self.make(name, || Database::join_with(&self.store, name, key, OPTIONS))? {
            Some(made) => Ok((made, Made::Now)),
            None => self.there(name, |base| base.key() == key),
        }
    }

    /// Gives the pal a new log in a database, to be admitted again. Connections to it end.
    pub fn renew(&self, name: &str) -> Result<Arc<Service>, Problem> {
        let _one = lock(&self.opening);
        let old = self.open_one(name)?;
        lock(&self.open).remove(name);
        let renewed = old.database().clone().renew()?;
        self.keep(renewed)
    }

    /// Makes what was written last, and ends all use.
    pub fn close(&self) -> Result<(), WriteFault> {
        let _one = lock(&self.opening);
        let open = std::mem::take(&mut *lock(&self.open));
        // Each, whatever became of the one before.
        open.values().map(|one| one.database().close()).fold(Ok(()), Result::and)
    }

    /// None if there is one of that name.
    fn make(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Database, OpenError>,
    ) -> Result<Option<Arc<Service>>, Problem> {
        let names = self.names()?;
        if names.len() >= MOST && !names.iter().any(|there| there == name) {
            return Err(Problem::too_large(format!("a pal has at most {MOST} databases")));
        }
        match make() {
            Ok(made) => self.keep(made).map(Some),
            Err(OpenError::Exists(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// One that is there already, if it is what is wanted.
    fn there(
        &self,
        name: &str,
        is_wanted: impl FnOnce(&Database) -> bool,
    ) -> Result<(Arc<Service>, Made), Problem> {
        let there = self.open_one(name)?;
        match is_wanted(there.database()) {
            true => Ok((there, Made::Before)),
            false => Err(OpenError::Exists(name.to_owned()).into()),
        }
    }

    fn open_one(&self, name: &str) -> Result<Arc<Service>, Problem> {
        match self.get(name) {
            Some(open) => Ok(open),
            None => self.keep(Database::open_with(&self.store, name, OPTIONS)?),
        }
    }

    fn keep(&self, database: Database) -> Result<Arc<Service>, Problem> {
        let name = database.name().to_owned();
        let service = Service::new(database, Book::beside(&self.dir, &name), LIMITS)?;
        lock(&self.open).insert(name, service.clone());
        Ok(service)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
