//! A drive at one version.

use crate::blobs::{BlobReader, Blobs};
use crate::drive::Shared;
use crate::entry::Entry;
use crate::error::ReadError;
use crate::key;
use crate::path::{DrivePath, Folder, PathError};
use bytes::Bytes;
use cloudpal_bee::Snapshot;
use std::ops::Range;
use std::sync::Arc;

/// How many links in a row are followed, as in npm hyperdrive.
const MAX_LINKS: usize = 16;

/// A drive as it was at one version. Contents that were freed since then are gone from it too.
#[derive(Clone)]
pub struct Checkout {
    pub(crate) shared: Arc<Shared>,
    pub(crate) map: Snapshot,
}

/// A file or symbolic link with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Where it is.
    pub path: DrivePath,
    /// The block of the map that put it there: grows with every change of the drive.
    pub seq: u64,
    /// What it is.
    pub entry: Entry,
}

/// A file that is not the same in two versions. One side is none where it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In the version that was asked.
    pub left: Option<FileEntry>,
    /// In the version it was compared with.
    pub right: Option<FileEntry>,
}

impl Checkout {
    /// The version: the length of the map's log.
    pub fn version(&self) -> u64 {
        self.map.version()
    }

    /// The file or link at `path`; links are not followed.
    pub fn entry(&self, path: &DrivePath) -> Result<Option<FileEntry>, ReadError> {
        let Some(found) = self.map.get(path.as_str())? else { return Ok(None) };
        let value = found.value.unwrap_or_default();
        let entry =
            Entry::decode(&value).map_err(|source| ReadError::Entry { path: path.to_string(), source })?;
        Ok(Some(FileEntry { path: path.clone(), seq: found.seq, entry }))
    }

    /// Whether there is a file or link at `path`.
    pub fn exists(&self, path: &DrivePath) -> Result<bool, ReadError> {
        Ok(self.map.get(path.as_str())?.is_some())
    }

    /// The file at `path`, through links.
    pub fn follow(&self, path: &DrivePath) -> Result<Option<FileEntry>, ReadError> {
        let nowhere = || ReadError::Link { path: path.to_string() };
        let mut at = path.clone();
        for _ in 0..MAX_LINKS {
            let Some(found) = self.entry(&at)? else { return Ok(None) };
            let Some(target) = &found.entry.linkname else { return Ok(Some(found)) };
            at = match at.follow(target) {
                Ok(next) => next,
                // A link to the root leads to a folder, not to a file.
                Err(PathError::Root { .. }) => return Ok(None),
                Err(_) => return Err(nowhere()),
            };
        }
        Err(nowhere())
    }

    /// The content of the file at `path`; none if there is no file or it is a link.
    pub fn get(&self, path: &DrivePath) -> Result<Option<Bytes>, ReadError> {
        match self.entry(path)? {
            Some(file) => self.content(&file),
            None => Ok(None),
        }
    }

    /// The content of a file that was found before, without looking it up again.
    pub fn content(&self, file: &FileEntry) -> Result<Option<Bytes>, ReadError> {
        let Some(blob) = &file.entry.blob else { return Ok(None) };
        self.blobs()?.get(blob).map(Some).map_err(file.blob_error())
    }

    /// The bytes `range` of a file's content, as a stream; a range that leads past the end is cut there. A file without
    /// content reads as empty.
    pub fn read(&self, file: &FileEntry, range: Range<u64>) -> Result<BlobReader, ReadError> {
        let blobs = self.blobs()?;
        let blob = file.entry.blob.unwrap_or(crate::entry::BlobId::EMPTY);
        blobs.reader(&blob, range).map_err(file.blob_error())
    }

    /// Bytes of a file's content; 0 for a link.
    pub fn byte_length(&self, file: &FileEntry) -> Result<u64, ReadError> {
        match &file.entry.blob {
            Some(blob) if blob.mapped => self.blobs()?.byte_length(blob).map_err(file.blob_error()),
            Some(blob) => Ok(blob.byte_length),
            None => Ok(0),
        }
    }

    /// Whether the whole content of the file is on this device.
    pub fn has(&self, file: &FileEntry) -> Result<bool, ReadError> {
        match &file.entry.blob {
            Some(blob) => self.blobs()?.has(blob).map_err(file.blob_error()),
            None => Ok(true),
        }
    }

    /// Asks peers for the contents of all files in `folder`, and returns at once.
    pub fn prefetch(&self, folder: &Folder) -> Result<(), ReadError> {
        let blobs = self.blobs()?;
        for file in self.list(folder) {
            let file = file?;
            if let Some(blob) = &file.entry.blob {
                blobs.prefetch(blob).map_err(file.blob_error())?;
            }
        }
        Ok(())
    }

    /// How many blocks of the blob log this version knows of.
    pub fn blobs_length(&self) -> Result<u64, ReadError> {
        let mut length = 0;
        for file in self.list(&Folder::root()) {
            match file {
                Ok(file) => length = length.max(file.entry.blob.map_or(0, |blob| blob.blocks().end)),
                Err(error) if error.is_of_one_file() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }

    pub(crate) fn blobs(&self) -> Result<&Blobs, ReadError> {
        Ok(self.shared.blobs()?)
    }
}

impl FileEntry {
    pub(crate) fn decode(found: cloudpal_bee::Entry) -> Result<Self, ReadError> {
        let path = key::path(&found.key)?;
        let value = found.value.unwrap_or_default();
        match Entry::decode(&value) {
            Ok(entry) => Ok(Self { path, seq: found.seq, entry }),
            Err(source) => Err(ReadError::Entry { path: path.to_string(), source }),
        }
    }

    pub(crate) fn blob_error(&self) -> impl FnOnce(crate::blobs::BlobError) -> ReadError {
        let path = self.path.to_string();
        move |source| ReadError::Blob { path, source }
    }
}
