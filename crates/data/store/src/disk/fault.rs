use super::place::Place;
use cloudpal_log::{Slot, StorageError, Table};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the engine said, in the words of a log's storage.
pub(crate) fn engine_fault(doing: &'static str, error: fjall::Error) -> StorageError {
    if is_full(&error) {
        return StorageError::Full;
    }
    match error {
        fjall::Error::Storage(error @ fjall::LsmError::ChecksumMismatch { .. }) => {
            StorageError::Engine { doing, source: Box::new(DamagedFile(error)) }
        }
        error => StorageError::Engine { doing, source: Box::new(error) },
    }
}

/// A file of the engine is not as it was written.
#[derive(Debug, thiserror::Error)]
#[error("a file of the store is damaged: close the store and repair it")]
struct DamagedFile(#[source] fjall::LsmError);

/// What the file system said, in the words of a log's storage.
pub(crate) fn file_fault(doing: &'static str, error: io::Error) -> StorageError {
    if error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded {
        return StorageError::Full;
    }
    StorageError::Engine { doing, source: Box::new(error) }
}

fn is_full(error: &fjall::Error) -> bool {
    let (fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))) = error else {
        return false;
    };
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A record that does not open in its place.
pub(crate) fn damaged(place: &Place) -> StorageError {
    let slot = Slot::new(place.in_table().unwrap_or(Table::Head), place.key());
    StorageError::Damaged { slot, detail: "it does not decrypt" }
}

/// Runs `open`, taking a panic for damage: fjall 3.1 panics on some files that are not what it wrote.
pub(crate) fn guarded<T>(open: impl FnOnce() -> fjall::Result<T>) -> fjall::Result<T> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(fjall::Error::Unrecoverable))
}
