//! A drive as it is now.

use crate::batch::Batch;
use crate::blobs::{BlobReader, Blobs};
use crate::checkout::{Checkout, FileEntry};
use crate::dedup::{Content, Index, ReadSeek, Shelf};
use crate::entry::{BlobId, Entry, Metadata};
use crate::error::{ReadError, WriteError};
use crate::key;
use crate::open::{self, BlobLog, Logs, OpenError, Patience};
use crate::path::{DrivePath, Folder};
use crate::pins::{Pin, Pins};
use crate::watch::Watcher;
use bytes::Bytes;
use cloudpal_bee::{Bee, block};
use cloudpal_log::Feed;
use std::io::Read;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How a drive behaves on this device. Other devices may choose otherwise for the same drive.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether equal files share one content.
    pub dedup: Dedup,
    /// How long a read waits for a peer to bring a longer blob log, when an entry has come before its content.
    pub wait: Duration,
    /// Memory for blocks of the map, in bytes.
    pub cache_bytes: usize,
}

impl Default for Options {
    /// Equal files share one content; half a minute; 32 MiB.
    fn default() -> Self {
        Self { dedup: Dedup::EqualFiles, wait: Duration::from_secs(30), cache_bytes: 32 << 20 }
    }
}

/// Whether equal files share one content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dedup {
    /// A content that is on this device already is not stored again: the new entry names the same blocks.
    #[default]
    EqualFiles,
    /// Each put stores its content: the logs are block for block what npm hyperdrive makes of the same operations.
    Off,
}

/// A drive as it is now. Clones are the same drive; any thread may use one.
#[derive(Clone)]
pub struct Drive {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub files: Bee,
    pub options: Options,
    pub pins: Pins,
    index: Index,
    blobs: OnceLock<Blobs>,
    logs: Box<dyn Logs>,
}

/// What a new file has beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// May be run as a program.
    pub executable: bool,
    /// Anything else.
    pub metadata: Option<Metadata>,
}

impl Drive {
    /// The drive whose map is in `feed`. A drive that was never written is empty, and made by its first put.
    ///
    /// Open a drive once in a process and clone it: writers and those who free contents must know of each other.
    pub fn open(feed: Arc<dyn Feed>, logs: impl Logs + 'static, options: Options) -> Result<Self, OpenError> {
        let mut metadata = block::Metadata::default();
        let blobs = match open::find(&feed, &logs, Patience::None)? {
            Some(which) => {
                let own = which == BlobLog::Own;
                let blobs = open::open(&logs, which, options.wait)?;
                metadata.content_feed = own.then(|| blobs.feed().key().to_vec().into());
                OnceLock::from(blobs)
            }
            // A reader that has nothing of the drive yet.
            None => OnceLock::new(),
        };
        // A map's header is written once, with its first entry.
        let bee = cloudpal_bee::Options {
            metadata: Some(metadata),
            cache_bytes: options.cache_bytes,
            ..Default::default()
        };
        let files = Bee::new(feed, bee).sub(key::FILES);
        let shared = Shared {
            files,
            options,
            pins: Pins::default(),
            index: Index::default(),
            blobs,
            logs: Box::new(logs),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The key that opens the whole drive.
    pub fn key(&self) -> [u8; 32] {
        self.shared.files.feed().key()
    }

    /// The length of the map's log: grows with every change.
    pub fn version(&self) -> u64 {
        self.shared.files.version()
    }

    /// Whether it can be changed here.
    pub fn writable(&self) -> bool {
        self.shared.files.feed().writable()
    }

    /// The contents; an error as long as a reader does not know their log.
    pub fn blobs(&self) -> Result<&Blobs, OpenError> {
        self.shared.blobs()
    }

    /// The drive as it is now, for reading that no change disturbs.
    pub fn now(&self) -> Checkout {
        Checkout { shared: self.shared.clone(), map: self.shared.files.snapshot() }
    }

    /// The drive as it was at `version`.
    pub fn checkout(&self, version: u64) -> Result<Checkout, ReadError> {
        Ok(Checkout { shared: self.shared.clone(), map: self.shared.files.checkout(version)? })
    }

    /// The file or link at `path`; links are not followed.
    pub fn entry(&self, path: &DrivePath) -> Result<Option<FileEntry>, ReadError> {
        self.now().entry(path)
    }

    /// The content of the file at `path`; none if there is no file or it is a link.
    pub fn get(&self, path: &DrivePath) -> Result<Option<Bytes>, ReadError> {
        self.now().get(path)
    }

    /// The content of the file at `path` as a stream of the bytes `range`.
    pub fn read(&self, path: &DrivePath, range: std::ops::Range<u64>) -> Result<BlobReader, ReadError> {
        let now = self.now();
        let file = now.entry(path)?.ok_or_else(|| ReadError::Missing { path: path.to_string() })?;
        now.read(&file, range)
    }

    /// Stores a file, in place of what was at `path`.
    pub fn put(&self, path: &DrivePath, content: impl Into<Bytes>, about: About) -> Result<u64, WriteError> {
        let (blob, _pin) = self.shared.store(path, Content::Memory(content.into()))?;
        self.put_entry(path, &about.entry(blob))
    }

    /// Stores what `source` gives until its end. It is stored as it comes, so it is not compared with what is there.
    pub fn put_stream(
        &self,
        path: &DrivePath,
        source: &mut dyn Read,
        about: About,
    ) -> Result<u64, WriteError> {
        let (blob, _pin) = self.shared.stream(path, source)?;
        self.put_entry(path, &about.entry(blob))
    }

    /// Stores a file of any size that can be read twice, so that an equal content is found.
    pub fn put_file(
        &self,
        path: &DrivePath,
        source: &mut dyn ReadSeek,
        about: About,
    ) -> Result<u64, WriteError> {
        let (blob, _pin) = self.shared.store(path, Content::File(source))?;
        self.put_entry(path, &about.entry(blob))
    }

    /// Makes a symbolic link to `target`: from the root if it starts with `/`, else from the link's folder.
    pub fn symlink(
        &self,
        path: &DrivePath,
        target: &str,
        metadata: Option<Metadata>,
    ) -> Result<u64, WriteError> {
        self.put_entry(path, &Entry { linkname: Some(target.into()), metadata, ..Entry::default() })
    }

    /// Writes an entry as it is: to change rights or metadata, or to give a content another name. Returns its `seq`.
    pub fn put_entry(&self, path: &DrivePath, entry: &Entry) -> Result<u64, WriteError> {
        let put = self.shared.files.put(path.as_str(), entry.encode());
        // Only a bee that skips equal values puts nothing.
        put.map(Option::unwrap_or_default).map_err(map_error(path))
    }

    /// Deletes the file or link at `path` and tells whether one was there. Its content stays, for older versions;
    /// [`discard`](Self::discard) frees it too.
    pub fn del(&self, path: &DrivePath) -> Result<bool, WriteError> {
        self.shared.files.del(path.as_str()).map(|seq| seq.is_some()).map_err(map_error(path))
    }

    /// Begins changes that are seen all at once.
    pub fn batch(&self) -> Batch {
        Batch::new(self.shared.clone())
    }

    /// Watches the files in `folder` from now on.
    pub fn watch(&self, folder: &Folder) -> Watcher {
        Watcher::new(self.shared.clone(), folder)
    }

    /// Cuts the drive back to `version`, contents included.
    pub fn truncate(&self, version: u64) -> Result<(), WriteError> {
        let blobs = self.blobs()?;
        let length = self.checkout(version)?.blobs_length()?;
        self.shared.files.feed().truncate(version).map_err(WriteError::Truncate)?;
        match length < blobs.feed().length() {
            true => blobs.feed().truncate(length).map_err(WriteError::Truncate),
            false => Ok(()),
        }
    }
}

impl Shared {
    /// The contents. A reader learns where they are with the first block of the map.
    pub fn blobs(&self) -> Result<&Blobs, OpenError> {
        if let Some(blobs) = self.blobs.get() {
            return Ok(blobs);
        }
        let which =
            open::find(self.files.feed(), self.logs.as_ref(), Patience::Ask)?.ok_or(OpenError::Unknown)?;
        let blobs = open::open(self.logs.as_ref(), which, self.options.wait)?;
        Ok(self.blobs.get_or_init(|| blobs))
    }

    pub fn stream(&self, path: &DrivePath, source: &mut dyn Read) -> Result<(BlobId, Pin), WriteError> {
        let blobs = self.blobs()?;
        let pin = self.pins.pin(blobs.feed().length()..u64::MAX);
        Ok((blobs.put_reader(source).map_err(blob_error(path))?, pin))
    }

    pub fn store(&self, path: &DrivePath, content: Content<'_>) -> Result<(BlobId, Pin), WriteError> {
        let shelf = self.shelf()?;
        let stored = match self.options.dedup {
            Dedup::EqualFiles => shelf.put(content),
            Dedup::Off => shelf.put_new(content),
        };
        stored.map_err(blob_error(path))
    }

    pub fn shelf(&self) -> Result<Shelf<'_>, OpenError> {
        Ok(Shelf { blobs: self.blobs()?, pins: &self.pins, index: &self.index })
    }
}

impl About {
    pub(crate) fn entry(self, blob: BlobId) -> Entry {
        Entry { executable: self.executable, linkname: None, blob: Some(blob), metadata: self.metadata }
    }
}

pub(crate) fn map_error(path: &DrivePath) -> impl FnOnce(cloudpal_bee::WriteError) -> WriteError {
    let path = path.to_string();
    move |source| WriteError::Map { path, source }
}

pub(crate) fn blob_error(path: &DrivePath) -> impl FnOnce(crate::blobs::BlobError) -> WriteError {
    let path = path.to_string();
    move |source| WriteError::Blob { path, source }
}
