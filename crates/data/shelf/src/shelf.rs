//! The open store, and what it holds by name. All calls block.

use crate::catalogue::Catalogue;
use crate::item::{Sealer, check_name};
use crate::logs::{DriveLogs, log_name, room};
use crate::{Item, Key, Kind, ShelfError};
use cloudpal_bee::Bee;
use cloudpal_core::Secret;
use cloudpal_drive::Drive;
use cloudpal_log::{Durability, EncryptionKey, Feed};
use cloudpal_store::{LogOptions, Session, Store, Which};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How much a shelf keeps, and how it opens what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Memory for blocks of one open map, or of a drive's, in bytes.
    pub cache_bytes: usize,
    /// Maps, and drives, that stay open though nobody uses them.
    pub kept_open: usize,
    /// Logs, maps and drives together.
    pub items: usize,
    /// Those of them that others write.
    pub copies: usize,
    /// How soon an append to a log or drive must survive a loss of power; none is as the store has it. Maps are always
    /// durable.
    pub durability: Option<Durability>,
    /// How long a read of a drive waits for a peer to bring a longer log of contents.
    pub wait: Duration,
}

impl Default for Options {
    /// For a program that does one thing: all is durable at once, and there is memory.
    fn default() -> Self {
        Options {
            cache_bytes: 32 << 20,
            kept_open: 16,
            items: usize::MAX,
            copies: usize::MAX,
            durability: Some(Durability::Durable),
            wait: Duration::from_secs(30),
        }
    }
}

/// What is to be made.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// Signed as npm hypercore 10 does it by default.
    pub compat: bool,
    /// The key of its encrypted blocks.
    pub encryption: Option<Secret<32>>,
    /// A copy of the one with this key.
    pub copy_of: Option<Key>,
}

impl Wish {
    /// A new thing that is neither encrypted nor a copy.
    pub fn named(name: impl Into<String>) -> Self {
        Wish { name: name.into(), ..Wish::default() }
    }

    fn is(&self, item: &Item) -> bool {
        item.compat == self.compat
            && item.copy == self.copy_of.is_some()
            && self.copy_of.is_none_or(|key| key == item.key)
            && item.is_encrypted() == self.encryption.is_some()
    }
}

/// What a wish led to.
#[derive(Debug, Clone)]
pub enum Made {
    /// It was made.
    New(Item),
    /// It was there already.
    Known(Item),
}

impl Made {
    /// The thing, whichever it is.
    pub fn into_item(self) -> Item {
        match self {
            Made::New(item) | Made::Known(item) => item,
        }
    }
}

/// A store with a catalogue.
pub struct Shelf {
    store: Store,
    catalogue: Catalogue,
    options: Options,
    bees: Open<Bee>,
    drives: Open<Drive>,
}

/// Things in use, by key: writers of the same log must share one object.
type Open<T> = Mutex<HashMap<Key, Arc<T>>>;

impl Shelf {
    /// What is in `store`.
    pub fn new(store: Store, options: Options) -> Result<Self, ShelfError> {
        let catalogue = Catalogue::open(&store)?;
        Ok(Shelf { store, catalogue, options, bees: Mutex::default(), drives: Mutex::default() })
    }

    /// The store, to connect it with peers.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes everything last and ends all use; calls under way fail from here on.
    pub fn close(&self) -> Result<(), ShelfError> {
        Ok(self.store.close()?)
    }

    /// All things of a kind.
    pub fn list(&self, kind: Kind) -> Result<Vec<Item>, ShelfError> {
        self.catalogue.list(kind)
    }

    /// The thing with this name or key, if it is here.
    pub fn look(&self, kind: Kind, wanted: &str) -> Result<Option<Item>, ShelfError> {
        self.catalogue.find(kind, wanted)
    }

    /// The thing with this name or key.
    pub fn find(&self, kind: Kind, wanted: &str) -> Result<Item, ShelfError> {
        let unknown = || ShelfError::Unknown { kind, wanted: wanted.chars().take(200).collect() };
        self.look(kind, wanted)?.ok_or_else(unknown)
    }

    /// Makes a thing, or begins a copy. What is there already is given back if it is as wished.
    pub fn create(&self, kind: Kind, wish: &Wish) -> Result<Made, ShelfError> {
        check_name(&wish.name)?;
        if wish.compat && wish.encryption.is_some() && wish.copy_of.is_none() {
            return Err(ShelfError::CompatEncrypted);
        }
        if let Some(item) = self.look(kind, &wish.name)? {
            let taken = || ShelfError::Taken { kind, name: wish.name.clone() };
            return if wish.is(&item) { Ok(Made::Known(item)) } else { Err(taken()) };
        }
        if let Some(key) = wish.copy_of {
            self.admit_copy(key)?;
        }
        let item = self.item(kind, wish)?;
        self.catalogue.add(&item, self.options.items)?;
        Ok(Made::New(item))
    }

    fn admit_copy(&self, key: Key) -> Result<(), ShelfError> {
        if let Some(Item { kind, name, .. }) = self.catalogue.with_key(key)? {
            return Err(ShelfError::Known { kind, name });
        }
        let limit = self.options.copies;
        let mut copies = 0;
        for kind in Kind::ALL {
            copies += self.list(kind)?.iter().filter(|item| item.copy).count();
        }
        if copies < limit { Ok(()) } else { Err(ShelfError::Copies { limit }) }
    }

    fn item(&self, kind: Kind, wish: &Wish) -> Result<Item, ShelfError> {
        let Wish { name, compat, encryption, copy_of } = wish.clone();
        let which = match copy_of {
            Some(Key(key)) => Which::Key(key),
            None => Which::Named { namespace: room(kind, &name), name: log_name(kind), compat },
        };
        let sealer = encryption.clone().map(EncryptionKey::Log);
        let log = self.store.open_log(which, LogOptions { encryption: sealer, ..LogOptions::default() })?;
        let (key, copy) = (Key(log.key()), copy_of.is_some());
        Ok(Item { kind, name, key, compat, copy, encryption: encryption.map(Sealer) })
    }

    /// The log below a thing.
    pub fn log(&self, item: &Item) -> Result<Session, ShelfError> {
        Ok(self.store.open_log(Which::Key(item.key.0), self.log_options(item))?)
    }

    /// An open map; each operation lasts when it returns.
    pub fn bee(&self, item: &Item) -> Result<Arc<Bee>, ShelfError> {
        self.kept(&self.bees, item.key, || {
            let feed = self.log(item)?.with_durability(Durability::Durable);
            let options =
                cloudpal_bee::Options { cache_bytes: self.options.cache_bytes, ..Default::default() };
            Ok(Bee::new(Arc::new(feed), options))
        })
    }

    /// An open drive.
    pub fn drive(&self, item: &Item) -> Result<Arc<Drive>, ShelfError> {
        self.kept(&self.drives, item.key, || {
            let map = self.log(item)?;
            let room = room(Kind::Drive, &item.name);
            let mut logs = DriveLogs::new(&self.store, room, map.clone(), self.log_options(item));
            if !item.copy {
                logs = logs.signed_by(self.store.key_pair(&room, &log_name(Kind::Drive)));
            }
            let options = cloudpal_drive::Options {
                wait: self.options.wait,
                cache_bytes: self.options.cache_bytes,
                ..Default::default()
            };
            Ok(Drive::open(Arc::new(map), logs, options)?)
        })
    }

    /// The log with a drive's contents; an error as long as a copy does not know it.
    pub fn contents(&self, item: &Item) -> Result<Session, ShelfError> {
        let key = self.drive(item)?.blobs()?.feed().key();
        Ok(self.store.open_log(Which::Key(key), self.log_options(item))?)
    }

    fn log_options(&self, item: &Item) -> LogOptions {
        LogOptions {
            encryption: item.encryption(),
            durability: self.options.durability,
            ..LogOptions::default()
        }
    }

    /// What is open under `key`, opened if it is not.
    fn kept<T>(
        &self,
        all: &Open<T>,
        key: Key,
        open: impl FnOnce() -> Result<T, ShelfError>,
    ) -> Result<Arc<T>, ShelfError> {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get(&key) {
            return Ok(open.clone());
        }
        if all.len() >= self.options.kept_open {
            all.retain(|_, open| Arc::strong_count(open) > 1);
        }
        let opened = Arc::new(open()?);
        all.insert(key, opened.clone());
        Ok(opened)
    }
}
