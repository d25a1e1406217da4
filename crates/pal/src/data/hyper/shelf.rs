//! The open store with everything on it that is in use. All calls block.

use super::Problem;
use super::bases::Bases;
use cloudpal_core::Secret;
use cloudpal_log::wire::Role;
use cloudpal_shelf::{Item, Key, Kind, Made, Wish};
use cloudpal_store::{self as store, Access, Connection, Fetch, Memory, Store, StoreKey};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the engine may take: a pal has 128 MiB for everything.
const MEMORY: u64 = 8 << 20;
/// Bytes of the data disk that stay free for files and the file system.
const KEEP_FREE: u64 = 32 << 20;
/// How long a block that is not here is waited for, unless the request says otherwise.
pub const WAIT: Duration = Duration::from_secs(5);
/// Maps and drives that nobody uses take at most 32 MiB of memory together. Drives are synced once a file is whole.
const OPTIONS: cloudpal_shelf::Options = cloudpal_shelf::Options {
    cache_bytes: 1 << 20,
    kept_open: 16,
    items: 10_000,
    copies: 256,
    durability: None,
    wait: WAIT,
};
/// Peers at the same time.
const PEERS: usize = 32;
/// How long a peer that is dialled may take to answer.
const DIALLING: Duration = Duration::from_secs(10);

/// The store of one pal.
pub struct Shelf {
    /// What there is by name.
    pub things: cloudpal_shelf::Shelf,
    /// Its databases.
    pub bases: Bases,
    /// Copies that are followed as long as the store is open, by key.
    followed: Mutex<HashMap<Key, Followed>>,
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

/// The store in numbers.
pub struct About {
    pub network_key: String,
    pub peers: usize,
    /// Logs, maps, drives.
    pub counts: [usize; 3],
    pub databases: usize,
    /// Keys of logs that are shorter than they were.
    pub losses: Vec<String>,
}

impl Shelf {
    /// Opens the store in `dir`, or makes it.
    pub fn open(dir: &Path, key: Secret<32>) -> Result<Self, Problem> {
        let options = store::Options {
            memory: Memory::bytes(MEMORY),
            keep_free: KEEP_FREE,
            get_timeout: WAIT,
            ..store::Options::default()
        };
        let key = StoreKey::new(*key.expose());
        let store = Store::open(dir, &key, options).map_err(|error| Problem::unopened(&error))?;
        let things = cloudpal_shelf::Shelf::new(store, OPTIONS)?;
        let bases = Bases::open_all(things.store(), dir)?;
        let shelf = Shelf { things, bases, followed: Mutex::default(), peers: Mutex::default() };
        shelf.follow_all()?;
        Ok(shelf)
    }

    /// Makes everything last and ends all use; requests under way fail from here on.
    pub fn close(&self) -> Result<(), Problem> {
        let bases = self.bases.close();
        self.things.close()?;
        Ok(bases?)
    }

    /// Everything so far survives a loss of power when this returns.
    pub fn sync(&self) -> Result<(), Problem> {
        Ok(self.things.store().sync()?)
    }

    /// The store in numbers.
    pub fn about(&self) -> Result<About, Problem> {
        let count = |kind| self.things.list(kind).map(|items| items.len());
        Ok(About {
            network_key: hex::encode(self.things.store().network_key()),
            peers: self.connected().len(),
            counts: [count(Kind::Log)?, count(Kind::Bee)?, count(Kind::Drive)?],
            databases: self.bases.names()?.len(),
            losses: self.things.store().losses().into_iter().map(|loss| hex::encode(loss.key)).collect(),
        })
    }

    /// Makes a thing, or begins a copy, which is followed from then on.
    pub fn create(&self, kind: Kind, wish: &Wish) -> Result<Made, Problem> {
        let made = self.things.create(kind, wish)?;
        if let Made::New(item) = &made
            && item.copy
        {
            self.follow(item)?;
        }
        Ok(made)
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
        let connection = self.things.store().replicate(stream, role, &Access::Anyone)?;
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

    fn follow_all(&self) -> Result<(), Problem> {
        for kind in Kind::ALL {
            for item in self.things.list(kind)?.iter().filter(|item| item.copy) {
                self.follow(item)?;
            }
        }
        Ok(())
    }

    fn follow(&self, item: &Item) -> Result<(), Problem> {
        let log = self.things.log(item)?.fetch(0..u64::MAX)?;
        let unknown = (item.kind == Kind::Drive).then(|| item.clone());
        lock(&self.followed).insert(item.key, Followed { _log: log, _contents: None, unknown });
        Ok(())
    }

    /// Follows the contents of drives whose beginning has come since the last time.
    pub fn follow_contents(&self) {
        let drives: Vec<Item> = lock(&self.followed).values().filter_map(|one| one.unknown.clone()).collect();
        for item in drives {
            // Until the first blocks are here there is nothing to follow.
            let Ok(contents) = self.things.contents(&item) else { continue };
            let Ok(contents) = contents.fetch(0..u64::MAX) else { continue };
            if let Some(followed) = lock(&self.followed).get_mut(&item.key) {
                followed._contents = Some(contents);
                followed.unknown = None;
            }
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
