//! Which logs, sorted maps and drives there are: a sorted map on a log of its own.
//!
//! ```text
//! name/KIND/NAME -> Item as JSON        key/HEX -> KIND/NAME
//! ```

use crate::{Item, Key, Kind, ShelfError};
use cloudpal_bee::{Bee, Entry, Options, Range};
use cloudpal_log::Durability;
use cloudpal_store::{Namespace, Store};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Memory for the map's blocks, in bytes.
const CACHE: usize = 256 << 10;

/// The list of all things.
pub struct Catalogue {
    map: Bee,
    /// How many there are; counted when the first one is added.
    count: Mutex<Option<usize>>,
}

impl Catalogue {
    /// In a log of `store` that only this knows.
    pub fn open(store: &Store) -> Result<Self, ShelfError> {
        let log = store.log_in(&Namespace::ROOT.child(b"cloudpal"), "catalogue")?;
        let feed = Arc::new(log.with_durability(Durability::Durable));
        let map = Bee::new(feed, Options { cache_bytes: CACHE, ..Options::default() });
        Ok(Catalogue { map, count: Mutex::default() })
    }

    /// Adds a thing that is not there yet, if there are fewer than `limit`.
    pub fn add(&self, item: &Item, limit: usize) -> Result<(), ShelfError> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match *count {
            Some(known) => known,
            None => self.map.range(Range::prefix("key/")).count(),
        };
        if before >= limit {
            return Err(ShelfError::Full { limit });
        }
        let place = place(item.kind, &item.name);
        let text = serde_json::to_vec(item).map(Zeroizing::new);
        let text = text.map_err(|source| ShelfError::Damaged { place: place.clone(), source })?;
        let mut batch = self.map.batch();
        batch.put(format!("key/{}", item.key), &place)?;
        batch.put(format!("name/{place}"), text.as_slice())?;
        batch.flush()?;
        *count = Some(before + 1);
        Ok(())
    }

    /// The thing of this kind with this name or key.
    pub fn find(&self, kind: Kind, wanted: &str) -> Result<Option<Item>, ShelfError> {
        match wanted.parse::<Key>() {
            Err(_) => self.at(&place(kind, wanted)),
            Ok(key) => Ok(self.with_key(key)?.filter(|item| item.kind == kind)),
        }
    }

    /// The thing with this key, of whatever kind.
    pub fn with_key(&self, key: Key) -> Result<Option<Item>, ShelfError> {
        match self.map.get(format!("key/{key}"))? {
            Some(entry) => self.at(entry.value_str().unwrap_or_default()),
            None => Ok(None),
        }
    }

    /// All things of a kind, by name.
    pub fn list(&self, kind: Kind) -> Result<Vec<Item>, ShelfError> {
        let entries = self.map.range(Range::prefix(format!("name/{}", place(kind, ""))));
        entries.map(|entry| item(&entry?)).collect()
    }

    fn at(&self, place: &str) -> Result<Option<Item>, ShelfError> {
        self.map.get(format!("name/{place}"))?.map(|entry| item(&entry)).transpose()
    }
}

fn place(kind: Kind, name: &str) -> String {
    format!("{}/{name}", kind.word())
}

fn item(entry: &Entry) -> Result<Item, ShelfError> {
    let damaged =
        |source| ShelfError::Damaged { place: String::from_utf8_lossy(&entry.key).into_owned(), source };
    entry.value_json().map_err(damaged)
}
