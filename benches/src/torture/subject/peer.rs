//! A peer that holds the tortured log whole, and what a person does with a damaged store: repair it, connect the peer.

use super::store::{self, Real};
use crate::disk::Tree;
use crate::place::fast_folder;
use anyhow::{Context as _, Result, ensure};
use cloudpal_log::Feed;
use cloudpal_store::{Access, Fetch, Options, Server, Store, StoreKey, repair};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A copy is small and on the same machine. Counted in ticks, for a machine that stands still now and then.
const PATIENCE: u32 = 1000;
const TICK: Duration = Duration::from_millis(10);

/// Another store with a copy, that serves it.
pub struct Peer {
    server: Server,
    length: u64,
    _store: Store,
    _folder: TempDir,
}

impl Peer {
    /// Gets its copy of a log from the store that has it, by replication.
    pub fn of(origin: &Store, key: [u8; 32]) -> Result<Self> {
        let folder = fast_folder()?;
        let source = origin.serve("127.0.0.1:0", Access::Anyone)?;
        let store = Store::open(folder.path(), &StoreKey::new([8; 32]), Options::default())?;
        let (log, length) = (store.get(key)?, origin.get(key)?.length());
        let connection = store.connect(source.address(), &Access::Anyone)?;
        ensure!(came(&log.fetch(0..length)?), "the peer did not get its copy");
        connection.close();
        let server = store.serve("127.0.0.1:0", Access::Anyone)?;
        Ok(Self { server, length, _store: store, _folder: folder })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Blocks of its copy.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A peer with a copy of the log on `disk`.
pub fn of(disk: &Tree) -> Result<Peer> {
    let origin = fast_folder()?;
    disk.lay(origin.path())?;
    let real = Real::open(origin.path())?;
    Peer::of(&real.store, real.log.key())
}

/// Repairs a store, opens it, and gets what it lacks from a peer.
pub fn heal(folder: &Path, peer: &Peer) -> Result<Real> {
    repair(folder, &StoreKey::new(store::KEY), &store::options()).context("it cannot be repaired")?;
    let real = Real::open(folder).context("it does not open after the repair")?;
    let _connection = real.store.connect(peer.address(), &Access::Anyone)?;
    ensure!(came(&real.log.fetch(0..peer.length)?), "what is missing did not come from the peer");
    // The last proof may still be on its way to the disk.
    for _ in 0..PATIENCE {
        if real.log.length() >= peer.length {
            break;
        }
        std::thread::sleep(TICK);
    }
    Ok(real)
}

fn came(fetch: &Fetch) -> bool {
    (0..PATIENCE).any(|_| fetch.wait(TICK))
}
