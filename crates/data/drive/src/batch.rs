//! Many changes at once.

use crate::dedup::{Content, ReadSeek};
use crate::drive::{About, Dedup, Shared, blob_error, map_error};
use crate::entry::{BlobId, Entry, Metadata};
use crate::error::WriteError;
use crate::path::DrivePath;
use crate::pins::Pin;
use bytes::Bytes;
use std::io::Read;
use std::sync::Arc;

/// Contents gathered before they are stored in one append, in bytes and in number.
const GATHER_BYTES: usize = 4 << 20;
const GATHER_FILES: usize = 1024;

/// Changes that are seen all at once, when they are flushed; dropped, none of them is. Contents are stored as they come,
/// many small ones in one append. Other writers wait meanwhile; the thread that has a batch open must not write past it.
pub struct Batch {
    shared: Arc<Shared>,
    map: cloudpal_bee::Batch,
    /// Files whose contents are not stored yet.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// Contents that no entry names until the flush.
    pins: Vec<Pin>,
    broken: bool,
}

struct Waiting {
    path: DrivePath,
    about: About,
    content: Bytes,
}

impl Batch {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let map = shared.files.batch();
        Self { shared, map, waiting: Vec::new(), waiting_bytes: 0, pins: Vec::new(), broken: false }
    }

    /// Stores a file, in place of what was at `path`.
    pub fn put(
        &mut self,
        path: &DrivePath,
        content: impl Into<Bytes>,
        about: About,
    ) -> Result<(), WriteError> {
        let content = content.into();
        self.waiting_bytes += content.len();
        self.waiting.push(Waiting { path: path.clone(), about, content });
        if self.waiting_bytes >= GATHER_BYTES || self.waiting.len() >= GATHER_FILES {
            self.store()
        } else {
            Ok(())
        }
    }

    /// Stores what `source` gives until its end. See [`Drive::put_stream`](crate::Drive::put_stream).
    pub fn put_stream(
        &mut self,
        path: &DrivePath,
        source: &mut dyn Read,
        about: About,
    ) -> Result<(), WriteError> {
        self.store()?;
        let stored = self.shared.stream(path, source);
        self.keep(path, stored, about)
    }

    /// Stores a file of any size. See [`Drive::put_file`](crate::Drive::put_file).
    pub fn put_file(
        &mut self,
        path: &DrivePath,
        source: &mut dyn ReadSeek,
        about: About,
    ) -> Result<(), WriteError> {
        self.store()?;
        let stored = self.shared.store(path, Content::File(source));
        self.keep(path, stored, about)
    }

    /// Makes a symbolic link. See [`Drive::symlink`](crate::Drive::symlink).
    pub fn symlink(
        &mut self,
        path: &DrivePath,
        target: &str,
        metadata: Option<Metadata>,
    ) -> Result<(), WriteError> {
        self.put_entry(path, &Entry { linkname: Some(target.into()), metadata, ..Entry::default() })
    }

    /// Writes an entry as it is.
    pub fn put_entry(&mut self, path: &DrivePath, entry: &Entry) -> Result<(), WriteError> {
        self.store()?;
        self.map.put(path.as_str(), entry.encode()).map(drop).map_err(map_error(path))
    }

    /// Deletes the file or link at `path` and tells whether one was there.
    pub fn del(&mut self, path: &DrivePath) -> Result<bool, WriteError> {
        self.store()?;
        self.map.del(path.as_str()).map(|seq| seq.is_some()).map_err(map_error(path))
    }

    /// Makes all changes, and returns the version of the drive that has them.
    pub fn flush(mut self) -> Result<u64, WriteError> {
        self.store()?;
        self.map.flush().map(|blocks| blocks.end).map_err(WriteError::Flush)
    }

    fn keep(
        &mut self,
        path: &DrivePath,
        stored: Result<(BlobId, Pin), WriteError>,
        about: About,
    ) -> Result<(), WriteError> {
        let (blob, pin) = stored?;
        self.pins.push(pin);
        self.map.put(path.as_str(), about.entry(blob).encode()).map(drop).map_err(map_error(path))
    }

    /// Stores the contents that wait and puts their entries.
    fn store(&mut self) -> Result<(), WriteError> {
        if self.broken {
            return Err(WriteError::Broken);
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let Some(first) = waiting.first() else { return Ok(()) };
        // Set back when all went well.
        self.broken = true;
        let shelf = self.shared.shelf()?;
        let contents: Vec<Bytes> = waiting.iter().map(|file| file.content.clone()).collect();
        let stored = match self.shared.options.dedup {
            Dedup::EqualFiles => shelf.put_all(&contents),
            Dedup::Off => shelf.put_all_new(&contents).map(|(ids, pin)| (ids, vec![pin])),
        };
        let (ids, pins) = stored.map_err(blob_error(&first.path))?;
        self.pins.extend(pins);
        for (file, blob) in waiting.into_iter().zip(ids) {
            let entry = file.about.entry(blob).encode();
            self.map.put(file.path.as_str(), entry).map_err(map_error(&file.path))?;
        }
        self.broken = false;
        Ok(())
    }
}
