//! Giving space back.

use crate::blobs::{BlobError, Blobs};
use crate::checkout::{Checkout, FileEntry};
use crate::drive::Drive;
use crate::entry::BlobId;
use crate::error::{ReadError, WriteError};
use crate::path::{DrivePath, Folder};
use crate::pins::subtract;
use std::ops::Range;

/// What was freed on this device: only what was held before counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blocks of the blob log.
    pub blocks: u64,
    /// Bytes in them, without what the engine adds.
    pub bytes: u64,
}

impl Drive {
    /// Frees the contents of the files at `paths` on this device; their entries stay, and peers that have the contents
    /// keep them. Where we write the drive, blocks that another file of now shares are not freed. A copy of someone
    /// else's drive frees them all: it can get them again.
    pub fn clear(&self, paths: &[DrivePath]) -> Result<Freed, WriteError> {
        let now = self.now();
        let mut contents = Vec::new();
        for path in paths {
            contents.extend(now.entry(path)?.and_then(|file| file.entry.blob));
        }
        self.free(&contents, |file| paths.contains(&file.path))
    }

    /// Deletes the file at `path` and frees its content, unless another file of now shares it. Older versions lose it too.
    pub fn discard(&self, path: &DrivePath) -> Result<Freed, WriteError> {
        let Some(file) = self.entry(path)? else { return Ok(Freed::default()) };
        self.del(path)?;
        self.free(file.entry.blob.as_slice(), |_| false)
    }

    /// Frees all contents that no file has now, nor in the versions `kept`.
    pub fn reclaim(&self, kept: &[Checkout]) -> Result<Freed, WriteError> {
        let blobs = self.blobs()?;
        let pinned = self.shared.pins.freeze();
        let all = 0..blobs.feed().length();
        let mut used: Vec<Range<u64>> = pinned.ranges().collect();
        for version in kept.iter().chain([&self.now()]) {
            used.extend(version.blocks_in(blobs, &all, |_| false)?);
        }
        release(blobs, subtract(vec![all], used))
    }

    /// Frees all contents, on this device only.
    pub fn clear_all(&self) -> Result<(), WriteError> {
        let blobs = self.blobs()?;
        let pinned = self.shared.pins.freeze();
        let all = 0..blobs.feed().length();
        subtract(vec![all], pinned.ranges().collect())
            .into_iter()
            .try_for_each(|range| blobs.clear(range))
            .map_err(WriteError::Free)
    }

    /// Frees every block of both logs on this device. What is left is a few bytes that tell how long they are; whoever
    /// owns the logs removes those.
    pub fn purge(self) -> Result<(), WriteError> {
        self.clear_all()?;
        let feed = self.shared.files.feed();
        feed.clear(0..feed.length()).map_err(WriteError::Truncate)
    }

    /// Frees `contents`, except for blocks that a file of now has; files that `passed` names do not count.
    pub(crate) fn free(
        &self,
        contents: &[BlobId],
        passed: impl Fn(&FileEntry) -> bool,
    ) -> Result<Freed, WriteError> {
        let blobs = self.blobs()?;
        // From here on nobody can begin to share a content, so what we find is what is used.
        let pinned = self.shared.pins.freeze();
        let mut wanted = Vec::new();
        for blob in contents {
            wanted.extend(ranges(blobs, blob).map_err(WriteError::Free)?);
        }
        wanted.retain(|range| !range.is_empty());
        let Some(hull) = hull(&wanted) else { return Ok(Freed::default()) };
        let mut used: Vec<Range<u64>> = pinned.ranges().collect();
        if self.writable() {
            used.extend(self.now().blocks_in(blobs, &hull, passed)?);
        }
        release(blobs, subtract(wanted, used))
    }
}

impl Checkout {
    /// Blocks within `hull` that files have, but for those files that `passed` names.
    fn blocks_in(
        &self,
        blobs: &Blobs,
        hull: &Range<u64>,
        passed: impl Fn(&FileEntry) -> bool,
    ) -> Result<Vec<Range<u64>>, ReadError> {
        let mut used = Vec::new();
        for file in self.list(&Folder::root()) {
            let file = match file {
                Ok(file) => file,
                // Nobody can read such a file, so it has no content to lose.
                Err(error) if error.is_of_one_file() => continue,
                Err(error) => return Err(error),
            };
            if let Some(blob) = &file.entry.blob
                && !passed(&file)
            {
                let ranges = ranges(blobs, blob).map_err(file.blob_error())?.into_iter();
                used.extend(ranges.filter(|range| range.start < hull.end && range.end > hull.start));
            }
        }
        Ok(used)
    }
}

/// The blocks of a content; of one that nobody can read here any more, only those that its entry names.
fn ranges(blobs: &Blobs, blob: &BlobId) -> Result<Vec<Range<u64>>, BlobError> {
    match blobs.ranges(blob) {
        Ok(Some(ranges)) => Ok(ranges),
        Ok(None) | Err(BlobError::Map { .. }) => Ok(vec![blob.blocks()]),
        Err(error) => Err(error),
    }
}

fn hull(ranges: &[Range<u64>]) -> Option<Range<u64>> {
    let start = ranges.iter().map(|range| range.start).min()?;
    let end = ranges.iter().map(|range| range.end).max()?;
    Some(start..end)
}

fn release(blobs: &Blobs, ranges: Vec<Range<u64>>) -> Result<Freed, WriteError> {
    let length = blobs.feed().length();
    let mut freed = Freed::default();
    for range in ranges {
        let range = range.start..range.end.min(length);
        for index in range.clone() {
            // A block that cannot be read can still be freed.
            if let Ok(Some(block)) = blobs.local(index) {
                freed.blocks += 1;
                freed.bytes += block.len() as u64;
            }
        }
        blobs.clear(range).map_err(WriteError::Free)?;
    }
    Ok(freed)
}
