use bytes::Bytes;
use std::ops::{ControlFlow, Range};

/// Where the pages of one map last. A store implements this; one instance serves one map.
///
/// A page is whole or not there: the keeper seals and authenticates each, bound to its number. Reads see what was
/// committed by this instance, synced or not.
pub trait Pages: Send + Sync {
    /// The page with that number, or none.
    fn get(&self, page: u64) -> Result<Option<Bytes>, PagesError>;

    /// Makes all changes, in their order, or none. After a crash the commits that are left are a prefix of those
    /// made: never a later one without an earlier one. It need not be synced when this returns.
    fn commit(&self, changes: Vec<Change>) -> Result<(), PagesError>;

    /// Visits the numbers of the pages in `pages`, in rising order, until told to stop. Called at opening only, for
    /// what a crash may have left.
    fn list(
        &self,
        pages: Range<u64>,
        visit: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), PagesError>;
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a page, whatever was there.
    Put(u64, Bytes),
    /// Removes the pages with numbers in the range, which is never empty.
    Delete(Range<u64>),
}

/// Why a keeper could not do what a map asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PagesError {
    /// No room left; nothing of the commit was kept.
    #[error("the disk is full: free some space, then try again")]
    Full,
    /// The page is not as it was given to the keeper.
    #[error("a page is damaged")]
    Damaged,
    /// Anything else that the keeper says.
    #[error("cannot {doing} the pages of the map")]
    Engine {
        /// What was being done: "read", "write to", "list".
        doing: &'static str,
        /// What the keeper said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keeper was closed while a map of it was still in use.
    #[error("the store is closed: open it again")]
    Closed,
}

/// The page that says which segments there are. All others belong to segments.
pub(crate) const MANIFEST: u64 = 0;

/// Numbers of segments are below this.
pub(crate) const SEGMENTS: u32 = 1 << 31;

/// The number of a segment's page.
pub(crate) fn page(segment: u32, block: u32) -> u64 {
    u64::from(segment) << 32 | u64::from(block)
}

/// The numbers that pages of the segments `from..until` may have.
pub(crate) fn pages_of(segments: Range<u32>) -> Range<u64> {
    page(segments.start, 0)..page(segments.end, 0)
}
