//! A log from one process to another.

use super::{Job, log, open_store, peak_bytes, timed};
use anyhow::{Context as _, Result, ensure};
use cloudpal_log::Feed;
use cloudpal_store::Access;
use serde_json::json;
use std::time::Duration;

/// Longer than any row may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Serves until its standard input ends.
pub fn serve(job: &Job<'_>) -> Result<()> {
    let (store, log) = log::open(job)?;
    let server = store.serve("127.0.0.1:0", Access::Anyone)?;
    println!("{}", json!({ "port": server.address().port(), "key": hex::encode(log.key()) }));
    while std::io::stdin().read_line(&mut String::new())? > 0 {}
    println!("{}", json!({ "peak_bytes": peak_bytes()? }));
    drop(server);
    Ok(store.close()?)
}

/// Fetches so many blocks of such a size from a port, by key.
pub fn fetch(job: &Job<'_>) -> Result<()> {
    let (count, size, port) = (job.number(0)?, job.number(1)?, job.number(2)?);
    let key = <[u8; 32]>::try_from(hex::decode(job.text(3)?)?).ok().context("the key is not 32 bytes")?;
    let store = open_store(job)?;
    let log = store.get(key)?;
    timed(count, || {
        let _connection = store.connect(("127.0.0.1", u16::try_from(port)?), &Access::Anyone)?;
        ensure!(log.fetch(0..count)?.wait(PATIENCE), "not all came in {PATIENCE:?}");
        Ok(())
    })?;
    ensure!(log.info().contiguous == count, "has {} blocks", log.info().contiguous);
    ensure!(log.get(count - 1)? == log::block(count - 1, size), "the last block is another one");
    Ok(store.close()?)
}
