//! A sorted map on a log.

use super::{Job, log, timed};
use anyhow::{Context as _, Result};
use cloudpal_bee::{Bee, Options};
use std::sync::Arc;

fn key(number: u64) -> String {
    format!("key-{number:08}")
}

/// So many keys in one batch.
pub fn put(job: &Job<'_>) -> Result<()> {
    let count = job.number(0)?;
    let (store, log) = log::open(job)?;
    let bee = Bee::new(Arc::new(log), Options::default());
    timed(count, || {
        let mut batch = bee.batch();
        for number in 0..count {
            batch.put(key(log::place(number, count)), [7; 32])?;
        }
        batch.flush()?;
        Ok(())
    })?;
    Ok(store.close()?)
}

/// Keys here and there in a map of so many.
pub fn get(job: &Job<'_>) -> Result<()> {
    let (count, length) = (job.number(0)?, job.number(1)?);
    let (store, log) = log::open(job)?;
    let bee = Bee::new(Arc::new(log), Options::default());
    timed(count, || {
        for number in 0..count {
            bee.get(key(log::place(number, length)))?.context("a key is missing")?;
        }
        Ok(())
    })?;
    Ok(store.close()?)
}
