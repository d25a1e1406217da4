use crate::error::{OpenError, ReadError};
use crate::format::edit::{self, COMPARATOR, Edit, LEVELS, TableMeta};
use crate::format::{Damage, batch, key, record};
use crate::merge::{Entry, Source, Tables, merge};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Takes a key and its value, and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// The longest log that is read. LevelDB begins another at 4 MiB unless its program asked for more.
const MAX_LOG: u64 = 1 << 30;

/// A LevelDB folder, for reading. While it is held, programs that go by LevelDB's lock cannot open it to write.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Tables by level; those of level 0 may overlap.
    levels: Vec<Vec<TableMeta>>,
    /// What is in no table yet, in order.
    logs: Vec<Entry>,
    unfinished: Vec<Unfinished>,
    _lock: Option<File>,
}

/// The end of a log that was not finished when its program or the power went. LevelDB leaves it out, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The log.
    pub file: PathBuf,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Folder {
    /// Opens a folder: takes its lock, reads MANIFEST and logs. Tables are read by [`visit`](Self::visit).
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let current = path.join("CURRENT");
        if !current.is_file() {
            return Err(OpenError::Missing(path.to_owned()));
        }
        let lock = lock(path)?;
        let manifest = path.join(manifest_name(&current)?);
        let mut unfinished = Vec::new();
        let state = State::read(&manifest, path, &mut unfinished)?;
        let logs = read_logs(path, &state, &mut unfinished)?;
        let mut levels = vec![Vec::new(); LEVELS as usize];
        for ((level, _), table) in state.tables {
            levels[level as usize].push(table);
        }
        for tables in &mut levels[1..] {
            // A first key without a tag is damage, which reading the table tells.
            tables.sort_by(|one, two| match (key::split(&one.smallest), key::split(&two.smallest)) {
                (Some(one), Some(two)) => key::order(one, two),
                _ => Ordering::Equal,
            });
        }
        Ok(Folder { path: path.to_owned(), levels, logs, unfinished, _lock: lock })
    }

    /// What logs and MANIFEST end with that was never finished.
    pub fn unfinished(&self) -> &[Unfinished] {
        &self.unfinished
    }

    /// How many tables there are.
    pub fn tables(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }

    /// Visits each key and its value in the order of their bytes, until told to stop. When it ends without that and without an error, every
    /// block of every table was read and its checksum was right.
    pub fn visit(&self, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        let mut sources = vec![Source::Logs(self.logs.iter())];
        let (first, others) = self.levels.split_at(1);
        let tables = |tables| Source::Tables(Box::new(Tables::new(&self.path, tables)));
        sources.extend(first.iter().flatten().map(|table| tables(std::slice::from_ref(table))));
        sources.extend(others.iter().filter(|level| !level.is_empty()).map(|level| tables(&level[..])));
        merge(sources, visit)
    }
}

/// Takes LevelDB's lock for reading: it is refused while a program has the folder open, and refuses programs meanwhile.
fn lock(path: &Path) -> Result<Option<File>, OpenError> {
    let file = path.join("LOCK");
    let lock = match File::open(&file) {
        // A copy may lack it; there is nothing to hold then.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| ReadError::Io { file: file.clone(), source })?,
    };
    match fcntl_lock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(lock)),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(OpenError::Locked(path.to_owned())),
        Err(error) => Err(ReadError::Io { file, source: error.into() }.into()),
    }
}

fn manifest_name(current: &Path) -> Result<String, ReadError> {
    let bytes = read(current)?;
    let name = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let is_manifest = |name: &&str| {
        let number = name.strip_prefix("MANIFEST-").unwrap_or_default();
        !number.is_empty() && number.len() <= 20 && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    match name.filter(is_manifest) {
        Some(name) => Ok(name.to_owned()),
        None => Err(damaged(current, Damage { offset: 0, what: "it does not name a MANIFEST" })),
    }
}

/// What all changes of a MANIFEST come to.
#[derive(Default)]
struct State {
    tables: BTreeMap<(u32, u64), TableMeta>,
    log: u64,
    previous_log: u64,
}

impl State {
    fn read(manifest: &Path, folder: &Path, unfinished: &mut Vec<Unfinished>) -> Result<Self, OpenError> {
        let bytes = read(manifest)?;
        let records = record::parse(&bytes).map_err(|damage| damaged(manifest, damage))?;
        note(manifest, &bytes, records.unfinished, unfinished);
        let (mut state, mut sum) = (State::default(), Edit::default());
        for (offset, record) in &records.whole {
            let wrong = Damage { offset: *offset, what: "a record is no change of what tables there are" };
            let edit = edit::parse(record).ok_or_else(|| damaged(manifest, wrong))?;
            if let Some(name) = edit.comparator.as_ref().filter(|name| **name != COMPARATOR) {
                let name = String::from_utf8_lossy(name).escape_debug().to_string();
                return Err(OpenError::Comparator { folder: folder.to_owned(), name });
            }
            edit.deleted.iter().for_each(|table| drop(state.tables.remove(table)));
            sum.log = edit.log.or(sum.log);
            sum.previous_log = edit.previous_log.or(sum.previous_log);
            sum.next_file = edit.next_file.or(sum.next_file);
            sum.last_sequence = edit.last_sequence.or(sum.last_sequence);
            state.tables.extend(edit.added.into_iter().map(|(level, table)| ((level, table.number), table)));
        }
        let (Some(log), Some(_), Some(_)) = (sum.log, sum.next_file, sum.last_sequence) else {
            let what = "it ends before it says which files count";
            let offset = records.unfinished.unwrap_or(bytes.len() as u64);
            return Err(damaged(manifest, Damage { offset, what }).into());
        };
        (state.log, state.previous_log) = (log, sum.previous_log.unwrap_or(0));
        Ok(state)
    }
}

/// The writes of all logs that are in no table yet.
fn read_logs(path: &Path, state: &State, unfinished: &mut Vec<Unfinished>) -> Result<Vec<Entry>, OpenError> {
    let unread = |source| ReadError::Io { file: path.to_owned(), source };
    let mut logs = BTreeMap::new();
    for file in std::fs::read_dir(path).map_err(unread)? {
        let file = file.map_err(unread)?.path();
        let is_log = file.extension().is_some_and(|ending| ending == "log");
        let number = file.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        let counts = |number: &u64| *number >= state.log || *number == state.previous_log;
        logs.extend(number.filter(counts).filter(|_| is_log).map(|number| (number, file)));
    }
    let mut entries = Vec::new();
    for file in logs.values() {
        let bytes = std::fs::metadata(file).map_err(unread)?.len();
        if bytes > MAX_LOG {
            return Err(OpenError::Log { file: file.clone(), bytes, limit: MAX_LOG });
        }
        let bytes = read(file)?;
        let records = record::parse(&bytes).map_err(|damage| damaged(file, damage))?;
        note(file, &bytes, records.unfinished, unfinished);
        for (offset, record) in &records.whole {
            let wrong = Damage { offset: *offset, what: "a record is no batch of writes" };
            let batch = batch::parse(record).ok_or_else(|| damaged(file, wrong))?;
            entries.extend(batch.into_iter().map(|(key, tag, value)| (key.to_vec(), tag, value.to_vec())));
        }
    }
    entries.sort_by(|one: &Entry, two| key::order((&one.0, one.1), (&two.0, two.1)));
    // Of a key that is written over and over, the newest is enough.
    entries.dedup_by(|later, first| later.0 == first.0);
    Ok(entries)
}

fn note(file: &Path, bytes: &[u8], offset: Option<u64>, unfinished: &mut Vec<Unfinished>) {
    unfinished.extend(offset.map(|offset| Unfinished {
        file: file.to_owned(),
        offset,
        bytes: bytes.len() as u64 - offset,
    }));
}

fn read(file: &Path) -> Result<Vec<u8>, ReadError> {
    std::fs::read(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })
}

fn damaged(file: &Path, source: Damage) -> ReadError {
    ReadError::Damaged { file: file.to_owned(), source }
}
