//! `cloudpal log`: appending, reading, cutting and checking.

use super::args::{Blocks, LogCommand};
use super::things::about;
use super::ticks::Ticks;
use super::{Desk, Place, finish};
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::remote;
use crate::terminal::{Format, Report};
use crate::told;
use bytes::Bytes;
use cloudpal_log::{Durability, Feed, MAX_BLOCK};
use cloudpal_shelf::{Kind, Shelf, json};
use cloudpal_store::Session;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

/// One commit holds at most so many bytes and blocks.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_BLOCKS: usize = 4_096;

/// Runs a command that is about a log's blocks.
pub fn run(desk: Desk<'_>, command: LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Append { name, file, cut, lines, at } => {
            let cut = match (lines || file.is_none(), cut) {
                (true, _) => Cut::Lines,
                (false, bytes) => Cut::Bytes(bytes as usize),
            };
            if file.is_none() {
                desk.terminal.awaits("lines, each of which becomes a block");
            }
            let mut source = open(file.as_deref())?;
            match desk.open(&at)? {
                Place::Folder(shelf) => append(desk, shelf, &name, &mut source, cut),
                Place::Pal(pal) => {
                    let cut = match cut {
                        Cut::Lines => remote::logs::Cut::Lines,
                        Cut::Bytes(size) => remote::logs::Cut::Bytes(size),
                    };
                    desk.terminal.print(&remote::logs::append(
                        &pal,
                        desk.app.progress,
                        &name,
                        &mut source,
                        cut,
                    )?)
                }
            }
        }
        LogCommand::Get { name, blocks, at } => match desk.open(&at)? {
            Place::Folder(shelf) => {
                let log = shelf.log(&shelf.find(Kind::Log, &name)?)?;
                let end = match blocks.0.end {
                    u64::MAX => log.length(),
                    // At least one that may not be there, so that it is told.
                    end => end.min(log.length().max(blocks.0.start + 1)),
                };
                let mut out = Out::new(desk);
                for index in blocks.0.start..end {
                    let block = log.get_local(index).map_err(failed)?;
                    let block = block.ok_or_else(|| not_here(index))?;
                    out.block(index, &block)?;
                }
                out.end()?;
                Ok(shelf.close()?)
            }
            Place::Pal(pal) => {
                let mut out = Out::new(desk);
                remote::logs::read(&pal, &name, blocks.0, &mut |index, block| out.block(index, &block))?;
                out.end()
            }
        },
        LogCommand::Truncate { name, length, at } => match desk.open(&at)? {
            Place::Folder(shelf) => change(desk, shelf, &name, |log| match log.length() {
                now if now < length => {
                    let message = format!("the log has {}, fewer than that", told::count(now, "block"));
                    Err(Failure::new(Exit::Usage, message))
                }
                _ => log.truncate(length).map_err(failed),
            }),
            Place::Pal(pal) => desk.terminal.print(&remote::logs::truncate(&pal, &name, length)?),
        },
        LogCommand::Clear { name, blocks: Blocks(blocks), at } => match desk.open(&at)? {
            Place::Folder(shelf) => change(desk, shelf, &name, |log| {
                log.clear(blocks.start..blocks.end.min(log.length())).map_err(failed)
            }),
            Place::Pal(pal) => desk.terminal.print(&remote::logs::clear(&pal, &name, blocks)?),
        },
        LogCommand::Verify(one) => match desk.open(&one.at)? {
            Place::Folder(shelf) => verify(desk, shelf, &one.name),
            Place::Pal(pal) => {
                desk.terminal.print(&remote::logs::verify(&pal, desk.app.progress, &one.name)?)
            }
        },
        LogCommand::Create(_)
        | LogCommand::Info(_)
        | LogCommand::List(_)
        | LogCommand::Serve(_)
        | LogCommand::Fetch(_) => unreachable!("these are the same for logs, maps and drives"),
    }
}

fn not_here(index: u64) -> Failure {
    let message = format!("block {index} is not in this folder; bring it with `cloudpal log fetch`");
    Failure::new(Exit::NotFound, message)
}

/// Standard input or a file.
pub fn open(file: Option<&Path>) -> Result<Box<dyn BufRead>, Failure> {
    match file {
        None => Ok(Box::new(io::stdin().lock())),
        Some(path) => Ok(Box::new(BufReader::with_capacity(1 << 20, open_file(path)?))),
    }
}

/// A file, or whatever else can be read there but a folder.
pub fn open_file(path: &Path) -> Result<File, Failure> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.is_dir(), file)));
    match opened {
        Ok((false, file)) => Ok(file),
        Ok((true, _)) => {
            let message =
                format!("{} is a folder; `cloudpal drive mirror` stores whole folders", path.display());
            Err(Failure::new(Exit::Usage, message))
        }
        Err(error) => {
            let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
            Err(Failure::because(exit, format!("{} cannot be read", path.display()), error))
        }
    }
}

/// How input becomes blocks.
#[derive(Clone, Copy)]
enum Cut {
    /// Each line one, without its end.
    Lines,
    /// So many bytes each.
    Bytes(usize),
}

impl Cut {
    /// The next block; none at the end.
    fn next(self, source: &mut dyn BufRead) -> Result<Option<Bytes>, Failure> {
        let unread = |error| Failure::because(Exit::Failed, "what is to be appended cannot be read", error);
        let mut block = Vec::new();
        match self {
            Cut::Bytes(size) => {
                source.take(size as u64).read_to_end(&mut block).map_err(unread)?;
                Ok((!block.is_empty()).then(|| block.into()))
            }
            Cut::Lines => {
                if source.take(MAX_BLOCK as u64 + 1).read_until(b'\n', &mut block).map_err(unread)? == 0 {
                    return Ok(None);
                }
                if block.last() == Some(&b'\n') {
                    block.pop();
                }
                if block.len() > MAX_BLOCK {
                    let message =
                        format!("one line has more than {MAX_BLOCK} bytes; give a file and --cut BYTES");
                    return Err(Failure::new(Exit::Usage, message));
                }
                Ok(Some(block.into()))
            }
        }
    }
}

fn append(
    desk: Desk<'_>,
    shelf: Shelf,
    name: &str,
    source: &mut dyn BufRead,
    cut: Cut,
) -> Result<(), Failure> {
    let item = shelf.find(Kind::Log, name)?;
    // One sync at the end makes all of it last; the store syncs meanwhile on its own.
    let log = shelf.log(&item)?.with_durability(Durability::Relaxed);
    let first = log.length();
    let mut ticks = Ticks::new(desk.app.progress);
    let mut ended = false;
    while !ended {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_BLOCKS && bytes < BATCH_BYTES {
            let Some(block) = cut.next(source)? else {
                ended = true;
                break;
            };
            bytes += block.len();
            batch.push(block);
        }
        log.append(&batch).map_err(failed)?;
        ticks.tell(|| format!("{} blocks appended", log.length() - first));
    }
    log.sync().map_err(failed)?;
    let (count, mut json) = (log.length() - first, about(&shelf, &item)?);
    json["first"] = json!(first);
    json["count"] = json!(count);
    let text = format!("{} appended; {name} has {} now.", told::count(count, "block"), json["length"]);
    finish(desk, shelf, &Report::new(text, json))
}

fn change(
    desk: Desk<'_>,
    shelf: Shelf,
    name: &str,
    change: impl FnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let item = shelf.find(Kind::Log, name)?;
    change(&shelf.log(&item)?)?;
    let json = about(&shelf, &item)?;
    finish(desk, shelf, &Report::new(told::thing(&json), json))
}

/// Reads every block that is held; the store checks each against the tree.
fn verify(desk: Desk<'_>, shelf: Shelf, name: &str) -> Result<(), Failure> {
    let log = shelf.log(&shelf.find(Kind::Log, name)?)?;
    let info = log.info();
    let mut ticks = Ticks::new(desk.app.progress);
    let (mut checked, mut absent, mut damaged) = (0_u64, 0_u64, Vec::new());
    for index in 0..info.length {
        match log.get_local(index) {
            Ok(Some(_)) => checked += 1,
            Ok(None) => absent += 1,
            Err(error) => {
                tracing::warn!(index, %error, "a block does not verify");
                damaged.push(index);
            }
        }
        ticks.tell(|| format!("{} of {} blocks checked", index + 1, info.length));
    }
    shelf.close()?;
    if let Some(first) = damaged.first() {
        let message = format!(
            "{} blocks are damaged, the first is {first}; bring them again with `cloudpal log fetch`",
            damaged.len()
        );
        return Err(Failure::new(Exit::Failed, message));
    }
    let json = json!({
        "ok": true, "checked": checked, "absent": absent, "damaged": damaged,
        "length": info.length, "fork": info.fork, "tree_hash": hex::encode(info.tree_hash),
    });
    desk.terminal
        .print(&Report::new(format!("{checked} blocks are sound, {absent} are not held here."), json))
}

/// Blocks on their way to standard output: as they are, a line end after each, or all in one JSON object.
struct Out<'a> {
    desk: Desk<'a>,
    contents: Box<dyn Write>,
    blocks: Vec<Value>,
}

impl<'a> Out<'a> {
    fn new(desk: Desk<'a>) -> Self {
        Out { desk, contents: desk.terminal.contents(), blocks: Vec::new() }
    }

    fn block(&mut self, index: u64, block: &[u8]) -> Result<(), Failure> {
        if self.desk.terminal.format() == Format::Json {
            self.blocks.push(json::block(index, block).into());
            return Ok(());
        }
        self.contents.write_all(block).and_then(|()| self.contents.write_all(b"\n")).map_err(unprinted)
    }

    fn end(mut self) -> Result<(), Failure> {
        match self.desk.terminal.format() {
            Format::Json => self.desk.terminal.print(&Report::new("", json!({ "blocks": self.blocks }))),
            Format::Text => self.contents.flush().map_err(unprinted),
        }
    }
}

fn unprinted(error: io::Error) -> Failure {
    Failure::because(Exit::Failed, "printing a block failed", error)
}
