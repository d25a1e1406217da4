//! Logs of a store.

use super::{Job, in_threads, open_store, timed};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cloudpal_log::{Durability, Feed};
use cloudpal_store::{Session, Store};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

const NAME: &str = "log";

/// The log that all tasks of a row use, and the store that it is in.
pub fn open(job: &Job<'_>) -> Result<(Store, Session)> {
    let store = open_store(job)?;
    let log = store.log(NAME).context("cannot open the log")?;
    Ok((store, log))
}

/// Blocks of 100 B, so many in a call.
pub fn append(job: &Job<'_>, at_once: u64, durability: Durability) -> Result<()> {
    let count = job.number(0)?;
    let (store, log) = open(job)?;
    let log = log.with_durability(durability);
    let batch = vec![Bytes::from_static(&[7; 100]); at_once as usize];
    timed(count, || {
        for _ in (0..count).step_by(at_once as usize) {
            log.append(&batch)?;
        }
        Ok(())
    })?;
    Ok(store.close()?)
}

/// Blocks of 100 B, each made durable before the next, from so many threads with a log each: those that write at the
/// same time share a sync.
pub fn append_from_many(job: &Job<'_>) -> Result<()> {
    let (count, writers) = (job.number(0)?, job.number(1)?);
    let store = open_store(job)?;
    let open = |number| Ok(store.log(&format!("log {number}"))?.with_durability(Durability::Durable));
    let logs: Vec<Session> = (0..writers).map(open).collect::<Result<_>>()?;
    let block = [Bytes::from_static(&[7; 100])];
    timed(count, || {
        in_threads(writers, |writer| {
            let log = &logs[writer as usize];
            (0..count / writers).try_for_each(|_| log.append(&block).map(drop).map_err(Into::into))
        })
    })?;
    Ok(store.close()?)
}

/// The bytes of block `index`: its number, then as many as wanted of its last byte.
pub fn block(index: u64, size: u64) -> Bytes {
    let mut bytes = vec![index as u8; size as usize];
    bytes[..4].copy_from_slice(&(index as u32).to_le_bytes());
    bytes.into()
}

/// A log of so many blocks of such a size.
pub fn fill(job: &Job<'_>) -> Result<()> {
    let (count, size) = (job.number(0)?, job.number(1)?);
    let (store, log) = open(job)?;
    timed(count, || {
        for first in (0..count).step_by(1000) {
            let batch: Vec<Bytes> =
                (first..count.min(first + 1000)).map(|index| block(index, size)).collect();
            log.append(&batch)?;
        }
        Ok(())
    })?;
    Ok(store.close()?)
}

/// The same order of places as `place` in `bench.mjs`.
pub fn place(number: u64, length: u64) -> u64 {
    (number * 7919 + 12345) % length
}

/// Blocks here and there in a log of so many.
pub fn random_get(job: &Job<'_>) -> Result<()> {
    let (count, length) = (job.number(0)?, job.number(1)?);
    let (store, log) = open(job)?;
    timed(count, || (0..count).try_for_each(|number| check(&log, place(number, length))))?;
    Ok(store.close()?)
}

/// Reads a block and looks whether it is the right one.
pub fn check(log: &Session, index: u64) -> Result<()> {
    let block = log.get(index)?;
    ensure!(block[..4] == (index as u32).to_le_bytes(), "block {index} is another one");
    Ok(())
}

/// Grows a log and measures at each length what operations cost. Says a line for each.
pub fn grow(job: &Job<'_>) -> Result<()> {
    // The limit on memory stands once this line has come.
    std::io::stdin().read_line(&mut String::new()).context("nobody said when to begin")?;
    let (store, log) = open(job)?;
    for point in 0.. {
        let Ok(length) = job.number(point) else { break };
        let batches = grow_to(&log, length)?;
        let singles =
            each(2_000, |number| log.append(&[block(length + number, 100)]).map(drop).map_err(Into::into))?;
        let gets = each(5_000, |number| check(&log, place(number * 1009, length)))?;
        let bare = bare_reads(job.folder)?;
        let line = serde_json::json!({
            "length": length, "bare_read_us": bare.mean, "bare_read_p99_us": bare.p99,
            "append_1000_us": batches.mean, "append_1000_p99_us": batches.p99,
            "append_single_us": singles.mean, "append_single_p99_us": singles.p99,
            "random_get_us": gets.mean, "random_get_p99_us": gets.p99,
            "peak_bytes": super::peak_bytes()?,
        });
        println!("{line}");
    }
    Ok(store.close()?)
}

/// Reads of 4 KiB here and there in the store's own files: what the disk, and what of it is in memory, allow.
fn bare_reads(folder: &Path) -> Result<Cost> {
    const PAGE: u64 = 4096;
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                folders.push(entry.path());
            } else if about.len() > PAGE {
                files.push((File::open(entry.path())?, about.len() / PAGE));
            }
        }
    }
    let pages = files.iter().map(|(_, pages)| pages).sum();
    each(2_000, |number| {
        let mut page = place(number * 1009, pages);
        for (file, pages) in &files {
            if page < *pages {
                return Ok(file.read_exact_at(&mut [0; PAGE as usize], page * PAGE)?);
            }
            page -= pages;
        }
        Ok(())
    })
}

struct Cost {
    mean: f64,
    p99: f64,
}

fn grow_to(log: &Session, length: u64) -> Result<Cost> {
    let append = |_| -> Result<()> {
        let first = log.length();
        let batch: Vec<Bytes> = (first..length.min(first + 1000)).map(|index| block(index, 100)).collect();
        log.append(&batch).map(drop).map_err(Into::into)
    };
    // The second half of the way to a length is what is measured there, so that what the engine does now and then
    // counts as often as it happens.
    while log.length() < length / 2 {
        append(0)?;
    }
    each((length - log.length()).div_ceil(1000), append)
}

fn each(count: u64, mut work: impl FnMut(u64) -> Result<()>) -> Result<Cost> {
    let mut took = Vec::with_capacity(count as usize);
    for number in 0..count {
        let start = Instant::now();
        work(number)?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    Ok(Cost { mean: took.iter().sum::<f64>() / took.len().max(1) as f64, p99 })
}
