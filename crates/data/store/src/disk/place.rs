use super::lengths::LogId;
use cloudpal_log::{Slot, Table};

const LEN: usize = 26;
const REGISTRY: u8 = 1;
const SLOT: u8 = 2;

/// A key of the engine: kind, log, table and slot, so that the records of one table of one log lie together in
/// order. It is also what a record is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place([u8; LEN]);

/// Which of the engine's two rooms holds a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Heads, trees, bitfields, user data, the list of logs.
    Small,
    /// Bodies of blocks.
    Bodies,
}

impl Place {
    /// What the store itself keeps about a log.
    pub(crate) fn registry(log: LogId) -> Self {
        Place::build(REGISTRY, log, 0, 0)
    }

    /// All of [`registry`](Self::registry): from the first, up to the second.
    pub(crate) fn registries() -> (Self, Self) {
        (Place::build(REGISTRY, [0; 16], 0, 0), Place::build(REGISTRY + 1, [0; 16], 0, 0))
    }

    /// A slot of a log.
    pub(crate) fn slot(log: LogId, slot: Slot) -> Self {
        Place::build(SLOT, log, slot.table as u8, slot.key)
    }

    /// All slots of a table of a log: from the first, up to the second.
    pub(crate) fn table(log: LogId, table: Table) -> (Self, Self) {
        (Place::build(SLOT, log, table as u8, 0), Place::build(SLOT, log, table as u8 + 1, 0))
    }

    /// Before the first slot of any log.
    pub(crate) fn first_slot() -> Self {
        Place::build(SLOT, [0; 16], 0, 0)
    }

    /// Behind the last slot of a log.
    pub(crate) fn log_end(log: LogId) -> Self {
        Place::build(SLOT, log, u8::MAX, u64::MAX)
    }

    /// Behind the last slot of all.
    pub(crate) fn slots_end() -> Self {
        Place::build(SLOT + 1, [0; 16], 0, 0)
    }

    fn build(kind: u8, log: LogId, table: u8, key: u64) -> Self {
        let mut bytes = [0; LEN];
        bytes[0] = kind;
        bytes[1..17].copy_from_slice(&log);
        bytes[17] = table;
        bytes[18..].copy_from_slice(&key.to_be_bytes());
        Place(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Place)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    pub(crate) fn log(&self) -> LogId {
        let mut log = [0; 16];
        log.copy_from_slice(&self.0[1..17]);
        log
    }

    pub(crate) fn key(&self) -> u64 {
        let mut key = [0; 8];
        key.copy_from_slice(&self.0[18..]);
        u64::from_be_bytes(key)
    }

    pub(crate) fn in_table(&self) -> Option<Table> {
        Table::ALL.into_iter().find(|table| self.0[0] == SLOT && *table as u8 == self.0[17])
    }

    pub(crate) fn room(&self) -> Room {
        if self.in_table() == Some(Table::Block) { Room::Bodies } else { Room::Small }
    }
}
