//! The open store in a folder, and what it holds by name. All calls block.

use super::catalogue::{Catalogue, Item, Kind, check_name};
use super::failure::failed;
use super::key::Key;
use super::unlock::store_key;
use crate::failure::{Exit, Failure};
use crate::person::Person;
use cloudpal_bee::Bee;
use cloudpal_core::Secret;
use cloudpal_drive::{BlobLog, Drive, Logs};
use cloudpal_log::{Durability, EncryptionKey, Feed, FeedError, KeyPair, Manifest};
use cloudpal_store::{LogOptions, Namespace, Options, Session, Store, Which};
use std::path::Path;
use std::sync::Arc;

/// A store in a folder. Closed when it is dropped.
pub struct Shelf {
    /// The logs.
    pub store: Store,
    catalogue: Catalogue,
}

/// What is to be made.
#[derive(Debug, Default)]
pub struct Wish<'a> {
    /// Its name.
    pub name: &'a str,
    /// Signed as npm hypercore 10 does it by default.
    pub compat: bool,
    /// The key of its encrypted blocks.
    pub encryption: Option<Secret<32>>,
    /// A copy of the one with this key.
    pub copy_of: Option<Key>,
}

impl Shelf {
    /// Opens the store in `dir`, or makes one there.
    pub fn open(person: &Person, dir: &Path) -> Result<Self, Failure> {
        let key = store_key(person, dir)?;
        let store = Store::open(dir, &key, Options::default()).map_err(failed)?;
        let catalogue = Catalogue::open(&store)?;
        Ok(Shelf { store, catalogue })
    }

    /// Makes everything last, and tells if that fails.
    pub fn close(self) -> Result<(), Failure> {
        self.store.close().map_err(failed)
    }

    /// All things of a kind.
    pub fn list(&self, kind: Kind) -> Result<Vec<Item>, Failure> {
        self.catalogue.list(kind)
    }

    /// The thing with this name or key, if it is here.
    pub fn look(&self, kind: Kind, wanted: &str) -> Result<Option<Item>, Failure> {
        self.catalogue.find(kind, wanted)
    }

    /// The thing with this name or key.
    pub fn find(&self, kind: Kind, wanted: &str) -> Result<Item, Failure> {
        self.look(kind, wanted)?.ok_or_else(|| {
            let word = kind.word();
            let message = format!(
                "there is no {word} `{wanted}` in this folder; `cloudpal {word} list` shows those there are, \
                 `cloudpal {word} create` makes one, `cloudpal {word} fetch` brings one from a peer"
            );
            Failure::new(Exit::NotFound, message)
        })
    }

    /// Makes a thing, or begins a copy. What is there already is given back if it is as wished.
    pub fn create(&self, kind: Kind, wish: &Wish<'_>) -> Result<Item, Failure> {
        check_name(wish.name)?;
        if wish.compat && wish.encryption.is_some() && wish.copy_of.is_none() {
            let message = "an encrypted compat log crashes npm hypercore 11; leave out --compat or --encrypt";
            return Err(Failure::new(Exit::Usage, message));
        }
        if let Some(item) = self.catalogue.find(kind, wish.name)? {
            let same = item.compat == wish.compat
                && item.copy == wish.copy_of.is_some()
                && item.is_encrypted() == wish.encryption.is_some()
                && wish.copy_of.is_none_or(|key| item.key().is_ok_and(|own| own == key));
            if same {
                return Ok(item);
            }
            let message =
                format!("there is another {} called `{}`; take another name", kind.word(), wish.name);
            return Err(Failure::new(Exit::WouldLose, message));
        }
        let which = match wish.copy_of {
            Some(Key(key)) => Which::Key(key),
            None => {
                Which::Named { namespace: room(kind, wish.name), name: log_name(kind), compat: wish.compat }
            }
        };
        let encryption = wish.encryption.clone().map(EncryptionKey::Log);
        let log =
            self.store.open_log(which, LogOptions { encryption, ..LogOptions::default() }).map_err(failed)?;
        let mut item = Item::new(kind, wish.name, Key(log.key())).encrypted(wish.encryption.as_ref());
        item.compat = wish.compat;
        item.copy = wish.copy_of.is_some();
        self.catalogue.put(&item)?;
        Ok(item)
    }

    /// The log below a thing. What it appends lasts when the call returns.
    pub fn log(&self, item: &Item) -> Result<Session, Failure> {
        let options = LogOptions {
            encryption: item.encryption(),
            durability: Some(Durability::Durable),
            ..LogOptions::default()
        };
        self.store.open_log(Which::Key(item.key()?.0), options).map_err(failed)
    }

    /// A map.
    pub fn bee(&self, item: &Item) -> Result<Bee, Failure> {
        Ok(Bee::new(Arc::new(self.log(item)?), cloudpal_bee::Options::default()))
    }

    /// A drive.
    pub fn drive(&self, item: &Item) -> Result<Drive, Failure> {
        let room = room(Kind::Drive, &item.name);
        let map = self.log(item)?;
        let logs = DriveLogs {
            store: self.store.clone(),
            map: map.clone(),
            key_pair: (!item.copy).then(|| self.store.key_pair(&room, &log_name(Kind::Drive))),
            room,
            encryption: item.encryption(),
        };
        Drive::open(Arc::new(map), logs, cloudpal_drive::Options::default()).map_err(failed)
    }

    /// The log with a drive's contents; none as long as a copy does not know it.
    pub fn contents(&self, item: &Item) -> Result<Option<Session>, Failure> {
        let drive = self.drive(item)?;
        let Ok(blobs) = drive.blobs() else { return Ok(None) };
        let options = LogOptions { encryption: item.encryption(), ..LogOptions::default() };
        self.store.open_log(Which::Key(blobs.feed().key()), options).map(Some).map_err(failed)
    }
}

/// The room of a thing's signing key.
fn room(kind: Kind, name: &str) -> Namespace {
    Namespace::ROOT.child(kind.word().as_bytes()).child(name.as_bytes())
}

/// The map of a drive has the name that npm hyperdrive gives it.
fn log_name(kind: Kind) -> String {
    if kind == Kind::Drive { "db".into() } else { "main".into() }
}

/// The logs of a drive out of a store.
struct DriveLogs {
    store: Store,
    map: Session,
    key_pair: Option<KeyPair>,
    room: Namespace,
    encryption: Option<EncryptionKey>,
}

impl Logs for DriveLogs {
    fn manifest(&self) -> Option<Manifest> {
        self.map.info().manifest
    }

    fn blobs(&self, which: BlobLog) -> Result<Arc<dyn Feed>, FeedError> {
        let which = match which {
            BlobLog::Manifest(manifest) => Which::Manifest { manifest, key_pair: self.key_pair.clone() },
            BlobLog::Key(key) => Which::Key(key),
            // As npm hyperdrive names it.
            BlobLog::Own => Which::Named {
                namespace: self.room,
                name: format!("{}/blobs", Key(self.map.key()).z32()),
                compat: self.map.info().compat,
            },
        };
        let options = LogOptions {
            encryption: self.encryption.clone(),
            durability: Some(Durability::Durable),
            ..LogOptions::default()
        };
        let refused =
            |source| FeedError::Refused { doing: "open the drive's contents", source: Box::new(source) };
        Ok(Arc::new(self.store.open_log(which, options).map_err(refused)?))
    }
}
