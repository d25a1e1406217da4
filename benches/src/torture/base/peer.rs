//! A peer that holds the database's log, and what a person does with a damaged store: repair it, connect the peer.

use super::open::{KEY, Open};
use crate::disk::Tree;
use crate::place::fast_folder;
use crate::subject::{LogPeer, store_options};
use anyhow::{Context as _, Result, bail};
use cloudpal_store::{Access, StoreKey, repair};
use std::path::Path;
use std::thread;
use std::time::Duration;

const PATIENCE: u32 = 1000;
const TICK: Duration = Duration::from_millis(10);

/// Another store with a copy of the log. It has no key of the database and cannot read what it holds.
pub struct Peer(LogPeer);

impl Peer {
    pub fn of(disk: &Tree) -> Result<Self> {
        let origin = fast_folder()?;
        disk.lay(origin.path())?;
        let open = Open::new(origin.path())?;
        Ok(Peer(LogPeer::of(&open.store, open.db.key())?))
    }
}

/// Repairs a store, opens the database, and waits until it has what the peer has.
pub fn heal(folder: &Path, peer: &Peer) -> Result<Open> {
    repair(folder, &StoreKey::new(KEY), &store_options()).context("the store cannot be repaired")?;
    let open = Open::new(folder).context("it does not open after the repair")?;
    let _connection = open.store.connect(peer.0.address(), &Access::Anyone)?;
    for _ in 0..PATIENCE {
        let read = open.db.sync_progress().iter().all(|log| {
            log.length >= peer.0.length() && log.held >= peer.0.length() && log.read >= peer.0.length()
        });
        // Who reads a damaged page is told so, and it is mended behind that.
        let whole = || open.db.snapshot().state_hash().is_ok();
        if read && open.complaint().is_none() && whole() {
            return Ok(open);
        }
        thread::sleep(TICK);
    }
    bail!("what is missing did not come: {:?}, {:?}", open.complaint(), open.db.sync_progress())
}
