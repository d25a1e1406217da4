//! `cloudpal drive`: files of a drive.

use super::args::DriveCommand;
use super::logs::{open, open_file};
use super::ticks::Ticks;
use super::{Desk, Place, finish, mirror};
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::printable::word;
use crate::remote;
use crate::terminal::{Format, Report};
use crate::told::{self, text};
use cloudpal_drive::{About, Checkout, Child, DrivePath, Folder, ReadError};
use cloudpal_shelf::{Kind, Shelf, json};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

/// Runs a command that is about a drive's files.
pub fn run(desk: Desk<'_>, command: DriveCommand) -> Result<(), Failure> {
    match command {
        DriveCommand::Put { name, path, file, executable, at } => {
            if file.is_none() {
                desk.terminal.awaits("what the file is to hold");
            }
            let mut source = Source::open(file.as_deref())?;
            match desk.open(&at)? {
                Place::Folder(shelf) => {
                    put(desk, shelf, &name, &path, source, About { executable, metadata: None })
                }
                Place::Pal(pal) => {
                    let mode = if executable {
                        remote::drives::Mode::Executable
                    } else {
                        remote::drives::Mode::Plain
                    };
                    let mut source = Counted::new(desk, source.reader());
                    desk.terminal.print(&remote::drives::put(&pal, &name, &path, &mut source, mode)?)
                }
            }
        }
        DriveCommand::Get { name, path, file, bytes, at_version: version, at } => {
            let bytes = bytes.map(|bytes| bytes.0);
            let place = desk.open(&at)?;
            let written = match (place, &file) {
                (Place::Folder(shelf), file) => {
                    let written = get(desk, &shelf, &name, &path, bytes, version, file.as_deref())?;
                    shelf.close()?;
                    written
                }
                (Place::Pal(pal), Some(file)) => into_file(desk, file, |sink| {
                    remote::drives::get(&pal, &name, &path, bytes, version, sink)
                })?,
                (Place::Pal(pal), None) => {
                    remote::drives::get(&pal, &name, &path, bytes, version, &mut desk.terminal.contents())?
                }
            };
            match file {
                Some(file) => {
                    let text = format!("{} has {written} bytes.", file.display());
                    desk.terminal
                        .print(&Report::new(text, json!({ "path": path, "file": file, "bytes": written })))
                }
                None => Ok(()),
            }
        }
        DriveCommand::Ls { name, folder, recursive, at_version: version, at } => match desk.open(&at)? {
            Place::Folder(shelf) => ls(desk, shelf, &name, &folder, version, recursive),
            Place::Pal(pal) => {
                let depth =
                    if recursive { remote::drives::Depth::All } else { remote::drives::Depth::Folder };
                listed(desk, &remote::drives::ls(&pal, &name, &folder, depth, version)?)
            }
        },
        DriveCommand::Rm { name, path, keep, at } => match desk.open(&at)? {
            Place::Folder(shelf) => rm(desk, shelf, &name, &path, keep),
            Place::Pal(pal) => {
                let content =
                    if keep { remote::drives::Content::Keep } else { remote::drives::Content::Free };
                desk.terminal.print(&remote::drives::rm(&pal, &name, &path, content)?)
            }
        },
        DriveCommand::Mirror(wanted) => mirror::run(desk, &wanted),
        DriveCommand::Create(_)
        | DriveCommand::Info(_)
        | DriveCommand::List(_)
        | DriveCommand::Serve(_)
        | DriveCommand::Fetch(_) => unreachable!("these are the same for logs, maps and drives"),
    }
}

fn drive_path(text: &str) -> Result<DrivePath, Failure> {
    DrivePath::new(text).map_err(failed)
}

fn view(shelf: &Shelf, name: &str, version: Option<u64>) -> Result<Checkout, Failure> {
    let drive = shelf.drive(&shelf.find(Kind::Drive, name)?)?;
    match version {
        Some(version) => drive.checkout(version).map_err(failed),
        None => Ok(drive.now()),
    }
}

/// Where the content of a new file comes from.
enum Source {
    /// What can be read twice: an equal content that is in the drive already is found, and not stored again.
    File(File),
    /// What comes once.
    Stream(Box<dyn BufRead>),
}

impl Source {
    fn open(file: Option<&Path>) -> Result<Source, Failure> {
        let Some(path) = file else { return Ok(Source::Stream(open(None)?)) };
        let file = open_file(path)?;
        match file.metadata().is_ok_and(|about| about.is_file()) {
            true => Ok(Source::File(file)),
            false => Ok(Source::Stream(Box::new(BufReader::new(file)))),
        }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match self {
            Source::File(file) => file,
            Source::Stream(stream) => stream,
        }
    }
}

fn put(
    desk: Desk<'_>,
    shelf: Shelf,
    name: &str,
    path: &str,
    source: Source,
    about: About,
) -> Result<(), Failure> {
    let drive = shelf.drive(&shelf.find(Kind::Drive, name)?)?;
    let path = drive_path(path)?;
    let stored = match source {
        Source::File(source) => drive.put_file(&path, &mut Counted::new(desk, source), about),
        Source::Stream(source) => drive.put_stream(&path, &mut Counted::new(desk, source), about),
    };
    stored.map_err(failed)?;
    let now = drive.now();
    let bytes = match now.entry(&path).map_err(failed)? {
        Some(file) => now.byte_length(&file).map_err(failed)?,
        None => 0,
    };
    let text =
        format!("{} has {bytes} bytes; the drive is at version {}.", word(path.as_str()), now.version());
    let json = json!({ "path": path.as_str(), "bytes": bytes, "version": now.version() });
    finish(desk, shelf, &Report::new(text, json))
}

/// Counts what passes, and tells.
struct Counted<'a, S> {
    through: S,
    bytes: u64,
    ticks: Ticks<'a>,
}

impl<'a, S> Counted<'a, S> {
    fn new(desk: Desk<'a>, through: S) -> Self {
        Counted { through, bytes: 0, ticks: Ticks::new(desk.app.progress) }
    }

    fn passed(&mut self, bytes: usize, how: &str) {
        self.bytes += bytes as u64;
        self.ticks.tell(|| format!("{} MiB {how}", self.bytes >> 20));
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.through.read(to)?;
        self.passed(read, "read");
        Ok(read)
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let written = self.through.write(from)?;
        self.passed(written, "written");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.through.flush()
    }
}

impl<R: Seek> Seek for Counted<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes = self.through.seek(to)?;
        Ok(self.bytes)
    }
}

fn get(
    desk: Desk<'_>,
    shelf: &Shelf,
    name: &str,
    path: &str,
    bytes: Option<Range<u64>>,
    version: Option<u64>,
    file: Option<&Path>,
) -> Result<u64, Failure> {
    let view = view(shelf, name, version)?;
    let path = drive_path(path)?;
    let entry = view.follow(&path).map_err(failed)?;
    let entry =
        entry.ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no {path} in the drive")))?;
    let length = view.byte_length(&entry).map_err(failed)?;
    let wanted = bytes.map_or(0..length, |bytes| bytes.start.min(length)..bytes.end.min(length));
    let mut reader = view.read(&entry, wanted).map_err(failed)?;
    match file {
        Some(file) => into_file(desk, file, |sink| reader.write_to(sink).map_err(failed)),
        None => {
            let mut out = desk.terminal.contents();
            let written = reader.write_to(&mut out).map_err(failed)?;
            let done = out.flush().map(|()| written);
            done.map_err(|error| Failure::because(Exit::Failed, "printing the file failed", error))
        }
    }
}

/// Writes a file that appears whole or not at all.
fn into_file(
    desk: Desk<'_>,
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<u64, Failure>,
) -> Result<u64, Failure> {
    let failed =
        |error| Failure::because(Exit::Failed, format!("{} cannot be written", file.display()), error);
    let beside = file.with_added_extension("part");
    let mut sink = File::create(&beside).map_err(failed)?;
    let written = write(&mut Counted::new(desk, &mut sink)).inspect_err(|_| {
        // What came is of no use; that it cannot be removed is worth nobody's time.
        std::fs::remove_file(&beside).ok();
    })?;
    sink.sync_all().and_then(|()| std::fs::rename(&beside, file)).map_err(failed)?;
    Ok(written)
}

fn ls(
    desk: Desk<'_>,
    shelf: Shelf,
    name: &str,
    folder: &str,
    version: Option<u64>,
    recursive: bool,
) -> Result<(), Failure> {
    let view = view(&shelf, name, version)?;
    let place = Folder::new(folder).map_err(failed)?;
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    let children: Box<dyn Iterator<Item = Result<Child, ReadError>>> = match recursive {
        true => Box::new(view.list(&place).map(|file| file.map(Child::File))),
        false => Box::new(view.children(&place)),
    };
    for child in children {
        match child {
            Ok(Child::File(file)) => entries.push(json::file(&view, &file)),
            Ok(Child::Folder(folder)) => entries.push(json!({ "folder": folder.as_str() })),
            Err(error) if error.is_of_one_file() => errors.push(json!(failed(error).to_string())),
            Err(error) => return Err(failed(error)),
        }
    }
    let lines: Vec<_> = entries.iter().map(told::file).collect();
    let json = json!({
        "version": view.version(), "folder": folder, "entries": entries, "faulty": errors.len(), "errors": errors,
    });
    shelf.close()?;
    listed(desk, &Report::new(lines.join("\n"), json))
}

/// Prints a list. Entries that were passed over are told of, and make the command a failure in the end.
fn listed(desk: Desk<'_>, report: &Report) -> Result<(), Failure> {
    let (folder, faulty) = (text(&report.json, "folder"), &report.json["faulty"]);
    // A drive knows no empty folders.
    if report.text.is_empty() && !matches!(folder, "" | "/") && (faulty.is_null() || *faulty == 0) {
        let message = format!("there is no folder {folder} in the drive");
        return Err(Failure::new(Exit::NotFound, message));
    }
    desk.terminal.print(report)?;
    if desk.terminal.format() == Format::Text {
        for error in report.json["errors"].as_array().into_iter().flatten() {
            desk.terminal.warn(error.as_str().unwrap_or_default());
        }
    }
    match report.json["faulty"].as_u64() {
        None | Some(0) => Ok(()),
        Some(faulty) => {
            let message = format!("{faulty} entries of the drive cannot be read, all others are listed");
            Err(Failure::new(Exit::Failed, message))
        }
    }
}

fn rm(desk: Desk<'_>, shelf: Shelf, name: &str, path: &str, keep: bool) -> Result<(), Failure> {
    let drive = shelf.drive(&shelf.find(Kind::Drive, name)?)?;
    let path = drive_path(path)?;
    if !drive.now().exists(&path).map_err(failed)? {
        return Err(Failure::new(Exit::NotFound, format!("there is no {path} in the drive")));
    }
    let (blocks, bytes) = if keep {
        drive.del(&path).map_err(failed)?;
        (0, 0)
    } else {
        let freed = drive.discard(&path).map_err(failed)?;
        (freed.blocks, freed.bytes)
    };
    let text = format!("{} is gone; {blocks} blocks with {bytes} bytes were freed.", word(path.as_str()));
    let json = json!({
        "path": path.as_str(), "freed_blocks": blocks, "freed_bytes": bytes, "version": drive.version(),
    });
    finish(desk, shelf, &Report::new(text, json))
}
