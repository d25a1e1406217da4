use super::journal::journals;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that gather in the journal before the system is asked to write them.
const STEP: u64 = 4 << 20;

/// The journal that the engine writes at the moment, open a second time: a sync through the engine itself keeps all
/// writers waiting, and one from here none. The engine syncs a journal before it begins the next.
pub(super) struct Tail {
    folder: PathBuf,
    newest: Mutex<Newest>,
    /// Bytes since the system was last asked to write them.
    gathered: AtomicU64,
}

struct Newest {
    number: u64,
    /// Stays open as long as it is the newest: a failed write in the background is told to those who had the file
    /// open then.
    file: Arc<File>,
}

impl Tail {
    /// For the engine in `folder`, which must be open.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let (number, path) = journals(folder)?.pop().ok_or(io::ErrorKind::NotFound)?;
        let newest = Mutex::new(Newest { number, file: Arc::new(File::open(path)?) });
        Ok(Tail { folder: folder.to_owned(), newest, gathered: AtomicU64::new(0) })
    }

    /// Returns when all that was in the journal before lasts.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.newest()?.sync_data()
    }

    /// So many bytes were written. Has the system write the journal to the disk while more of it is made, so that the
    /// next sync has little left to do. Nothing is promised by this.
    pub(super) fn wrote(&self, bytes: u64) {
        if self.gathered.fetch_add(bytes, Ordering::Relaxed) + bytes < STEP {
            return;
        }
        self.gathered.store(0, Ordering::Relaxed);
        // What is not needed in memory is written first, without waiting for it; and a journal is never read again.
        let asked = self.newest().and_then(|file| Ok(fadvise(file, 0, None, Advice::DontNeed)?));
        // Whatever fails here, the sync that follows will do, or tell.
        if let Err(error) = asked {
            tracing::trace!(%error, "the journal is not written early");
        }
    }

    fn newest(&self) -> io::Result<Arc<File>> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match File::open(self.folder.join(format!("{}.jnl", newest.number + 1))) {
                Ok(file) => *newest = Newest { number: newest.number + 1, file: Arc::new(file) },
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::clone(&newest.file)),
                Err(error) => return Err(error),
            }
        }
    }
}
