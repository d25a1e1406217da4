/// How a map uses memory and cuts pages. It can be opened with others the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of memory that the map may use, about: a quarter for what is not flushed yet, a quarter for what is being
    /// flushed, half for pages (blocks, indexes and filters) that are read often. 16 MiB unless said otherwise.
    ///
    /// Beside it there are some hundred bytes for each segment and, during a flush or a step of compaction, about a MiB;
    /// and a snapshot holds what it sees. A value that is larger than all this takes what it takes.
    pub memory: usize,
    /// Bytes after which a block is full. 16 KiB unless said otherwise. Every block is a page.
    pub block: usize,
    /// Bytes after which a segment is full, and what one step of compaction writes. 4 MiB unless said otherwise.
    pub segment: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { memory: 16 << 20, block: 16 << 10, segment: 4 << 20 }
    }
}

impl Options {
    /// Bytes after which the table in memory is to be flushed.
    pub(crate) fn table(&self) -> usize {
        self.memory / 4
    }

    /// Bytes of pages to keep.
    pub(crate) fn cache(&self) -> usize {
        self.memory / 2
    }
}
