use cloudpal_log::StorageError;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

/// Keeps a store from filling its disk: what it may still write before free space is looked at again.
///
/// An engine that meets a full disk in the middle of a flush stops for good, so writers are refused before that.
pub(crate) struct Space {
    folder: PathBuf,
    keep_free: u64,
    quota: Option<u64>,
    left: AtomicI64,
}

/// At most this much is written between two looks.
const STRIDE: u64 = 8 << 20;

impl Space {
    /// For a store in `folder` that leaves `keep_free` bytes of its file system free and takes at most `quota` bytes.
    pub(crate) fn new(folder: PathBuf, keep_free: u64, quota: Option<u64>) -> Self {
        Space { folder, keep_free, quota, left: AtomicI64::new(0) }
    }

    /// Books `bytes` of writing, or refuses. The engine writes everything twice, to its journal and later to its
    /// tables; `pending` bytes wait for that already.
    pub(crate) fn take(&self, bytes: u64, pending: u64) -> Result<(), StorageError> {
        let booked = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.left.fetch_sub(booked, Ordering::Relaxed) >= booked {
            return Ok(());
        }
        let room = self.room().saturating_sub(pending) / 2;
        if room < bytes {
            self.left.store(0, Ordering::Relaxed);
            return Err(StorageError::Full);
        }
        let stride = STRIDE.min((room - bytes) / 4);
        self.left.store(i64::try_from(stride).unwrap_or(i64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// Bytes that may be written now. What cannot be learned limits nothing: the engine will say.
    pub(crate) fn room(&self) -> u64 {
        let free = rustix::fs::statvfs(&self.folder).map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
        let disk = free.saturating_sub(self.keep_free);
        let quota = self.quota.map_or(u64::MAX, |quota| quota.saturating_sub(folder_bytes(&self.folder)));
        disk.min(quota)
    }
}

/// Bytes on disk of everything below `folder`: blocks taken, so that holes do not count.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
