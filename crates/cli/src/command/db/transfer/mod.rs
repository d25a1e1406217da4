//! `import` and `export`: everything of a database as JSON lines, a line for each key; `folder`: a part of it as a LevelDB folder.
//!
//! An import writes batches that are atomic each, and leaves alone what shows the same already: one that was stopped is just run
//! again.

mod folder;
mod lines;
mod writer;

use super::args::{Export, Import, Part};
use super::room::Room;
use crate::command::data::Desk;
use crate::command::data::logs::open as open_source;
use crate::command::data::ticks::Ticks;
use crate::failure::{Exit, Failure};
use crate::terminal::Report;
use crate::told::count;
use cloudpal_base::{Kind, Range, Sub};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use writer::Importer;

/// `import`.
pub fn import(desk: Desk<'_>, wanted: &Import) -> Result<(), Failure> {
    if let Some(dir) = &wanted.leveldb {
        return folder::import(desk, wanted, dir);
    }
    if wanted.from.is_none() {
        desk.terminal.awaits("JSON lines as `cloudpal db export` writes them");
    }
    let mut source = open_source(wanted.from.as_deref())?;
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let mut importer = Importer::new(desk, &room);
    let done = lines::read(&mut source, &room, &wanted.part, &mut importer);
    // What was whole before the fault is kept.
    let done = importer.end().and_then(|tally| done.map(|()| tally));
    let tally = match done {
        Ok(tally) => tally,
        Err(failure) => {
            room.close()?;
            return Err(failure);
        }
    };
    let text =
        format!("{} written, {} showed the same already.", count_keys(tally.written), count_keys(tally.same));
    let json = json!({ "written": tally.written, "same": tally.same, "batches": tally.batches });
    room.finish(desk, &Report::new(text, json))
}

fn count_keys(number: u64) -> String {
    count(number, "key")
}

/// `export`.
pub fn export(desk: Desk<'_>, wanted: &Export) -> Result<(), Failure> {
    if let Some(dir) = &wanted.leveldb {
        return folder::export(desk, wanted, dir);
    }
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let subs = subs(&room, &wanted.part)?;
    let mut conflicts = 0;
    for sub in &subs {
        conflicts += room.conflicts(sub)?.len() as u64;
    }
    let mut ticks = Ticks::new(desk.app.progress);
    let mut keys = 0_u64;
    let mut write_all = |out: &mut dyn Write| -> Result<(), Failure> {
        for sub in &subs {
            let mut unwritten = None;
            room.scan(sub, &Range::default(), &mut |key, value| {
                if let Err(error) = lines::write(out, sub, key, value) {
                    unwritten = Some(error);
                    return ControlFlow::Break(());
                }
                keys += 1;
                ticks.tell(|| format!("{} exported", count_keys(keys)));
                ControlFlow::Continue(())
            })?;
            unwritten.map_or(Ok(()), |error| Err(unprinted(error)))?;
        }
        out.flush().map_err(unprinted)
    };
    match &wanted.file {
        Some(file) => into_file(file, &mut write_all)?,
        None => write_all(&mut BufWriter::new(io::stdout().lock()))?,
    }
    room.close()?;
    let kept = left_out(conflicts);
    match &wanted.file {
        Some(file) => {
            let text = format!("{} has {}.{kept}", file.display(), count_keys(keys));
            let json = json!({ "file": file, "keys": keys, "conflicts_left_out": conflicts });
            desk.terminal.print(&Report::new(text, json))
        }
        None => {
            if conflicts > 0 {
                desk.terminal.warn(kept.trim());
            }
            Ok(())
        }
    }
}

/// A sentence about conflicts, none of which is exported; empty if there are none.
fn left_out(conflicts: u64) -> String {
    match conflicts {
        0 => String::new(),
        _ => format!(
            " {} not exported: only what is shown is. `cloudpal db conflicts` shows them.",
            if conflicts == 1 { "1 conflict is".to_owned() } else { format!("{conflicts} conflicts are") }
        ),
    }
}

fn subs(room: &Room, part: &Part) -> Result<Vec<Sub>, Failure> {
    match (&part.sub, part.kind) {
        (None, None) => room.subs(),
        _ => Ok(vec![room.sub(part, Kind::Register)?]),
    }
}

/// Writes a file that is there only when all of it is.
fn into_file(
    file: &Path,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unwritten =
        |error| Failure::because(Exit::Failed, format!("{} cannot be written", file.display()), error);
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let mut out = BufWriter::new(File::create(&part).map_err(unwritten)?);
    write(&mut out)?;
    let out = out.into_inner().map_err(|error| unwritten(error.into_error()))?;
    out.sync_all().and_then(|()| std::fs::rename(&part, file)).map_err(unwritten)
}

fn unprinted(error: io::Error) -> Failure {
    Failure::because(Exit::Failed, "writing the export failed", error)
}
