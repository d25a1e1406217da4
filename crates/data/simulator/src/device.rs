use crate::disk::Disk;
use bytes::Bytes;
use cloudpal_db::{
    Advanced, Batch, Identity, KeepError, Logs, LogsError, Replica, WriteError, WriterId, Written,
};
use cloudpal_sorted::{Options, Sorted};
use std::cell::Cell;

/// One device: its disk, its clock and its copy of the database.
pub struct Device {
    /// Who it is.
    pub me: Identity,
    /// What it has written.
    pub disk: Disk,
    /// Its copy.
    pub replica: Replica<Disk>,
    /// By how much its clock is off, in milliseconds.
    pub skew_ms: i64,
    /// Devices of one side hear each other.
    pub side: u64,
    /// It was restored from a backup, and has not met anybody since.
    pub restored: bool,
}

/// The logs on a disk, for one look at them: whoever reads for ever is stopped, so that a world always ends.
pub struct OnDisk<'a> {
    disk: &'a Disk,
    left: Cell<u64>,
}

/// Blocks that one look may take. The logs of a world have some thousands, and they are read anew at a cut.
const READS: u64 = 1_000_000;

impl<'a> OnDisk<'a> {
    /// One look at the logs on `disk`.
    pub const fn new(disk: &'a Disk) -> Self {
        OnDisk { disk, left: Cell::new(READS) }
    }
}

impl Logs for OnDisk<'_> {
    fn length(&self, writer: &WriterId) -> u64 {
        self.disk.length(writer)
    }

    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError> {
        let Some(left) = self.left.get().checked_sub(1) else {
            let source = format!("{READS} blocks were read, and no end").into();
            return Err(LogsError { client: writer.client(), position, source });
        };
        self.left.set(left);
        Ok(self.disk.get(writer, position))
    }
}

impl Device {
    /// A device of the database `database`, as its disk has it.
    pub fn open(database: WriterId, me: Identity, disk: Disk) -> Result<Self, KeepError> {
        let sorted = Sorted::open(disk.clone(), Options { memory: 1 << 20, ..Options::default() })?;
        let replica = Replica::open(database, me.clone(), sorted)?;
        Ok(Device { me, disk, replica, skew_ms: 0, side: 0, restored: false })
    }

    /// Its clock when it is `now_ms` in truth.
    pub fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.skew_ms)
    }

    /// Reads what came.
    pub fn advance(&mut self, now_ms: u64) -> Result<Advanced, KeepError> {
        self.replica.advance(&OnDisk::new(&self.disk), self.clock(now_ms))
    }

    /// Writes batches as one.
    pub fn write(
        &mut self,
        batches: &[Batch],
        now_ms: u64,
        nonces: &mut dyn FnMut() -> [u8; 24],
    ) -> Result<Vec<Result<Written, WriteError>>, WriteError> {
        let length = self.disk.length(&self.me.writer);
        let mut prepared = self.replica.prepare(batches, length, self.clock(now_ms), nonces)?;
        self.append(length, &prepared.blocks);
        let results = std::mem::take(&mut prepared.results);
        self.replica.commit(prepared);
        Ok(results)
    }

    /// Appends blocks to its own log.
    pub fn append(&self, length: u64, blocks: &[Bytes]) {
        self.disk.put(self.me.writer, length, blocks.to_vec());
    }
}
