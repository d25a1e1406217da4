//! `cloudpal drive`: files of a drive, and mirrors of folders.

use super::args::DriveCommand;
use super::logs::open;
use super::ticks::Ticks;
use super::{Desk, Place, finish};
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::local::{Kind, Shelf};
use crate::remote;
use crate::terminal::Report;
use cloudpal_drive::folder::LocalFolder;
use cloudpal_drive::mirror::{MirrorOptions, Mirrored, Op, Progress, Run, Surplus};
use cloudpal_drive::{About, Checkout, Child, DrivePath, FileEntry, Folder};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

/// Runs a command that is about a drive's files.
pub fn run(desk: Desk<'_>, command: DriveCommand) -> Result<(), Failure> {
    match command {
        DriveCommand::Put { name, path, file, executable, at } => {
            let mut source = open(file.as_deref())?;
            match desk.open(&at)? {
                Place::Folder(shelf) => {
                    let drive = shelf.drive(&shelf.find(Kind::Drive, &name)?)?;
                    let path = drive_path(&path)?;
                    let about = About { executable, metadata: None };
                    let mut counted =
                        Counted { source: &mut source, bytes: 0, ticks: Ticks::new(desk.app.progress) };
                    drive.put_stream(&path, &mut counted, about).map_err(failed)?;
                    let (bytes, version) = (counted.bytes, drive.version());
                    let text = format!("{path} has {bytes} bytes; the drive is at version {version}.");
                    let json = json!({ "path": path.as_str(), "bytes": bytes, "version": version });
                    finish(desk, shelf, &Report::new(text, json))
                }
                Place::Pal(pal) => {
                    let mode = if executable {
                        remote::drives::Mode::Executable
                    } else {
                        remote::drives::Mode::Plain
                    };
                    desk.terminal.print(&remote::drives::put(&pal, &name, &path, &mut source, mode)?)
                }
            }
        }
        DriveCommand::Get { name, path, file, bytes, at_version: version, at } => {
            let bytes = bytes.map(|bytes| bytes.0);
            let place = desk.open(&at)?;
            let written = match (place, &file) {
                (Place::Folder(shelf), file) => {
                    let written = get(&shelf, &name, &path, bytes, version, file.as_deref())?;
                    shelf.close()?;
                    written
                }
                (Place::Pal(pal), Some(file)) => {
                    into_file(file, |sink| remote::drives::get(&pal, &name, &path, bytes, version, sink))?
                }
                (Place::Pal(pal), None) => {
                    remote::drives::get(&pal, &name, &path, bytes, version, &mut io::stdout().lock())?
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
                desk.terminal.print(&remote::drives::ls(&pal, &name, &folder, depth, version)?)
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
        DriveCommand::Mirror { name, from, to, keep, dry_run, store } => {
            let shelf = Shelf::open(desk.app.person, &store)?;
            let options = MirrorOptions {
                surplus: if keep { Surplus::Keep } else { Surplus::Delete },
                run: if dry_run { Run::Dry } else { Run::Real },
                ..MirrorOptions::default()
            };
            mirror(desk, shelf, &name, from, to, &options)
        }
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

/// Counts what is read of a source, and tells.
struct Counted<'a, R: ?Sized> {
    source: &'a mut R,
    bytes: u64,
    ticks: Ticks<'a>,
}

impl<R: io::Read + ?Sized> io::Read for Counted<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(to)?;
        self.bytes += read as u64;
        self.ticks.tell(|| format!("{} MiB stored", self.bytes >> 20));
        Ok(read)
    }
}

fn get(
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
        Some(file) => into_file(file, |sink| reader.write_to(sink).map_err(failed)),
        None => reader.write_to(&mut io::stdout().lock()).map_err(failed),
    }
}

/// Writes a file that appears whole or not at all.
fn into_file(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<u64, Failure>,
) -> Result<u64, Failure> {
    let failed =
        |error| Failure::because(Exit::Failed, format!("{} cannot be written", file.display()), error);
    let beside = file.with_added_extension("part");
    let mut sink = File::create(&beside).map_err(failed)?;
    let written = write(&mut sink).inspect_err(|_| {
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
    let mut entries = Vec::new();
    let mut faulty = 0;
    if recursive {
        for file in view.list(&place) {
            match file {
                Ok(file) => entries.push(shown(&view, &file)),
                Err(cloudpal_drive::ReadError::Entry { .. }) => faulty += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    } else {
        for child in view.children(&place) {
            match child {
                Ok(Child::File(file)) => entries.push(shown(&view, &file)),
                Ok(Child::Folder(folder)) => entries.push(json!({ "folder": folder.as_str() })),
                Err(cloudpal_drive::ReadError::Entry { .. }) => faulty += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    }
    let mut lines: Vec<_> = entries.iter().map(line).collect();
    if faulty > 0 {
        lines.push(format!("{faulty} entries cannot be read; their writer is faulty or hostile"));
    }
    let json = json!({ "version": view.version(), "folder": folder, "entries": entries, "faulty": faulty });
    finish(desk, shelf, &Report::new(lines.join("\n"), json))
}

fn shown(view: &Checkout, file: &FileEntry) -> Value {
    let mut json =
        json!({ "path": file.path.as_str(), "seq": file.seq, "executable": file.entry.executable });
    match &file.entry.linkname {
        Some(target) => json["link"] = json!(target),
        // A copy may not have the list of blocks that says how long a content is.
        None => json["bytes"] = json!(view.byte_length(file).ok()),
    }
    if let Some(metadata) = &file.entry.metadata {
        json["metadata"] = serde_json::from_str(metadata.as_json()).unwrap_or_default();
    }
    json
}

fn line(entry: &Value) -> String {
    if let Some(folder) = entry["folder"].as_str() {
        return format!("{:>12}  {folder}/", "");
    }
    let path = entry["path"].as_str().unwrap_or_default();
    if let Some(target) = entry["link"].as_str() {
        return format!("{:>12}  {path} -> {target}", "");
    }
    let mark = if entry["executable"] == true { "*" } else { "" };
    let bytes = entry["bytes"].as_u64().map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
    format!("{bytes:>12}  {path}{mark}")
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
    let text = format!("{path} is gone; {blocks} blocks with {bytes} bytes were freed.");
    let json = json!({
        "path": path.as_str(), "freed_blocks": blocks, "freed_bytes": bytes, "version": drive.version(),
    });
    finish(desk, shelf, &Report::new(text, json))
}

fn mirror(
    desk: Desk<'_>,
    shelf: Shelf,
    name: &str,
    from: Option<PathBuf>,
    to: Option<PathBuf>,
    options: &MirrorOptions,
) -> Result<(), Failure> {
    let drive = shelf.drive(&shelf.find(Kind::Drive, name)?)?;
    let mut ticks = Ticks::new(desk.app.progress);
    let mut left_out = Vec::new();
    let mut dry = Vec::new();
    let mut watch = |progress: Progress<'_>| {
        match progress {
            Progress::Step(step) => {
                if let (Op::LeaveOut, Some(reason)) = (step.op, step.reason) {
                    left_out.push(json!({ "path": step.path, "why": reason.to_string() }));
                } else if options.run == Run::Dry && step.op != Op::Equal {
                    dry.push(json!({ "path": step.path, "what": word(step.op) }));
                }
                ticks.tell(|| step.path.to_owned());
            }
            Progress::Bytes { path, done, total } => {
                ticks.tell(|| format!("{path}: {} of {} MiB", done >> 20, total >> 20));
            }
        }
        ControlFlow::Continue(())
    };
    let done = match (from, to) {
        (Some(folder), _) => {
            let folder = LocalFolder::open(&folder).map_err(failed)?;
            drive.mirror_from(&folder, options, &mut watch).map_err(failed)?
        }
        (None, Some(folder)) => {
            let folder = LocalFolder::create(&folder).map_err(failed)?;
            drive.now().mirror_to(&folder, options, &mut watch).map_err(failed)?
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "say --from FOLDER or --to FOLDER")),
    };
    let report = report(&done, drive.version(), options.run, &dry, &left_out);
    finish(desk, shelf, &report)
}

fn word(op: Op) -> &'static str {
    match op {
        Op::Add => "add",
        Op::Change => "change",
        Op::Rights => "rights",
        Op::Remove => "remove",
        Op::Equal => "equal",
        Op::LeaveOut => "leave out",
    }
}

fn report(done: &Mirrored, version: u64, run: Run, dry: &[Value], left_out: &[Value]) -> Report {
    let would = if run == Run::Dry { "would be " } else { "" };
    let mut lines: Vec<_> = dry
        .iter()
        .map(|one| {
            format!(
                "{:>9}  {}",
                one["what"].as_str().unwrap_or_default(),
                one["path"].as_str().unwrap_or_default()
            )
        })
        .collect();
    lines.push(format!(
        "{} files: {} {would}added, {} {would}changed, {} {would}removed, {} equal, {} left out; {} bytes",
        done.files, done.added, done.changed, done.removed, done.equal, done.left_out, done.bytes_added
    ));
    for one in left_out {
        lines.push(format!(
            "left out  {}: {}",
            one["path"].as_str().unwrap_or_default(),
            one["why"].as_str().unwrap_or_default()
        ));
    }
    let json = json!({
        "files": done.files, "added": done.added, "changed": done.changed, "removed": done.removed,
        "equal": done.equal, "left_out": left_out, "bytes_added": done.bytes_added,
        "bytes_removed": done.bytes_removed, "version": version, "dry_run": run == Run::Dry, "would": dry,
    });
    Report::new(lines.join("\n"), json)
}
