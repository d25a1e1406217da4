use crate::disk::{Engine, Folder, FormatError, LogId, LogStorage, Place, Write};
use crate::open::{OpenedStore, open_taken};
use crate::registry::{Record, put_record};
use crate::{Access, Extent, Loss, OpenError, Options, StoreKey};
use cloudpal_log::{BlockRequest, ProofRequest, RequestError};
use cloudpal_log::{Durability, Log, Slot, Storage, StorageError, Table};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// The engine did not open or could not be read. Its files were set aside in this folder, and what could be read of
    /// them was taken over.
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
///
/// Where the engine does not open, or cannot read all of its files, those are set aside, and every record that can be
/// read in them comes into a new engine. What it cannot bring back, and does not always tell: a log's user data, and who may have
/// a log, when the record of that is damaged (the log is open to anyone then); the name of a log that it knows only by its length; logs
/// of which nothing at all can be read and whose length was never synced.
pub fn repair(dir: &Path, key: &StoreKey, options: &Options) -> Result<Repaired, OpenError> {
    let (folder, mut proven) = match Folder::take(dir, key) {
        Err(FormatError::Damaged { .. }) => (Folder::lock(dir)?, false),
        other => (other?, true),
    };
    let checked = open_taken(folder, key, options).and_then(|opened| {
        if !proven {
            prove(&opened, dir)?;
            opened.folder.rewrite(key).map_err(|source| OpenError::File { path: dir.to_owned(), source })?;
            proven = true;
        }
        check_all(opened, dir)
    });
    match checked {
        // With the wrong key nothing may be set aside: it would all look damaged.
        Err(OpenError::Engine { .. }) if proven => begin_anew(dir, key, options),
        checked => Ok(Repaired { set_aside: None, logs: checked? }),
    }
}

/// Sets the engine's files aside and makes a new engine of what can be read in them.
fn begin_anew(dir: &Path, key: &StoreKey, options: &Options) -> Result<Repaired, OpenError> {
    let folder = Folder::lock(dir)?;
    let aside = aside(dir).map_err(|source| OpenError::File { path: dir.to_owned(), source })?;
    let mut opened = open_taken(folder, key, options)?;
    let taken = opened.engine.take_over(&aside);
    let losses = taken.and_then(|()| crate::open::compare(&opened.engine, &opened.known));
    opened.losses = losses.map_err(|source| OpenError::Engine { path: dir.to_owned(), source })?;
    Ok(Repaired { set_aside: Some(aside), logs: check_all(opened, dir)? })
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

/// Checks all logs of an open store and closes it.
fn check_all(opened: OpenedStore, dir: &Path) -> Result<Vec<LogRepaired>, OpenError> {
    let OpenedStore { engine, losses, folder: _held, .. } = opened;
    let engine = Arc::new(engine);
    let checked = check_pages(&engine).and_then(|()| check_logs(&engine, losses));
    let checked = checked.and_then(|logs| engine.close().map(|()| logs));
    checked.map_err(|source| OpenError::Engine { path: dir.to_owned(), source })
}

/// Removes pages that do not open: who keeps them can make them again. A file of the engine that cannot be read is an error.
fn check_pages(engine: &Engine) -> Result<(), StorageError> {
    let (first, end) = Place::pages();
    let mut damaged = Vec::new();
    engine.survey(&first, &end, &mut |place, bytes| damaged.extend(bytes.is_none().then_some(*place)))?;
    remove(engine, &damaged)
}

fn check_logs(
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
        let now = |loss: Loss| if emptied { Loss { has: Extent::default(), ..loss } } else { loss };
        let loss = losses.remove(&id).map(now);
        if emptied || !blocks.is_empty() || loss.is_some() {
            found.push(LogRepaired { key: record.key, blocks, emptied, loss });
        }
    }
    found.sort_by_key(|log| log.key);
    Ok(found)
}

/// Checks one log: every record must open, and every block that counts as held must be there and be the one that was
/// signed. Bodies that do not count as held are removed: they were cleared once.
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
        if log.has(index) && !is_right(&log, index)? {
            match missing.last_mut().filter(|run| run.end == index) {
                Some(run) => run.end += 1,
                None => missing.push(index..index + 1),
            }
        }
    }
    let mut cleared = Vec::new();
    let (first, end) = Place::table(id, Table::Block);
    engine.places(&first, &end, &mut |place, _| {
        cleared.extend((!log.has(place.key())).then_some(*place));
    })?;
    remove(engine, &cleared)?;
    for run in &missing {
        log.clear(run.clone(), Durability::Relaxed)?;
    }
    Ok((missing, false))
}

/// Whether the body of a block is there and has the hash that the tree says.
fn is_right(log: &Log<LogStorage>, index: u64) -> Result<bool, StorageError> {
    let nodes = log.missing_nodes(2 * index)?;
    let block = Some(BlockRequest { index, nodes });
    match log.proof(&ProofRequest { fork: log.fork(), block, ..ProofRequest::default() }) {
        Ok(proof) => Ok(!log.verify(&proof).is_err_and(|error| error.blames_peer())),
        Err(RequestError::Storage(StorageError::Damaged { .. })) => Ok(false),
        Err(RequestError::Storage(error)) => Err(error),
        // A tree with holes proves nothing, to nobody.
        Err(_) => Ok(log.storage().get(Slot::new(Table::Block, index))?.is_some()),
    }
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
