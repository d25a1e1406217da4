use crate::PagesError;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A page is not what this crate wrote there, or it is missing.
    #[error("page {page:#x} of the map is damaged ({detail}): the map must be built again from the logs")]
    Damaged {
        /// Its number.
        page: u64,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The keeper could not answer.
    #[error("cannot read page {page:#x} of the map")]
    Pages {
        /// The number asked for.
        page: u64,
        /// What the keeper said.
        source: PagesError,
    },
}

impl ReadError {
    pub(crate) fn of(page: u64, source: PagesError) -> Self {
        match source {
            PagesError::Damaged => ReadError::Damaged { page, detail: "it is not as it was kept" },
            source => ReadError::Pages { page, source },
        }
    }
}

/// Why a map could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The page that says which others there are cannot be read.
    #[error("cannot read which pages the map has")]
    Manifest(#[from] ReadError),
    /// It was written by a later version of this crate.
    #[error("the map has format {found}, and this program reads {known}: use a newer program")]
    Newer {
        /// The format on the page.
        found: u8,
        /// The format this crate writes.
        known: u8,
    },
    /// What a crash had left could not be listed or removed.
    #[error("cannot remove pages that a crash left")]
    Orphans(#[source] PagesError),
}

/// Why a flush, a step of compaction or a clearing could not be done. Nothing was lost by it: what was in memory still
/// is, and it can be tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A page that was to be merged cannot be read.
    #[error("cannot merge runs of the map")]
    Read(#[from] ReadError),
    /// The keeper did not take the pages.
    #[error("cannot write pages of the map")]
    Pages(#[from] PagesError),
    /// Two thousand million segments were written since the map was made.
    #[error("the map has used up its page numbers: build it again in a new place")]
    Exhausted,
}

/// What is wrong with a page, before it is known which one it is.
pub(crate) type Detail = &'static str;
