//! A table: blocks of entries, an index of them, a footer that says where that is.

use crate::format::block::{Block, BlockCursor, BlockFault, Handle, TRAILER, unseal};
use crate::format::{Damage, Input, key};
use std::io;

/// Bytes of the footer.
pub(crate) const FOOTER: usize = 48;
/// What a table ends with.
pub(crate) const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// The bytes of a file.
pub trait Stored {
    /// How many there are.
    fn size(&self) -> io::Result<u64>;
    /// Fills `into` with those from `offset` on.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Stored for std::fs::File {
    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|about| about.len())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }
}

impl Stored for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let bytes = from.and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableFault {
    /// The file system.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
    /// Bytes are not what they were.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// Compressed in a way that is not known here.
    #[error("the block at byte {offset} is compressed in way {way}")]
    Compression {
        /// Where.
        offset: u64,
        /// LevelDB's number for it.
        way: u8,
    },
}

/// A table that is there.
#[derive(Debug)]
pub struct Table<S> {
    stored: S,
    /// Where the footer begins.
    end: u64,
    index: Block,
    index_at: u64,
}

impl<S: Stored> Table<S> {
    /// Reads its index, and compares the checksums of all blocks that no entry lies in.
    pub fn open(stored: S) -> Result<Self, TableFault> {
        let size = stored.size()?;
        let end = size
            .checked_sub(FOOTER as u64)
            .ok_or(Damage { offset: size, what: "a table is too short to be one" })?;
        let mut footer = [0; FOOTER];
        stored.read(end, &mut footer)?;
        let wrong = Damage { offset: end, what: "a table does not end as one does" };
        let mut input = Input::new(&footer);
        let handles = (Handle::read(&mut input), Handle::read(&mut input));
        let (Some(meta), Some(index)) = handles else { return Err(wrong.into()) };
        if footer[FOOTER - 8..] != MAGIC.to_le_bytes() {
            return Err(wrong.into());
        }
        let mut table = Table { stored, end, index: Block::default(), index_at: index.offset };
        let mut others = BlockCursor::new(table.block(meta)?);
        while others.advance().map_err(|fault| fault_at(meta.offset, fault))? {
            table.contents(handle(others.value(), meta.offset)?)?;
        }
        table.index = table.block(index)?;
        Ok(table)
    }

    /// In front of the first entry.
    pub fn cursor(self) -> TableCursor<S> {
        let index = BlockCursor::new(self.index.clone());
        TableCursor { table: self, index, block: BlockCursor::default(), block_at: 0, last: None }
    }

    fn block(&self, handle: Handle) -> Result<Block, TableFault> {
        Block::new(self.contents(handle)?).map_err(|fault| fault_at(handle.offset, fault))
    }

    fn contents(&self, Handle { offset, size }: Handle) -> Result<Vec<u8>, TableFault> {
        let length = size.checked_add(TRAILER as u64);
        let fits = length.and_then(|length| offset.checked_add(length)).is_some_and(|end| end <= self.end);
        let length = length.filter(|_| fits).and_then(|length| usize::try_from(length).ok());
        let what = "a block is said to lie where the file has no room for it";
        let mut stored = vec![0; length.ok_or(Damage { offset, what })?];
        self.stored.read(offset, &mut stored)?;
        unseal(&stored).map_err(|fault| fault_at(offset, fault))
    }
}

fn handle(bytes: &[u8], offset: u64) -> Result<Handle, Damage> {
    Handle::read(&mut Input::new(bytes))
        .ok_or(Damage { offset, what: "an index does not say where a block is" })
}

fn fault_at(offset: u64, fault: BlockFault) -> TableFault {
    match fault {
        BlockFault::Damage(what) => Damage { offset, what }.into(),
        BlockFault::Compression(way) => TableFault::Compression { offset, way },
    }
}

/// Walks a table from the front.
#[derive(Debug)]
pub struct TableCursor<S> {
    table: Table<S>,
    index: BlockCursor,
    block: BlockCursor,
    block_at: u64,
    last: Option<Vec<u8>>,
}

impl<S: Stored> TableCursor<S> {
    /// Goes to the next entry; false at the end. Entries out of order are damage.
    pub fn advance(&mut self) -> Result<bool, TableFault> {
        while !self.block.advance().map_err(|fault| fault_at(self.block_at, fault))? {
            let at = self.table.index_at;
            if !self.index.advance().map_err(|fault| fault_at(at, fault))? {
                return Ok(false);
            }
            let handle = handle(self.index.value(), at)?;
            self.block = BlockCursor::new(self.table.block(handle)?);
            self.block_at = handle.offset;
        }
        let wrong = |what| Damage { offset: self.block_at, what };
        let now = key::split(self.block.key()).ok_or(wrong("a key of a table has no tag"))?;
        let before = self.last.as_deref().and_then(key::split);
        if before.is_some_and(|before| key::order(before, now).is_ge()) {
            return Err(wrong("the keys of a table are out of order").into());
        }
        self.block.key().clone_into(self.last.get_or_insert_default());
        Ok(true)
    }

    /// The key of the entry, with its tag.
    pub fn key(&self) -> &[u8] {
        self.block.key()
    }

    /// Its value.
    pub fn value(&self) -> &[u8] {
        self.block.value()
    }

    /// Where the entry's block lies.
    pub const fn offset(&self) -> u64 {
        self.block_at
    }
}
