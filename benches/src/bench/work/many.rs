//! A store of many logs.

use super::{Job, open_store, timed};
use anyhow::{Result, ensure};
use bytes::Bytes;
use cloudpal_log::Feed;

fn name(number: u64) -> String {
    format!("log-{number}")
}

/// So many logs of one block.
pub fn fill(job: &Job<'_>) -> Result<()> {
    let count = job.number(0)?;
    let store = open_store(job)?;
    timed(count, || {
        for number in 0..count {
            store.log(&name(number))?.append(&[Bytes::from_static(&[7; 100])])?;
        }
        Ok(())
    })?;
    Ok(store.close()?)
}

/// Opens the store and all of them.
pub fn open(job: &Job<'_>) -> Result<()> {
    let count = job.number(0)?;
    let mut held = Vec::new();
    timed(count, || {
        let store = open_store(job)?;
        for number in 0..count {
            let log = store.log(&name(number))?;
            ensure!(log.length() == 1, "{} has a wrong length", name(number));
            held.push(log);
        }
        Ok(())
    })
}
