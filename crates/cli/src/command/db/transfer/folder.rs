//! LevelDB folders. One that is imported is read twice: first all of it, so that nothing of a damaged one is taken in, then to write.

use super::writer::Importer;
use super::{count_keys, left_out};
use crate::command::data::Desk;
use crate::command::data::ticks::Ticks;
use crate::command::db::args::{Export, Import};
use crate::command::db::bytes::shown;
use crate::command::db::room::Room;
use crate::failure::{Exit, Failure};
use crate::printable::word;
use crate::terminal::Report;
use bytes::Bytes;
use cloudpal_base::{Kind, Range, limits};
use cloudpal_leveldb::{Folder, OpenError, Unfinished, WriteError, Writer};
use cloudpal_serve::json;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::Path;

/// `import --leveldb`.
pub fn import(desk: Desk<'_>, wanted: &Import, dir: &Path) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let sub = room.sub(&wanted.part, Kind::Register)?;
    let folder = Folder::open(dir).map_err(|error| Failure::lift(exit(&error), error))?;
    let keys = check(desk, &folder)?;
    let mut importer = Importer::new(desk, &room);
    let done = each(&folder, |key, value| {
        importer.put(&sub, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
    });
    // What was written before a fault is kept, and its batches are whole.
    let done = importer.end().and_then(|tally| done.map(|()| tally));
    let tally = match done {
        Ok(tally) => tally,
        Err(failure) => {
            room.close()?;
            return Err(failure);
        }
    };
    let mut text = format!(
        "{} of {} read into {sub}: {} written, {} showed the same already.",
        count_keys(keys),
        word(&dir.display().to_string()),
        tally.written,
        tally.same
    );
    folder.unfinished().iter().for_each(|end| text.push_str(&cut_off(end)));
    let mut told = json::sub(&sub);
    told.insert("keys".into(), json!(keys));
    told.insert("written".into(), json!(tally.written));
    told.insert("same".into(), json!(tally.same));
    told.insert("batches".into(), json!(tally.batches));
    told.insert("tables".into(), json!(folder.tables()));
    told.insert("unfinished".into(), folder.unfinished().iter().map(unfinished).collect());
    room.finish(desk, &Report::new(text, told.into()))
}

/// Reads all of a folder, and counts its keys: that nothing is damaged, and nothing larger than a database takes.
fn check(desk: Desk<'_>, folder: &Folder) -> Result<u64, Failure> {
    let mut ticks = Ticks::new(desk.app.progress);
    let mut keys = 0_u64;
    each(folder, |key, value| {
        keys += 1;
        ticks.tell(|| format!("{} checked", count_keys(keys)));
        let (what, length, limit) = if key.len() > limits::MAX_KEY {
            ("is", key.len(), limits::MAX_KEY)
        } else if value.len() > limits::MAX_VALUE {
            ("has a value of", value.len(), limits::MAX_VALUE)
        } else {
            return Ok(());
        };
        let name = shown(&key[..key.len().min(100)]);
        let message = format!(
            "the key {name} {what} {length} bytes, at most {limit} are possible in a database; nothing was imported"
        );
        Err(Failure::new(Exit::Usage, message))
    })?;
    Ok(keys)
}

/// Visits all keys of a folder until one fails.
fn each(folder: &Folder, mut work: impl FnMut(&[u8], &[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut failure = None;
    let read = folder.visit(&mut |key, value| match work(key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    });
    read.map_err(|error| Failure::lift(Exit::Failed, error))?;
    failure.map_or(Ok(()), Err)
}

const fn exit(error: &OpenError) -> Exit {
    match error {
        OpenError::Missing(_) => Exit::NotFound,
        _ => Exit::Failed,
    }
}

fn cut_off(end: &Unfinished) -> String {
    format!(
        " The last {} bytes of {} are a write that was never finished; they are left out.",
        end.bytes,
        word(&end.file.display().to_string())
    )
}

fn unfinished(end: &Unfinished) -> Value {
    json!({ "file": end.file, "offset": end.offset, "bytes": end.bytes })
}

/// `export --leveldb`.
pub fn export(desk: Desk<'_>, wanted: &Export, dir: &Path) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let sub = room.sub(&wanted.part, Kind::Register)?;
    let conflicts = room.conflicts(&sub)?.len() as u64;
    let mut writer = Writer::create(dir).map_err(unwritten)?;
    let mut ticks = Ticks::new(desk.app.progress);
    let (mut keys, mut failure) = (0_u64, None);
    room.scan(&sub, &Range::default(), &mut |key, value| {
        keys += 1;
        ticks.tell(|| format!("{} exported", count_keys(keys)));
        match writer.put(key, value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(()), |error| Err(unwritten(error)))?;
    let written = writer.finish().map_err(unwritten)?;
    let place = word(&dir.display().to_string()).into_owned();
    let text = format!("{place} has {} of {sub}.{}", count_keys(written.keys), left_out(conflicts));
    let mut told = json::sub(&sub);
    told.insert("folder".into(), json!(dir));
    told.insert("keys".into(), json!(written.keys));
    told.insert("tables".into(), json!(written.tables));
    told.insert("bytes".into(), json!(written.bytes));
    told.insert("conflicts_left_out".into(), json!(conflicts));
    room.finish(desk, &Report::new(text, told.into()))
}

fn unwritten(error: WriteError) -> Failure {
    let exit = match error {
        WriteError::Exists(_) | WriteError::Leftover(_) => Exit::WouldLose,
        _ => Exit::Failed,
    };
    Failure::lift(exit, error)
}
