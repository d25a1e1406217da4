//! All tables and logs of a folder as one row of keys, the newest write of each first.

use crate::error::ReadError;
use crate::folder::Visit;
use crate::format::key::{self, Did, Tag};
use crate::format::{Damage, edit::TableMeta};
use crate::table::{Table, TableCursor, TableFault};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A write: key, tag, value.
pub(crate) type Entry = (Vec<u8>, Tag, Vec<u8>);

/// Writes in order: of the logs, or of tables that follow one another.
pub(crate) enum Source<'a> {
    Logs(std::slice::Iter<'a, Entry>),
    Tables(Box<Tables<'a>>),
}

impl Source<'_> {
    fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        match self {
            Source::Logs(entries) => Ok(entries.next().cloned()),
            Source::Tables(tables) => tables.next(),
        }
    }
}

/// The tables of a level, one open at a time.
pub(crate) struct Tables<'a> {
    folder: &'a Path,
    left: VecDeque<&'a TableMeta>,
    open: Option<(PathBuf, TableCursor<File>)>,
    last: Option<(Vec<u8>, Tag)>,
}

impl<'a> Tables<'a> {
    pub fn new(folder: &'a Path, tables: impl IntoIterator<Item = &'a TableMeta>) -> Self {
        Tables { folder, left: tables.into_iter().collect(), open: None, last: None }
    }

    fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            if let Some((file, cursor)) = &mut self.open {
                if cursor.advance().map_err(|fault| told(file, fault))? {
                    let damaged = |what| told(file, Damage { offset: cursor.offset(), what }.into());
                    let (key, tag) =
                        key::split(cursor.key()).ok_or_else(|| damaged("a key of a table has no tag"))?;
                    let before = self.last.as_ref().map(|(key, tag)| (&key[..], *tag));
                    if before.is_some_and(|before| key::order(before, (key, tag)).is_ge()) {
                        return Err(damaged("its keys belong before those of the table in front of it"));
                    }
                    self.last = Some((key.to_vec(), tag));
                    return Ok(Some((key.to_vec(), tag, cursor.value().to_vec())));
                }
                self.open = None;
            }
            let Some(meta) = self.left.pop_front() else { return Ok(None) };
            self.open = Some(open(self.folder, meta)?);
        }
    }
}

fn open(folder: &Path, meta: &TableMeta) -> Result<(PathBuf, TableCursor<File>), ReadError> {
    let name = |ending| folder.join(format!("{:06}.{ending}", meta.number));
    // Old versions of LevelDB called them so.
    let (new, old) = (name("ldb"), name("sst"));
    let path = if !new.exists() && old.exists() { old } else { new };
    let table = File::open(&path).map_err(TableFault::from).and_then(|file| {
        let size = file.metadata()?.len();
        if size != meta.size {
            let what = "the file ends elsewhere than the MANIFEST says";
            return Err(Damage { offset: size.min(meta.size), what }.into());
        }
        Table::open(file)
    });
    match table {
        Ok(table) => Ok((path, table.cursor())),
        Err(fault) => Err(told(&path, fault)),
    }
}

fn told(file: &Path, fault: TableFault) -> ReadError {
    let file = file.to_owned();
    match fault {
        TableFault::Io(source) => ReadError::Io { file, source },
        TableFault::Damage(source) => ReadError::Damaged { file, source },
        TableFault::Compression { offset, way } => ReadError::Compression { file, offset, way },
    }
}

/// The next write of a source. The heap gives the greatest first, so the order is turned round.
struct Head(Entry, usize);

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, two) = (&self.0, &other.0);
        key::order((&two.0, two.1), (&one.0, one.1)).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Visits each key that is there with its newest value, in order, until told to stop.
pub(crate) fn merge(mut sources: Vec<Source<'_>>, visit: &mut Visit<'_>) -> Result<(), ReadError> {
    let mut heads = BinaryHeap::new();
    for (at, source) in sources.iter_mut().enumerate() {
        heads.extend(source.next()?.map(|entry| Head(entry, at)));
    }
    let mut last: Option<Vec<u8>> = None;
    while let Some(Head((key, tag, value), at)) = heads.pop() {
        heads.extend(sources[at].next()?.map(|entry| Head(entry, at)));
        if last.as_ref() == Some(&key) {
            continue;
        }
        if tag.did() == Some(Did::Put) && visit(&key, &value).is_break() {
            return Ok(());
        }
        last = Some(key);
    }
    Ok(())
}
