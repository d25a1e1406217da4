//! The open store with everything on it that is in use. All calls block.

use super::Problem;
use super::catalogue::{Catalogue, Item, Kind, check_name, key_of};
use cloudpal_bee::Bee;
use cloudpal_core::Secret;
use cloudpal_drive::{BlobLog, Drive, Logs};
use cloudpal_log::wire::Role;
use cloudpal_log::{Durability, EncryptionKey, Feed, FeedError, KeyPair, Manifest};
use cloudpal_store::{
    Access, Connection, Fetch, LogOptions, Memory, Namespace, Options, Session, Store, StoreKey, Which,
};
use serde::Deserialize;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the engine may take: a pal has 128 MiB for everything.
const MEMORY: u64 = 8 << 20;
/// Bytes of the data disk that stay free for files and the file system.
const KEEP_FREE: u64 = 32 << 20;
/// How long a block that is not here is waited for, unless the request says otherwise.
pub const WAIT: Duration = Duration::from_secs(5);
/// Memory for the blocks of one open map, or of a drive's, in bytes.
const MAP_CACHE: usize = 1 << 20;
/// Maps, and drives, that stay open though nobody uses them.
const KEPT_OPEN: usize = 16;
/// Copies of others' logs that are followed.
const COPIES: usize = 256;
/// Peers at the same time.
const PEERS: usize = 32;
/// How long a peer that is dialled may take to answer.
const DIALLING: Duration = Duration::from_secs(10);

/// The store of one pal.
pub struct Shelf {
    store: Store,
    catalogue: Catalogue,
    bees: Mutex<HashMap<[u8; 32], Arc<Bee>>>,
    drives: Mutex<HashMap<[u8; 32], Arc<Drive>>>,
    /// Copies that are followed as long as the store is open, by key.
    followed: Mutex<HashMap<[u8; 32], Followed>>,
    peers: Mutex<Vec<Peer>>,
}

/// A connection, and where it was dialled unless the peer came by itself.
struct Peer {
    connection: Connection,
    dialled: Option<SocketAddr>,
}

/// A peer, for those who ask.
pub struct PeerInfo {
    pub address: Option<SocketAddr>,
    /// Its static key, in hex.
    pub key: String,
    pub dialled: bool,
}

impl Peer {
    fn info(&self) -> PeerInfo {
        PeerInfo {
            address: self.dialled.or_else(|| self.connection.remote_address()),
            key: hex::encode(self.connection.remote_key()),
            dialled: self.dialled.is_some(),
        }
    }
}

/// Asks every peer for all of a log as long as this is held; a drive's contents join in once it is known where they
/// are.
struct Followed {
    _log: Fetch,
    _contents: Option<Fetch>,
    /// A drive whose contents are not known yet.
    unknown: Option<Item>,
}

/// What somebody wants to have made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// As npm hypercore 10 signs.
    #[serde(default)]
    pub compat: bool,
    /// With a new encryption key.
    #[serde(default)]
    pub encrypt: bool,
    /// A copy of the one with this key, in hex.
    pub key: Option<String>,
    /// With this encryption key, in hex.
    pub encryption_key: Option<String>,
}

/// The store in numbers.
pub struct About {
    pub network_key: String,
    pub peers: usize,
    /// Logs, maps, drives.
    pub counts: [usize; 3],
    /// Keys of logs that are shorter than they were.
    pub losses: Vec<String>,
}

impl Shelf {
    /// Opens the store in `dir`, or makes it.
    pub fn open(dir: &Path, key: Secret<32>) -> Result<Self, Problem> {
        let options = Options {
            memory: Memory::bytes(MEMORY),
            keep_free: KEEP_FREE,
            get_timeout: WAIT,
            ..Options::default()
        };
        let key = StoreKey::new(*key.expose());
        let store = Store::open(dir, &key, options).map_err(|error| Problem::unopened(&error))?;
        let catalogue = Catalogue::open(&store)?;
        let shelf = Shelf {
            store,
            catalogue,
            bees: Mutex::default(),
            drives: Mutex::default(),
            followed: Mutex::default(),
            peers: Mutex::default(),
        };
        shelf.follow_all()?;
        Ok(shelf)
    }

    /// Makes everything last and ends all use; requests under way fail from here on.
    pub fn close(&self) -> Result<(), Problem> {
        Ok(self.store.close()?)
    }

    /// Everything so far survives a loss of power when this returns.
    pub fn sync(&self) -> Result<(), Problem> {
        Ok(self.store.sync()?)
    }

    /// The store in numbers.
    pub fn about(&self) -> Result<About, Problem> {
        let count = |kind| self.catalogue.list(kind).map(|items| items.len());
        Ok(About {
            network_key: hex::encode(self.store.network_key()),
            peers: self.connected().len(),
            counts: [count(Kind::Log)?, count(Kind::Bee)?, count(Kind::Drive)?],
            losses: self.store.losses().into_iter().map(|loss| hex::encode(loss.key)).collect(),
        })
    }

    /// All things of a kind.
    pub fn list(&self, kind: Kind) -> Result<Vec<Item>, Problem> {
        self.catalogue.list(kind)
    }

    /// The thing with this name or key.
    pub fn find(&self, kind: Kind, wanted: &str) -> Result<Item, Problem> {
        let found = self.catalogue.find(kind, wanted)?;
        found.ok_or_else(|| {
            let word = kind.word();
            Problem::not_found(format!(
                "the pal has no {word} `{wanted}`; make it with: cloudpal {word} create"
            ))
        })
    }

    /// Makes a thing, or begins a copy; also whether it is new. What is there already is given back if it is as wished.
    pub fn create(&self, kind: Kind, wish: &Wish) -> Result<(Item, bool), Problem> {
        check_name(&wish.name)?;
        let key = wish.key.as_deref().map(|text| hex_key(text, "a key")).transpose()?;
        if let Some(item) = self.catalogue.find(kind, &wish.name)? {
            let same = item.compat == wish.compat
                && key.is_none_or(|key| item.key == hex::encode(key))
                && item.copy == key.is_some()
                && item.encryption.is_some() == (wish.encrypt || wish.encryption_key.is_some());
            let (word, name) = (kind.word(), &wish.name);
            return match same {
                true => Ok((item, false)),
                false => Err(Problem::exists(format!(
                    "there is another {word} called `{name}`; take another name"
                ))),
            };
        }
        let item = self.make(kind, wish, key)?;
        self.catalogue.put(&item)?;
        if item.copy {
            self.follow(&item)?;
        }
        Ok((item, true))
    }

    fn make(&self, kind: Kind, wish: &Wish, key: Option<[u8; 32]>) -> Result<Item, Problem> {
        let encryption = encryption(wish)?;
        let copy = key.is_some();
        if copy && self.copies()? >= COPIES {
            return Err(Problem::too_large(format!("a pal follows at most {COPIES} copies")));
        }
        let (name, compat) = (wish.name.clone(), wish.compat);
        let which = match key {
            Some(key) => Which::Key(key),
            None => Which::Named { namespace: namespace(kind, &name), name: log_name(kind), compat },
        };
        let mut item = Item {
            kind,
            name,
            key: String::new(),
            compat,
            copy,
            encryption: encryption.map(super::catalogue::Sealer),
        };
        let options = LogOptions { encryption: item.encryption(), ..LogOptions::default() };
        let log = self.store.open_log(which, options)?;
        item.key = hex::encode(log.key());
        if self.catalogue.find(kind, &item.key)?.is_some() {
            return Err(Problem::exists("the pal has this key already, under another name"));
        }
        Ok(item)
    }

    /// The log below a thing.
    pub fn log(&self, item: &Item) -> Result<Session, Problem> {
        let options = LogOptions { encryption: item.encryption(), ..LogOptions::default() };
        Ok(self.store.open_log(Which::Key(item.key()?), options)?)
    }

    /// An open map; each operation lasts when it returns.
    pub fn bee(&self, item: &Item) -> Result<Arc<Bee>, Problem> {
        kept(&self.bees, item.key()?, || {
            let feed = self.log(item)?.with_durability(Durability::Durable);
            let options = cloudpal_bee::Options { cache_bytes: MAP_CACHE, ..Default::default() };
            Ok(Bee::new(Arc::new(feed), options))
        })
    }

    /// An open drive. What is written lasts after the next [`sync`](Self::sync).
    pub fn drive(&self, item: &Item) -> Result<Arc<Drive>, Problem> {
        kept(&self.drives, item.key()?, || {
            let namespace = namespace(Kind::Drive, &item.name);
            let map = self.log(item)?;
            let logs = DriveLogs {
                store: self.store.clone(),
                map: map.clone(),
                key_pair: (!item.copy).then(|| self.store.key_pair(&namespace, &log_name(Kind::Drive))),
                namespace,
                encryption: item.encryption(),
            };
            let options =
                cloudpal_drive::Options { wait: WAIT, cache_bytes: MAP_CACHE, ..Default::default() };
            Ok(Drive::open(Arc::new(map), logs, options)?)
        })
    }

    /// Replicates with whoever is at the other end of `stream`.
    pub fn welcome(&self, stream: TcpStream) -> Result<(), Problem> {
        self.meet(stream, Role::Responder, None).map(drop)
    }

    /// Connects to a peer; also whether that is new. One that was dialled before is not dialled again.
    pub fn dial(&self, address: SocketAddr) -> Result<(PeerInfo, bool), Problem> {
        let known = self.connected().iter().find(|peer| peer.dialled == Some(address)).map(Peer::info);
        if let Some(known) = known {
            return Ok((known, false));
        }
        let stream = TcpStream::connect_timeout(&address, DIALLING)
            .map_err(|error| Problem::unreachable(address, &error))?;
        let peer = self.meet(stream, Role::Initiator, Some(address));
        Ok((peer.map_err(|problem| Problem::no_peer(address, &problem))?, true))
    }

    /// Ends the connection to a peer that was dialled.
    pub fn hang_up(&self, address: SocketAddr) -> Result<(), Problem> {
        let mut peers = self.connected();
        let at = peers.iter().position(|peer| peer.dialled == Some(address));
        let at = at.ok_or_else(|| Problem::not_found(format!("the pal has not dialled {address}")))?;
        peers.swap_remove(at).connection.close();
        Ok(())
    }

    /// Who is connected.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.connected().iter().map(Peer::info).collect()
    }

    fn meet(&self, stream: TcpStream, role: Role, dialled: Option<SocketAddr>) -> Result<PeerInfo, Problem> {
        if self.connected().len() >= PEERS {
            return Err(Problem::too_large(format!("a pal has at most {PEERS} peers at a time")));
        }
        let connection = self.store.replicate(stream, role, &Access::Anyone)?;
        let peer = Peer { connection, dialled };
        let info = peer.info();
        lock(&self.peers).push(peer);
        Ok(info)
    }

    fn connected(&self) -> MutexGuard<'_, Vec<Peer>> {
        let mut peers = lock(&self.peers);
        peers.retain(|peer| !peer.connection.is_closed());
        peers
    }

    fn copies(&self) -> Result<usize, Problem> {
        let mut copies = 0;
        for kind in [Kind::Log, Kind::Bee, Kind::Drive] {
            copies += self.catalogue.list(kind)?.iter().filter(|item| item.copy).count();
        }
        Ok(copies)
    }

    fn follow_all(&self) -> Result<(), Problem> {
        for kind in [Kind::Log, Kind::Bee, Kind::Drive] {
            for item in self.catalogue.list(kind)?.iter().filter(|item| item.copy) {
                self.follow(item)?;
            }
        }
        Ok(())
    }

    fn follow(&self, item: &Item) -> Result<(), Problem> {
        let log = self.log(item)?.fetch(0..u64::MAX)?;
        let unknown = (item.kind == Kind::Drive).then(|| item.clone());
        lock(&self.followed).insert(item.key()?, Followed { _log: log, _contents: None, unknown });
        Ok(())
    }

    /// Follows the contents of drives whose beginning has come since the last time.
    pub fn follow_contents(&self) {
        let drives: Vec<Item> = lock(&self.followed).values().filter_map(|one| one.unknown.clone()).collect();
        for item in drives {
            // Until the first blocks are here there is nothing to follow.
            let contents = self.drive(&item).and_then(|drive| self.contents(&drive));
            let Ok(contents) = contents.and_then(|log| Ok(log.fetch(0..u64::MAX)?)) else { continue };
            let Ok(key) = item.key() else { continue };
            if let Some(followed) = lock(&self.followed).get_mut(&key) {
                followed._contents = Some(contents);
                followed.unknown = None;
            }
        }
    }

    /// The log with a drive's contents; an error as long as a copy does not know it.
    pub fn contents(&self, drive: &Drive) -> Result<Session, Problem> {
        Ok(self.store.get(drive.blobs()?.feed().key())?)
    }
}

/// The room of a thing's signing key.
fn namespace(kind: Kind, name: &str) -> Namespace {
    Namespace::ROOT.child(kind.word().as_bytes()).child(name.as_bytes())
}

/// The map of a drive has the name that npm hyperdrive gives it.
fn log_name(kind: Kind) -> String {
    if kind == Kind::Drive { "db".into() } else { "main".into() }
}

fn encryption(wish: &Wish) -> Result<Option<Secret<32>>, Problem> {
    if wish.compat && (wish.encrypt || wish.encryption_key.is_some()) && wish.key.is_none() {
        return Err(Problem::usage(
            "an encrypted compat log crashes npm hypercore 11; leave out one of the two",
        ));
    }
    if let Some(text) = &wish.encryption_key {
        return Ok(Some(Secret::new(hex_key(text, "an encryption key")?)));
    }
    if !wish.encrypt {
        return Ok(None);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| Problem::stumbled())?;
    Ok(Some(Secret::new(key)))
}

fn hex_key(text: &str, what: &str) -> Result<[u8; 32], Problem> {
    key_of(text).ok_or_else(|| Problem::usage(format!("{what} has 64 hexadecimal digits")))
}

/// What is open under `key`, opened if it is not. Writers of the same log must share one object.
fn kept<T>(
    all: &Mutex<HashMap<[u8; 32], Arc<T>>>,
    key: [u8; 32],
    open: impl FnOnce() -> Result<T, Problem>,
) -> Result<Arc<T>, Problem> {
    let mut all = lock(all);
    if let Some(open) = all.get(&key) {
        return Ok(open.clone());
    }
    if all.len() >= KEPT_OPEN {
        all.retain(|_, open| Arc::strong_count(open) > 1);
    }
    let opened = Arc::new(open()?);
    all.insert(key, opened.clone());
    Ok(opened)
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The logs of a drive out of the store.
struct DriveLogs {
    store: Store,
    map: Session,
    /// Signs the contents too; none for a copy.
    key_pair: Option<KeyPair>,
    namespace: Namespace,
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
            BlobLog::Own => Which::named(self.namespace, "blobs"),
        };
        let options = LogOptions { encryption: self.encryption.clone(), ..LogOptions::default() };
        let log = self.store.open_log(which, options);
        let log = log.map_err(|source| FeedError::Refused {
            doing: "open the drive's contents",
            source: Box::new(source),
        })?;
        Ok(Arc::new(log))
    }
}
