use crate::disk::{Engine, Folder, FormatError, LogId, LogStorage, Place, Write, file_fault, salvage};
use crate::open::{OpenedStore, open_taken};
use crate::registry::{Record, put_record};
use crate::{Access, Loss, OpenError, Options, StoreKey};
use cloudpal_log::{Durability, Log, Slot, Storage, StorageError, Table};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// The engine did not open. Its files were set aside in this folder, and what could be read was taken over.
    pub set_aside: Option<PathBuf>,
    /// Logs of which something is missing. All others are whole.
    pub logs: Vec<LogRepaired>,
}

/// What was found in one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRepaired {
    /// The log.
    pub key: [u8; 32],
    /// Blocks whose bodies were damaged or missing. They count as not held now: a peer can send them again.
    pub blocks: Vec<Range<u64>>,
    /// The log's tree was damaged and could not be made again from its blocks: the log begins anew, empty.
    pub emptied: bool,
    /// It was longer once. It refuses to be written until a peer has sent the rest or that is given up.
    pub loss: Option<Loss>,
}

/// Checks every record of the store in `dir`, drops what is damaged and reports what is missing. It takes as long as
/// reading everything. Open the store afterwards and connect peers: what they have heals by itself or by
/// [`Session::fetch`](crate::Session::fetch).
pub fn repair(dir: &Path, key: &StoreKey, options: &Options) -> Result<Repaired, OpenError> {
    let file = |source| OpenError::File { path: dir.to_owned(), source };
    let (folder, proven) = match Folder::take(dir, key) {
        Err(FormatError::Damaged { .. }) => (Folder::lock(dir)?, false),
        other => (other?, true),
    };
    let (opened, set_aside) = match open_taken(folder, key, options) {
        // With the wrong key nothing may be set aside: it would all look damaged.
        Err(OpenError::Engine { .. }) if proven => {
            let aside = aside(dir).map_err(file)?;
            (open_taken(Folder::lock(dir)?, key, options)?, Some(aside))
        }
        opened => (opened?, None),
    };
    if !proven {
        prove(&opened, dir)?;
        opened.folder.rewrite(key).map_err(file)?;
    }
    let fault = |source| OpenError::Engine { path: dir.to_owned(), source };
    let OpenedStore { engine, mut losses, known, folder: _held, .. } = opened;
    let engine = Arc::new(engine);
    if let Some(aside) = &set_aside {
        take_over(&engine, aside).map_err(fault)?;
        losses = crate::open::compare(&engine, &known).map_err(fault)?;
    }
    let logs = check_all(&engine, losses).map_err(fault)?;
    engine.close().map_err(fault)?;
    Ok(Repaired { set_aside, logs })
}

/// Whether this is the store's key, when the file that tells is damaged: something must open with it, or nothing be
/// there at all.
fn prove(opened: &OpenedStore, dir: &Path) -> Result<(), OpenError> {
    let (mut opens, mut refused) = (!opened.known.is_empty(), false);
    let (first, end) = Place::registries();
    let survey = opened.engine.survey(&first, &end, &mut |_, bytes| match bytes {
        Some(_) => opens = true,
        None => refused = true,
    });
    survey.map_err(|source| OpenError::Engine { path: dir.to_owned(), source })?;
    if refused && !opens {
        return Err(FormatError::WrongKey { path: dir.to_owned() }.into());
    }
    Ok(())
}

/// Moves the engine's files out of the way; none of them is deleted.
fn aside(dir: &Path) -> std::io::Result<PathBuf> {
    let free = (1..).map(|number| dir.join(format!("engine.damaged.{number}"))).find(|path| !path.exists());
    let aside = free.unwrap_or_else(|| dir.join("engine.damaged"));
    std::fs::rename(dir.join("engine"), &aside)?;
    Ok(aside)
}

/// Brings in what the journals of a damaged engine hold.
fn take_over(engine: &Engine, aside: &Path) -> Result<(), StorageError> {
    let fault = |error| file_fault("read", error);
    let mut journals: Vec<PathBuf> = std::fs::read_dir(aside)
        .map_err(fault)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    journals.sort_by_key(|path| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
    for journal in journals {
        engine.restore(&salvage(&std::fs::read(journal).map_err(fault)?))?;
    }
    Ok(())
}

fn check_all(
    engine: &Arc<Engine>,
    mut losses: HashMap<LogId, Loss>,
) -> Result<Vec<LogRepaired>, StorageError> {
    let mut records = HashMap::new();
    let (first, end) = Place::registries();
    engine.survey(&first, &end, &mut |place, bytes| {
        records
            .extend(bytes.and_then(|bytes| Record::decode(&bytes).ok()).map(|record| (place.log(), record)));
    })?;
    for (id, loss) in &losses {
        if !records.contains_key(id) {
            let record = Record { key: loss.key, name: None, access: Access::Anyone, held: 0 };
            put_record(engine, *id, &record)?;
            records.insert(*id, record);
        }
    }
    let mut found = Vec::new();
    for (id, record) in records {
        let (blocks, emptied) = check_log(engine, id, &record)?;
        let loss = losses.remove(&id);
        if emptied || !blocks.is_empty() || loss.is_some() {
            found.push(LogRepaired { key: record.key, blocks, emptied, loss });
        }
    }
    found.sort_by_key(|log| log.key);
    Ok(found)
}

/// Checks one log: every record must open, and every block that counts as held must be there.
fn check_log(
    engine: &Arc<Engine>,
    id: LogId,
    record: &Record,
) -> Result<(Vec<Range<u64>>, bool), StorageError> {
    let storage = || LogStorage::new(Arc::clone(engine), id, record.key, Arc::default(), u64::MAX);
    let damaged = damaged_places(engine, id)?;
    let tree_is_whole = damaged.iter().all(|place| place.in_table() == Some(Table::Block));
    remove(engine, &damaged)?;
    let log = if tree_is_whole { Log::open(storage()) } else { Log::repair(storage()) };
    let mut log = match log.or_else(|_| Log::repair(storage())) {
        Ok(log) => log,
        Err(error) => {
            tracing::warn!(%error, "a log cannot be read and begins anew");
            return Ok((Vec::new(), empty(engine, id)?));
        }
    };
    let mut missing: Vec<Range<u64>> = Vec::new();
    for index in 0..log.length() {
        if log.has(index) && log.storage().get(Slot::new(Table::Block, index))?.is_none() {
            match missing.last_mut().filter(|run| run.end == index) {
                Some(run) => run.end += 1,
                None => missing.push(index..index + 1),
            }
        }
    }
    for run in &missing {
        log.clear(run.clone(), Durability::Relaxed)?;
    }
    Ok((missing, false))
}

fn damaged_places(engine: &Engine, id: LogId) -> Result<Vec<Place>, StorageError> {
    let mut damaged = Vec::new();
    for table in Table::ALL {
        let (first, end) = Place::table(id, table);
        engine.survey(&first, &end, &mut |place, bytes| {
            if bytes.is_none() {
                damaged.push(*place);
            }
        })?;
    }
    Ok(damaged)
}

/// Removes all slots of a log but user data; whether there were any.
fn empty(engine: &Engine, id: LogId) -> Result<bool, StorageError> {
    let mut places = Vec::new();
    for table in Table::ALL.into_iter().filter(|table| *table != Table::User) {
        let (first, end) = Place::table(id, table);
        engine.places(&first, &end, &mut |place, _| places.push(*place))?;
    }
    remove(engine, &places)?;
    Ok(!places.is_empty())
}

fn remove(engine: &Engine, places: &[Place]) -> Result<(), StorageError> {
    for chunk in places.chunks(10_000) {
        let writes = chunk.iter().map(|place| Write { place: *place, value: None }).collect();
        engine.commit(writes, None, Durability::Relaxed)?;
    }
    Ok(())
}
