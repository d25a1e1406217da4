use bytes::Bytes;
use std::ops::{ControlFlow, Range};

/// Where the bytes of one log last. An engine implements this; one instance serves one log.
///
/// Reads see what was committed, by this instance, whether synced or not. A batch is atomic: after a
/// crash all of it is there or none of it, and never a later one without an earlier one.
pub trait Storage: Send {
    /// What lies in `slot`, or none when it is empty.
    fn get(&self, slot: Slot) -> Result<Option<Bytes>, StorageError>;

    /// Visits the filled slots of `table` with keys in `keys`, in rising order, until told to stop.
    fn range(
        &self,
        table: Table,
        keys: Range<u64>,
        visit: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// Makes all changes of `batch` at once, in its order.
    fn commit(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError>;

    /// Returns when everything committed so far survives a loss of power.
    fn sync(&self) -> Result<(), StorageError>;
}

/// The rooms of a log's storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Two records: what changes with every append, and what is said once about the log.
    Head = 0,
    /// Nodes of the Merkle tree, some leaves to a record.
    Tree = 1,
    /// Block bodies as they are on the wire (encrypted when the log is), by index.
    Block = 2,
    /// Pages of the bitfield, for blocks past the contiguous ones.
    Bits = 3,
    /// User data by the hash of its name.
    User = 4,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 5] = [Table::Head, Table::Tree, Table::Block, Table::Bits, Table::User];
}

/// One place in a log's storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The room.
    pub table: Table,
    /// The place in the room.
    pub key: u64,
}

impl Slot {
    /// The place `key` in `table`.
    pub const fn new(table: Table, key: u64) -> Self {
        Slot { table, key }
    }
}

/// How soon a commit must survive a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// At some later sync. A crash may lose it, together with everything after it.
    #[default]
    Relaxed,
    /// When the commit returns.
    Durable,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Fills a slot, whatever was there.
    Put(Slot, Bytes),
    /// Empties a slot.
    Delete(Slot),
    /// Empties all slots of a table with keys in a range.
    DeleteRange(Table, Range<u64>),
}

/// Changes that happen together or not at all. Later ones win over earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Fills `slot`.
    pub fn put(&mut self, slot: Slot, value: impl Into<Bytes>) {
        self.changes.push(Change::Put(slot, value.into()));
    }

    /// Empties `slot`.
    pub fn delete(&mut self, slot: Slot) {
        self.changes.push(Change::Delete(slot));
    }

    /// Empties the slots of `table` with keys in `keys`; nothing when the range is empty.
    pub fn delete_range(&mut self, table: Table, keys: Range<u64>) {
        if !keys.is_empty() {
            self.changes.push(Change::DeleteRange(table, keys));
        }
    }

    /// The changes, in the order in which they apply.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes, taken out.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Why an engine could not do what a log asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// No room left; nothing of the batch was kept.
    #[error("the disk is full: free some space or clear blocks, then try again")]
    Full,
    /// What is stored there is not what was written.
    #[error("{table:?} {key} of the log is damaged ({detail}): repair the store to fetch it again from a peer", table = .slot.table, key = .slot.key)]
    Damaged {
        /// Where.
        slot: Slot,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Anything else that the engine says.
    #[error(
        "cannot {doing} the log's storage: see that the disk works, then close the store and open it again"
    )]
    Engine {
        /// What was being done: "read", "write to", "sync".
        doing: &'static str,
        /// What the engine said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was closed while a log of it was still in use.
    #[error("the store is closed: open it again")]
    Closed,
}
