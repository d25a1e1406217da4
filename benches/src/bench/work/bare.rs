//! The engine alone, doing the writes that a log of such blocks cannot do without.

use super::{Job, timed};
use anyhow::Result;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};

/// Blocks of 100 B by number, so many in a batch, each batch synced.
pub fn append(job: &Job<'_>, at_once: u64) -> Result<()> {
    let count = job.number(0)?;
    let database = Database::builder(job.folder.join("fjall")).open()?;
    let blocks = database.keyspace("blocks", KeyspaceCreateOptions::default)?;
    let content = [7; 100];
    timed(count, || {
        for first in (0..count).step_by(at_once as usize) {
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            for index in first..first + at_once {
                batch.insert(&blocks, index.to_be_bytes(), content);
            }
            batch.commit()?;
        }
        Ok(())
    })
}
