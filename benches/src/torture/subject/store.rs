//! The real store, with one log in it that is made durable step by step.

use super::Victim;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use cloudpal_log::{Durability, Feed};
use cloudpal_store::{Options, Session, Store, StoreKey};
use std::path::Path;

/// Opens every store in here: what is tried is loss, not secrecy.
pub const KEY: [u8; 32] = [7; 32];

pub struct Real {
    pub store: Store,
    pub log: Session,
}

/// The recording disk is as large as it says, and says the same whatever lies on it.
pub fn options() -> Options {
    Options { durability: Durability::Durable, keep_free: 0, ..Options::default() }
}

impl Real {
    pub fn open(folder: &Path) -> Result<Self> {
        let store = Store::open(folder, &StoreKey::new(KEY), options())?;
        let log = store.log("tortured")?;
        Ok(Self { store, log })
    }
}

impl Victim for Real {
    fn append(&mut self, blocks: &[Vec<u8>]) -> Result<u64> {
        let blocks: Vec<Bytes> = blocks.iter().map(|block| Bytes::copy_from_slice(block)).collect();
        Ok(self.log.append(&blocks)?)
    }

    fn truncate(&mut self, length: u64) -> Result<()> {
        Ok(self.log.truncate(length)?)
    }

    fn tidy(&mut self) -> Result<()> {
        self.store.gc()?;
        Ok(())
    }

    fn length(&mut self) -> Result<u64> {
        Ok(self.log.length())
    }

    fn get(&mut self, index: u64) -> Result<Vec<u8>> {
        let block = self.log.get_local(index)?;
        Ok(block.with_context(|| format!("block {index} is not held"))?.to_vec())
    }

    fn complaint(&mut self) -> Option<String> {
        // An uncertain one was never acknowledged: it was being written when power was lost.
        let loss = self.store.losses().into_iter().find(|loss| loss.certain)?;
        Some(format!("had {}, has {}", loss.had, loss.has))
    }
    fn tells_of_loss(&mut self) -> bool {
        !self.store.losses().is_empty()
    }
}
