//! The engine alone, doing the writes that a log of such blocks does in it: as many records, of the same sizes, in the
//! same two keyspaces, and each batch synced. It encrypts, hashes and signs nothing, and keeps no second place.

use super::db::{Values, key as db_key};
use super::{Job, in_threads, timed};
use anyhow::{Result, ensure};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

/// Bytes of a key, of a sealed block of 100 B, of a sealed record of the tree of 8 blocks, and of a sealed head: what
/// a store's engine holds after such appends.
const KEY: usize = 20;
const BODY: usize = 140;
const TREE: usize = 575;
const HEAD: usize = 155;
/// Blocks whose part of the tree is one record.
const GROUP: u64 = 8;

struct Bare {
    database: Database,
    small: Keyspace,
    bodies: Keyspace,
}

/// Blocks of 100 B by number, so many in a batch, from so many threads.
pub fn append(job: &Job<'_>, at_once: u64, writers: u64) -> Result<()> {
    let count = job.number(0)?;
    let database = Database::builder(job.folder.join("fjall")).open()?;
    let small = database.keyspace("small", KeyspaceCreateOptions::default)?;
    let bodies = database.keyspace("bodies", KeyspaceCreateOptions::default)?;
    let bare = Bare { database, small, bodies };
    timed(count, || {
        in_threads(writers, |writer| {
            (0..count / writers)
                .step_by(at_once as usize)
                .try_for_each(|first| bare.write(writer, first, at_once))
        })
    })
}

impl Bare {
    fn write(&self, log: u64, first: u64, at_once: u64) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for block in first..first + at_once {
            batch.insert(&self.bodies, key(2, log, block), [7; BODY]);
        }
        for group in first / GROUP..(first + at_once).div_ceil(GROUP) {
            batch.insert(&self.small, key(1, log, group), [7; TREE]);
        }
        batch.insert(&self.small, key(0, log, 0), [7; HEAD]);
        Ok(batch.commit()?)
    }
}

fn key(table: u8, log: u64, number: u64) -> [u8; KEY] {
    let mut key = [table; KEY];
    key[4..12].copy_from_slice(&log.to_be_bytes());
    key[12..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The keys and values of the database's rows, put into the engine as they are.
pub fn put(job: &Job<'_>) -> Result<()> {
    let (count, at_once, sync) = (job.number(0)?, job.number(1)?, job.number(2)?);
    let (database, map) = plain(job)?;
    let values = Values::new();
    let mode = if sync == 1 { PersistMode::SyncData } else { PersistMode::Buffer };
    timed(count, || {
        for first in (0..count).step_by(at_once as usize) {
            let mut batch = database.batch().durability(Some(mode));
            for number in first..count.min(first + at_once) {
                batch.insert(&map, db_key(number), values.get(number));
            }
            batch.commit()?;
        }
        Ok(())
    })
}

/// The same gets as the database's.
pub fn get(job: &Job<'_>) -> Result<()> {
    let (count, length) = (job.number(0)?, job.number(1)?);
    let (_database, map) = plain(job)?;
    timed(count, || {
        for number in 0..count {
            let at = (number * 7919 + 12345) % length;
            ensure!(map.get(db_key(at))?.is_some_and(|value| value.len() == 100), "no value {at}");
        }
        Ok(())
    })
}

/// The same scan as the database's.
pub fn scan(job: &Job<'_>) -> Result<()> {
    let (rounds, length) = (job.number(0)?, job.number(1)?);
    let (_database, map) = plain(job)?;
    timed(rounds * length, || {
        for _ in 0..rounds {
            let mut seen = 0;
            for item in map.iter() {
                let (key, value) = item.into_inner()?;
                seen += u64::from(key.len() + value.len() == 116);
            }
            ensure!(seen == length, "saw {seen}");
        }
        Ok(())
    })
}

fn plain(job: &Job<'_>) -> Result<(Database, Keyspace)> {
    let database = Database::builder(job.folder.join("fjall")).open()?;
    let map = database.keyspace("map", KeyspaceCreateOptions::default)?;
    Ok((database, map))
}
