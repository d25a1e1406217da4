//! What can be read of an engine that does not open, brought into one that does.

use super::engine::Engine;
use super::fault::engine_fault;
use super::journal::{self, Batch};
use super::place::Place;
use super::rooms::Rooms;
use super::tables::{self, Version, What};
use cloudpal_log::StorageError;
use fjall::{OwnedWriteBatch, PersistMode};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The engine's own list of its rooms.
const LIST: &str = "0";

/// Bytes that one batch brings.
const AT_ONCE: usize = 8 << 20;

/// A file of the damaged engine.
enum Source {
    Journal(PathBuf),
    Table(PathBuf),
    Apart(PathBuf),
}

impl Engine {
    /// Brings in the newest version of every record that can be read in the journals, tables and files of blocks in
    /// `aside`, if it opens in its place. This engine must be empty. A record whose newest version is damaged may come
    /// back as it was before: logs find that out by their hashes, and by their lengths in the second place.
    pub(crate) fn take_over(&self, aside: &Path) -> Result<(), StorageError> {
        let sources = sources(aside).map_err(|error| super::file_fault("read", error))?;
        let newest = newest(&sources);
        let state = self.alive()?;
        let open = state.open()?;
        for source in &sources {
            let current =
                versions(source).filter(|(place, version)| newest.get(place) == Some(&version.count));
            self.bring(open, current)?;
        }
        open.db.persist(PersistMode::SyncData).map_err(|error| self.stop("sync", error))
    }

    fn bring(
        &self,
        open: &Rooms,
        versions: impl Iterator<Item = (Place, Version)>,
    ) -> Result<(), StorageError> {
        let mut versions = versions.peekable();
        while versions.peek().is_some() {
            let (mut batch, mut bytes) = (open.db.batch(), 0);
            while bytes < AT_ONCE
                && let Some((place, version)) = versions.next()
            {
                let What::Value(sealed) = version.what else { continue };
                bytes += sealed.len();
                if self.crypt.open(place.as_bytes(), sealed.clone().into()).is_some() {
                    batch.insert(open.room(place.room()), &place.as_bytes()[..], sealed);
                }
            }
            commit(batch)?;
        }
        Ok(())
    }
}

/// The count of the newest version of each record. A file of blocks is asked only about those that neither a journal nor a
/// table knows.
fn newest(sources: &[Source]) -> HashMap<Place, u64> {
    let mut newest: HashMap<Place, u64> = HashMap::new();
    let (apart, known): (Vec<_>, Vec<_>) =
        sources.iter().partition(|source| matches!(source, Source::Apart(_)));
    for (place, version) in known.into_iter().flat_map(versions) {
        let count = newest.entry(place).or_default();
        *count = version.count.max(*count);
    }
    let mut unknown: HashMap<Place, u64> = HashMap::new();
    for (place, version) in apart.into_iter().flat_map(versions) {
        if !newest.contains_key(&place) {
            let count = unknown.entry(place).or_default();
            *count = version.count.max(*count);
        }
    }
    newest.extend(unknown);
    newest
}

fn commit(batch: OwnedWriteBatch) -> Result<(), StorageError> {
    batch.commit().map_err(|error| engine_fault("write to", error))
}

/// Every version in a file that has a place. One that cannot be read has none.
fn versions(source: &Source) -> impl Iterator<Item = (Place, Version)> + use<> {
    let read = |path: &PathBuf| {
        fs::read(path).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "a file of the damaged store cannot be read");
            Vec::new()
        })
    };
    let versions = match source {
        Source::Journal(path) => {
            journal::salvage(&read(path)).into_iter().flat_map(Batch::versions).collect()
        }
        Source::Table(path) => tables::versions(&read(path)),
        Source::Apart(path) => tables::versions_apart(&read(path)),
    };
    versions.into_iter().filter_map(|version| Some((Place::from_bytes(&version.key)?, version)))
}

fn sources(engine: &Path) -> io::Result<Vec<Source>> {
    let mut sources: Vec<Source> =
        journal::journals(engine)?.into_iter().map(|(_, path)| Source::Journal(path)).collect();
    for room in inside(&engine.join("keyspaces"))? {
        if room.file_name().is_some_and(|name| name == LIST) {
            continue;
        }
        sources.extend(inside(&room.join("tables"))?.into_iter().map(Source::Table));
        sources.extend(inside(&room.join("blobs"))?.into_iter().map(Source::Apart));
    }
    Ok(sources)
}

fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
