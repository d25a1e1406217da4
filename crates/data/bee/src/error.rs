use cloudpal_log::FeedError;

/// Why a bee or trie could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log did not give a block.
    #[error("cannot read block {seq} of the map")]
    Block {
        /// The block.
        seq: u64,
        /// What the log said.
        source: FeedError,
    },
    /// A block that no sound writer makes.
    #[error(
        "block {seq} is not part of a sound map ({what}): check that this log is one, or read a version before it"
    )]
    Malformed {
        /// The block.
        seq: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The log was cut or changed its fork, so the version that was being read may be gone.
    #[error("the log was truncated while version {version} was read: take a new snapshot")]
    Truncated {
        /// The version.
        version: u64,
    },
    /// A version that does not exist yet.
    #[error("version {version} is past the end, which is {length}: wait until the log is longer")]
    Ahead {
        /// What was asked for.
        version: u64,
        /// What there is.
        length: u64,
    },
}

/// Why an operation was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// What is there already could not be read.
    #[error("cannot find the place to write")]
    Read(#[from] ReadError),
    /// The log took nothing.
    #[error("cannot append to the bee")]
    Append(#[source] FeedError),
    /// The log cannot be written here.
    #[error("this bee is read-only here: open its log with the signing key")]
    ReadOnly,
    /// Someone appended to the log past the bee.
    #[error(
        "the log grew to {found} blocks while {expected} were expected: nothing else may append to a bee's log"
    )]
    Interleaved {
        /// Length that the operation was made for.
        expected: u64,
        /// Length that was met.
        found: u64,
    },
    /// A batch begun by this thread waits to be flushed.
    #[error("a batch begun on this thread is still open: flush or drop it first")]
    BatchOpen,
    /// An earlier operation of this batch failed half way.
    #[error("an earlier operation of this batch failed: begin a new one")]
    BatchBroken,
    /// A batch cannot go on in a map that it does not lock.
    #[error("this sub-database belongs to another bee than the batch: begin a batch of its own")]
    OtherBee,
    /// A key and value that no block holds.
    #[error(
        "key and value have {bytes} bytes and a block holds at most {limit}: keep large values elsewhere"
    )]
    TooLarge {
        /// What was given.
        bytes: usize,
        /// What is possible.
        limit: usize,
    },
}

/// Why blocks were not cleared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClearError {
    /// What is needed could not be found out; nothing was cleared.
    #[error("cannot tell which blocks the map needs")]
    Read(#[from] ReadError),
    /// The log cleared no more.
    #[error("cannot clear blocks {from} to {until}: what came before is cleared, try again to go on")]
    Clear {
        /// The first block.
        from: u64,
        /// The one after the last.
        until: u64,
        /// What the log said.
        source: FeedError,
    },
    /// A batch begun by this thread waits to be flushed.
    #[error("a batch begun on this thread is still open: flush or drop it first")]
    BatchOpen,
}

/// Why a trie was not imported into a bee.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The trie could not be read to its end.
    #[error("cannot read the hypertrie that was to be imported")]
    Trie(#[source] ReadError),
    /// The bee took no more.
    #[error("cannot put what the hypertrie holds: what came before is in the bee, import again to go on")]
    Bee(#[source] WriteError),
}
