//! Files in a drive.

use super::{Job, open_store, timed};
use anyhow::{Context as _, Result, ensure};
use cloudpal_drive::{About, BlobLog, Drive, DrivePath, Logs, Options};
use cloudpal_log::{Feed, FeedError, Manifest};
use cloudpal_store::{LogOptions, Namespace, Session, Store, Which};
use std::sync::Arc;

const NAME: &str = "drive";

struct OfStore {
    store: Store,
    map: Session,
}

impl Logs for OfStore {
    fn manifest(&self) -> Option<Manifest> {
        self.map.info().manifest
    }

    fn blobs(&self, which: BlobLog) -> Result<Arc<dyn Feed>, FeedError> {
        let which = match which {
            BlobLog::Manifest(manifest) => {
                let key_pair = Some(self.store.key_pair(&Namespace::ROOT, NAME));
                Which::Manifest { manifest, key_pair }
            }
            BlobLog::Key(key) => Which::Key(key),
            BlobLog::Own => Which::named(Namespace::ROOT, "blobs"),
        };
        let opened = self.store.open_log(which, LogOptions::default());
        let refused = |error| FeedError::Refused { doing: "open the blob log", source: Box::new(error) };
        Ok(Arc::new(opened.map_err(refused)?))
    }
}

fn open(job: &Job<'_>) -> Result<(Store, Drive)> {
    let store = open_store(job)?;
    let map = store.log(NAME)?;
    let logs = OfStore { store: store.clone(), map: map.clone() };
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
