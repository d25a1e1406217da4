use bytes::Bytes;
use cloudpal_log::StorageError;
use cloudpal_sorted::{Change, Pages, PagesError};
use cloudpal_store::{PageChange, PageFile};
use std::ops::{ControlFlow, Range};

/// The view's pages in a store, which seals them.
#[derive(Clone)]
pub struct StorePages(pub PageFile);

impl Pages for StorePages {
    fn get(&self, page: u64) -> Result<Option<Bytes>, PagesError> {
        self.0.get(page).map_err(|error| fault("read", error))
    }

    fn commit(&self, changes: Vec<Change>) -> Result<(), PagesError> {
        let change = |change| match change {
            Change::Put(page, body) => PageChange::Put(page, body),
            Change::Delete(pages) => PageChange::Delete(pages),
        };
        self.0.commit(changes.into_iter().map(change).collect()).map_err(|error| fault("write to", error))
    }

    fn list(
        &self,
        pages: Range<u64>,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), PagesError> {
        self.0.list(pages, visit).map_err(|error| fault("list", error))
    }
}

fn fault(doing: &'static str, error: StorageError) -> PagesError {
    match error {
        StorageError::Full => PagesError::Full,
        StorageError::Closed => PagesError::Closed,
        StorageError::Damaged { .. } => PagesError::Damaged,
        source => PagesError::Engine { doing, source: Box::new(source) },
    }
}
