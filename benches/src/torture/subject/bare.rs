//! fjall with the least that makes a log: blocks by number, and the length, in one batch each.

use super::Victim;
use anyhow::{Context as _, Result};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

const LENGTH: &[u8] = b"length";

pub struct Bare {
    database: Database,
    blocks: Keyspace,
    length: u64,
}

impl Bare {
    pub fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder).worker_threads(1).open()?;
        let blocks = database.keyspace("blocks", KeyspaceCreateOptions::default)?;
        let length = match blocks.get(LENGTH)? {
            Some(bytes) => {
                u64::from_be_bytes(bytes.as_ref().try_into().context("the length has a wrong size")?)
            }
            None => 0,
        };
        Ok(Self { database, blocks, length })
    }

    fn commit(&mut self, mut batch: fjall::OwnedWriteBatch, length: u64) -> Result<()> {
        batch.insert(&self.blocks, LENGTH, length.to_be_bytes());
        batch.durability(Some(PersistMode::SyncData)).commit()?;
        self.length = length;
        Ok(())
    }
}

impl Victim for Bare {
    fn append(&mut self, blocks: &[Vec<u8>]) -> Result<u64> {
        let first = self.length;
        let mut batch = self.database.batch();
        for (index, block) in (first..).zip(blocks) {
            batch.insert(&self.blocks, index.to_be_bytes(), block.as_slice());
        }
        self.commit(batch, first + blocks.len() as u64)?;
        Ok(first)
    }

    fn truncate(&mut self, length: u64) -> Result<()> {
        let mut batch = self.database.batch();
        (length..self.length).for_each(|index| batch.remove(&self.blocks, index.to_be_bytes()));
        self.commit(batch, length)
    }

    fn length(&mut self) -> Result<u64> {
        Ok(self.length)
    }

    fn get(&mut self, index: u64) -> Result<Vec<u8>> {
        let block = self.blocks.get(index.to_be_bytes())?;
        Ok(block.with_context(|| format!("block {index} is not there"))?.to_vec())
    }
}
