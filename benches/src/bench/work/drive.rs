//! Files in a drive.

use super::{Job, open_store, timed};
use anyhow::{Context as _, Result, ensure};
use cloudpal_drive::{About, Drive, DrivePath, Options};
use cloudpal_shelf::DriveLogs;
use cloudpal_store::{LogOptions, Namespace, Store};
use std::sync::Arc;

const NAME: &str = "drive";

fn open(job: &Job<'_>) -> Result<(Store, Drive)> {
    let store = open_store(job)?;
    let map = store.log(NAME)?;
    let room = Namespace::ROOT;
    let logs = DriveLogs::new(&store, room, map.clone(), LogOptions::default());
    let logs = logs.signed_by(store.key_pair(&room, NAME));
    Ok((store, Drive::open(Arc::new(map), logs, Options::default())?))
}

fn path(number: u64) -> Result<DrivePath> {
    Ok(DrivePath::new(&format!("/folder-{}/file-{number}", number % 10))?)
}

/// So many files of such a size.
pub fn put(job: &Job<'_>) -> Result<()> {
    let (count, size) = (job.number(0)?, job.number(1)?);
    let (store, drive) = open(job)?;
    let mut content = vec![7; size as usize];
    timed(count, || {
        for number in 0..count {
            content[..4].copy_from_slice(&(number as u32).to_le_bytes());
            drive.put(&path(number)?, content.clone(), About::default())?;
        }
        Ok(())
    })?;
    Ok(store.close()?)
}

/// The same files again.
pub fn get(job: &Job<'_>) -> Result<()> {
    let (count, size) = (job.number(0)?, job.number(1)?);
    let (store, drive) = open(job)?;
    timed(count, || {
        for number in 0..count {
            let content = drive.get(&path(number)?)?.context("a file is missing")?;
            let right = content.len() as u64 == size && content[..4] == (number as u32).to_le_bytes();
            ensure!(right, "file {number} is another one");
        }
        Ok(())
    })?;
    Ok(store.close()?)
}
