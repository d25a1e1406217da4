use super::lengths::LogId;
use cloudpal_log::{Slot, Table};

const ID: usize = std::mem::size_of::<LogId>();
const LEN: usize = 1 + ID + 8;
/// Kinds: what the store keeps about a log, and the tables of logs.
const REGISTRY: u8 = 1;
const PAGES: u8 = 2;
const TABLES: u8 = 16;

/// A key of the engine: kind, log and slot, so that the records of one table of one log lie together in order. It is
/// also what a record is sealed for.
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
        Place::build(REGISTRY, log, 0)
    }

    /// All of [`registry`](Self::registry): from the first, up to the second.
    pub(crate) fn registries() -> (Self, Self) {
        Place::all(REGISTRY)
    }

    /// A page of a [`PageFile`](crate::PageFile).
    pub(crate) fn page(file: LogId, number: u64) -> Self {
        Place::build(PAGES, file, number)
    }

    /// All pages of all files: from the first, up to the second.
    pub(crate) fn pages() -> (Self, Self) {
        Place::all(PAGES)
    }

    /// A slot of a log.
    pub(crate) fn slot(log: LogId, slot: Slot) -> Self {
        Place::build(TABLES + slot.table as u8, log, slot.key)
    }

    /// All slots of a table of a log, but for one with the last key there is: from the first, up to the second.
    pub(crate) fn table(log: LogId, table: Table) -> (Self, Self) {
        (Place::slot(log, Slot::new(table, 0)), Place::slot(log, Slot::new(table, u64::MAX)))
    }

    /// All slots of a table of all logs: from the first, up to the second.
    pub(crate) fn tables(table: Table) -> (Self, Self) {
        Place::all(TABLES + table as u8)
    }

    /// Behind the last slot of this place's log in its table.
    pub(crate) fn log_end(&self) -> Self {
        Place::build(self.0[0], self.log(), u64::MAX)
    }

    fn all(kind: u8) -> (Self, Self) {
        (Place::build(kind, LogId::default(), 0), Place::build(kind + 1, LogId::default(), 0))
    }

    fn build(kind: u8, log: LogId, key: u64) -> Self {
        let mut bytes = [0; LEN];
        bytes[0] = kind;
        bytes[1..=ID].copy_from_slice(&log);
        bytes[1 + ID..].copy_from_slice(&key.to_be_bytes());
        Place(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Place)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    pub(crate) fn log(&self) -> LogId {
        let mut log = LogId::default();
        log.copy_from_slice(&self.0[1..=ID]);
        log
    }

    pub(crate) fn key(&self) -> u64 {
        let mut key = [0; 8];
        key.copy_from_slice(&self.0[1 + ID..]);
        u64::from_be_bytes(key)
    }

    pub(crate) fn in_table(&self) -> Option<Table> {
        Table::ALL.into_iter().find(|table| TABLES + *table as u8 == self.0[0])
    }

    pub(crate) fn room(&self) -> Room {
        let body = self.in_table() == Some(Table::Block) || self.0[0] == PAGES;
        if body { Room::Bodies } else { Room::Small }
    }
}
