use crate::disk::{Crypt, Engine, Folder, FormatError, Known, Lengths, LogId, Mark, Place, Space};
use crate::disk::{check_journal, file_fault, peek, salvage};
use crate::key::Purpose;
use crate::{Extent, Loss, Options, PrimaryKey, StoreKey};
use cloudpal_core::Secret;
use cloudpal_log::{Slot, StorageError, Table};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be taken.
    #[error(transparent)]
    Folder(#[from] FormatError),
    /// The system gave no randomness.
    #[error("cannot open the store: the system has no randomness")]
    Random(#[from] getrandom::Error),
    /// A file cannot be read or written.
    #[error("cannot read the store in {}: see that the disk works, then try again", path.display())]
    File {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine's files are damaged.
    #[error("cannot open the store in {}: repair it", path.display())]
    Engine {
        /// The folder.
        path: PathBuf,
        /// What the engine said.
        source: StorageError,
    },
}

pub(crate) struct OpenedStore {
    pub folder: Folder,
    pub engine: Engine,
    pub index: Secret<32>,
    pub primary: PrimaryKey,
    pub network: Secret<32>,
    pub losses: HashMap<LogId, Loss>,
    /// What the second place says.
    pub known: HashMap<LogId, Known>,
}

pub(crate) fn open(dir: &Path, key: &StoreKey, options: &Options) -> Result<OpenedStore, OpenError> {
    open_taken(Folder::take(dir, key)?, key, options)
}

/// Opens the store in a folder that is taken.
pub(crate) fn open_taken(
    folder: Folder,
    key: &StoreKey,
    options: &Options,
) -> Result<OpenedStore, OpenError> {
    let dir = folder.path().to_owned();
    let file = |source| OpenError::File { path: dir.clone(), source };
    let fault = |source| OpenError::Engine { path: dir.clone(), source };
    let engine_folder = dir.join("engine");
    let cut = check_journal(&engine_folder, &dir.join("cut")).map_err(file)?;
    let (lengths, known) = Lengths::open(&dir, Crypt::new(key.derive(Purpose::Lengths))?).map_err(file)?;
    let space = Space::new(dir.clone(), options.keep_free, options.quota);
    let crypt = Crypt::new(key.derive(Purpose::Records))?;
    let engine = Engine::open(engine_folder, crypt, lengths, options.memory, space).map_err(fault)?;
    let mut losses = compare(&engine, &known).map_err(fault)?;
    if !cut.is_empty() {
        if losses.values().any(|loss| loss.certain) {
            bring_back(&engine, &cut).map_err(fault)?;
            losses = compare(&engine, &known).map_err(fault)?;
        }
        std::fs::remove_dir_all(dir.join("cut")).map_err(file)?;
    }
    for loss in losses.values() {
        tracing::warn!(had = %loss.had, has = %loss.has, certain = loss.certain, "a log is shorter than it was");
    }
    settle(&engine, &losses).map_err(fault)?;
    for (id, loss) in losses.iter().filter(|(_, loss)| loss.certain) {
        engine.second().hold(*id, Mark { key: loss.key, fork: loss.had.fork, length: loss.had.length });
    }
    Ok(OpenedStore {
        folder,
        engine,
        index: key.derive(Purpose::Index),
        primary: match &options.primary_key {
            Some(primary) => primary.clone(),
            None => PrimaryKey::from_secret(key.derive(Purpose::Primary)),
        },
        network: key.derive(Purpose::Network),
        losses,
        known,
    })
}

/// What the second place remembers and the engine does not have.
pub(crate) fn compare(
    engine: &Engine,
    known: &HashMap<LogId, Known>,
) -> Result<HashMap<LogId, Loss>, StorageError> {
    let mut losses = HashMap::new();
    for (id, known) in known {
        let head = Place::slot(*id, Slot::new(Table::Head, 0));
        let has = match engine.get(&head) {
            Ok(head) => head.and_then(|head| peek(&head)).unwrap_or_default(),
            Err(StorageError::Damaged { .. }) => Extent::default(),
            Err(error) => return Err(error),
        };
        let had = extent(&known.newest);
        let certain = known.certain.as_ref().map(extent).filter(|had| *had > has);
        if certain.is_some() || had > has {
            let loss = Loss { key: known.newest.key, had, has, certain: certain.is_some() };
            losses.insert(*id, loss);
        }
    }
    Ok(losses)
}

fn extent(mark: &Mark) -> Extent {
    Extent { fork: mark.fork, length: mark.length }
}

/// What was being written when the machine stopped was never acknowledged, and no peer heard of it: it is told once,
/// and forgotten.
fn settle(engine: &Engine, losses: &HashMap<LogId, Loss>) -> Result<(), StorageError> {
    let cut_short = losses.iter().filter(|(_, loss)| !loss.certain);
    let truths: Vec<_> = cut_short
        .map(|(id, Loss { key, has, .. })| {
            let mark = Mark { key: *key, fork: has.fork, length: has.length };
            (*id, (*has != Extent::default()).then_some(mark))
        })
        .collect();
    if truths.is_empty() { Ok(()) } else { engine.second().settle(&truths) }
}

/// No crash explains what is missing, so a flipped byte cut the journal: what lies behind it is brought back.
fn bring_back(engine: &Engine, cut: &[PathBuf]) -> Result<(), StorageError> {
    for path in cut {
        let tail = std::fs::read(path).map_err(|error| file_fault("read", error))?;
        let batches = engine.restore(&salvage(&tail))?;
        tracing::warn!(batches, "brought back what lay behind damage in the journal");
    }
    Ok(())
}
