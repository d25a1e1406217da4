use crate::error::WriteError;
use crate::format::block::{BlockBuilder, Handle, seal};
use crate::format::edit::{COMPARATOR, Edit, LEVELS, TableMeta};
use crate::format::key::{Did, Tag};
use crate::format::record;
use crate::table::{FOOTER, MAGIC};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes of keys and values in a block, and of a file, after which the next begins; as LevelDB has them.
const BLOCK: usize = 4 << 10;
const TABLE: u64 = 2 << 20;
/// What is written in order needs no sorting any more: it lies where LevelDB brings things to rest.
const LEVEL: u32 = LEVELS - 1;

const MANIFEST: &str = "MANIFEST-000001";

/// Writes a new LevelDB folder. It is at its place when all of it is on the disk, and before that in a folder beside it whose name ends in
/// `.part`; dropped before its end, nothing is left.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    /// None when it is finished.
    part: Option<PathBuf>,
    open: Option<Open>,
    tables: Vec<TableMeta>,
    last: Option<Vec<u8>>,
    sequence: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Keys.
    pub keys: u64,
    /// Tables.
    pub tables: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Writer {
    /// Begins a folder at a place where nothing is yet, or an empty folder.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let is_free = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(WriteError::Exists(path.to_owned()));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        match fs::create_dir(&part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(WriteError::Leftover(part)),
            made => {
                made.map_err(|source| WriteError::Io { file: part.clone(), source })?;
                let (path, part) = (path.to_owned(), Some(part));
                Ok(Writer { path, part, open: None, tables: Vec::new(), last: None, sequence: 0 })
            }
        }
    }

    /// Appends a key, which sorts behind all before it.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(WriteError::Order);
        }
        let longest = key.len().max(value.len());
        if longest > (u32::MAX / 2) as usize {
            return Err(WriteError::Length(longest));
        }
        let number = self.tables.len() as u64 + 2;
        let file = self.file(&format!("{number:06}.ldb"));
        let told = |source| WriteError::Io { file: file.clone(), source };
        if self.open.is_none() {
            self.open = Some(Open::create(&file, number).map_err(told)?);
        }
        self.sequence += 1;
        let internal = [key, &Tag::new(self.sequence, Did::Put).to_bytes()].concat();
        key.clone_into(self.last.get_or_insert_default());
        if let Some(table) = &mut self.open {
            table.put(internal, value).map_err(told)?;
        }
        if self.open.as_ref().is_some_and(|table| table.written >= TABLE) {
            self.close_table()?;
        }
        Ok(())
    }

    /// Brings everything to the disk and the folder to its place.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.close_table()?;
        let next = self.tables.len() as u64 + 2;
        let edit = Edit {
            comparator: Some(COMPARATOR.to_vec()),
            log: Some(0),
            previous_log: Some(0),
            next_file: Some(next),
            last_sequence: Some(self.sequence),
            deleted: Vec::new(),
            added: self.tables.iter().map(|table| (LEVEL, table.clone())).collect(),
        };
        let mut manifest = Vec::new();
        record::push(&mut manifest, &edit.encode());
        for (name, bytes) in [(MANIFEST, &manifest[..]), ("CURRENT", format!("{MANIFEST}\n").as_bytes())] {
            let file = self.file(name);
            let written = File::create(&file).and_then(|mut out| {
                out.write_all(bytes)?;
                out.sync_all()
            });
            written.map_err(|source| WriteError::Io { file, source })?;
        }
        let bytes = self.tables.iter().map(|table| table.size).sum();
        let written = Written { keys: self.sequence, tables: self.tables.len() as u64, bytes };
        self.place().map_err(|source| WriteError::Io { file: self.path.clone(), source })?;
        Ok(written)
    }

    fn place(&mut self) -> io::Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        File::open(part)?.sync_all()?;
        fs::rename(part, &self.path)?;
        self.part = None;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn close_table(&mut self) -> Result<(), WriteError> {
        let Some(table) = self.open.take() else { return Ok(()) };
        let file = self.file(&format!("{:06}.ldb", table.number));
        let meta = table.finish().map_err(|source| WriteError::Io { file, source })?;
        self.tables.push(meta);
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.part.as_ref().unwrap_or(&self.path).join(name)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // It was made here; if it cannot be taken away, the next one says that it is there.
            let _ = fs::remove_dir_all(part);
        }
    }
}

/// A table that is being written.
#[derive(Debug)]
struct Open {
    out: BufWriter<File>,
    number: u64,
    written: u64,
    block: BlockBuilder,
    index: BlockBuilder,
    smallest: Vec<u8>,
    largest: Vec<u8>,
}

impl Open {
    fn create(file: &Path, number: u64) -> io::Result<Self> {
        Ok(Open {
            out: BufWriter::new(File::create_new(file)?),
            number,
            written: 0,
            block: BlockBuilder::default(),
            index: BlockBuilder::default(),
            smallest: Vec::new(),
            largest: Vec::new(),
        })
    }

    fn put(&mut self, internal: Vec<u8>, value: &[u8]) -> io::Result<()> {
        self.block.push(&internal, value);
        if self.smallest.is_empty() {
            self.smallest.clone_from(&internal);
        }
        self.largest = internal;
        if self.block.size() >= BLOCK { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let last = self.block.last().to_vec();
        let contents = self.block.finish();
        let mut handle = Vec::new();
        self.write_block(&contents)?.push(&mut handle);
        self.index.push(&last, &handle);
        Ok(())
    }

    fn write_block(&mut self, contents: &[u8]) -> io::Result<Handle> {
        let stored = seal(contents);
        let size = (stored.len() - crate::format::block::TRAILER) as u64;
        let handle = Handle { offset: self.written, size };
        self.out.write_all(&stored)?;
        self.written += stored.len() as u64;
        Ok(handle)
    }

    fn finish(mut self) -> io::Result<TableMeta> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let others = self.write_block(&BlockBuilder::default().finish())?;
        let index = self.index.finish();
        let index = self.write_block(&index)?;
        let mut footer = Vec::with_capacity(FOOTER);
        others.push(&mut footer);
        index.push(&mut footer);
        footer.resize(FOOTER - 8, 0);
        footer.extend_from_slice(&MAGIC.to_le_bytes());
        self.out.write_all(&footer)?;
        let Open { out, number, written, smallest, largest, .. } = self;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(TableMeta { number, size: written + FOOTER as u64, smallest, largest })
    }
}
