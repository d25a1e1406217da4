//! `cloudpal bee`: entries of a sorted map.

use super::args::{BeeCommand, ScanRange};
use super::{Desk, Place, finish};
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::printable::word;
use crate::remote;
use crate::terminal::{Format, Report};
use crate::told;
use cloudpal_bee::{History, Range, Snapshot};
use cloudpal_shelf::{Kind, Shelf, json};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Read};

/// A value that is read from standard input has at most so many bytes.
const MAX_VALUE: u64 = 8 << 20;

/// Runs a command that is about a map's entries.
pub fn run(desk: Desk<'_>, command: BeeCommand) -> Result<(), Failure> {
    match command {
        BeeCommand::Put { name, key, value, at } => {
            let value = match value {
                Some(value) => value.into_bytes(),
                None => {
                    desk.terminal.awaits("the value");
                    read_value()?
                }
            };
            match desk.open(&at)? {
                Place::Folder(shelf) => {
                    let bee = shelf.bee(&shelf.find(Kind::Bee, &name)?)?;
                    let seq = bee.put(&key, value).map_err(failed)?;
                    let json = json!({ "key": key, "seq": seq, "version": bee.version() });
                    let text = format!("{} is put; the map is at version {}.", word(&key), bee.version());
                    finish(desk, shelf, &Report::new(text, json))
                }
                Place::Pal(pal) => desk.terminal.print(&remote::bees::put(&pal, &name, &key, &value)?),
            }
        }
        BeeCommand::Get { name, key, at_version: version, at } => match desk.open(&at)? {
            Place::Folder(shelf) => {
                let entry = view(&shelf, &name, version)?.get(&key).map_err(failed)?;
                let entry =
                    entry.ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no {key}")))?;
                shelf.close()?;
                value_out(desk, &Value::from(json::entry(&entry)), entry.value.as_deref().unwrap_or_default())
            }
            Place::Pal(pal) => {
                let report = remote::bees::get(&pal, &name, &key, version)?;
                let value = told::bytes(&report.json, "value");
                value_out(desk, &report.json, &value)
            }
        },
        BeeCommand::Del { name, key, at } => match desk.open(&at)? {
            Place::Folder(shelf) => {
                let bee = shelf.bee(&shelf.find(Kind::Bee, &name)?)?;
                let seq = bee.del(&key).map_err(failed)?;
                let json =
                    json!({ "key": key, "deleted": seq.is_some(), "seq": seq, "version": bee.version() });
                let text = if seq.is_some() {
                    format!("{} is deleted.", word(&key))
                } else {
                    format!("There is no {}.", word(&key))
                };
                finish(desk, shelf, &Report::new(text, json))
            }
            Place::Pal(pal) => desk.terminal.print(&remote::bees::del(&pal, &name, &key)?),
        },
        BeeCommand::Scan { name, range, at } => match desk.open(&at)? {
            Place::Folder(shelf) => scan(desk, shelf, &name, &range),
            Place::Pal(pal) => {
                let ScanRange { prefix, gt, gte, lt, lte, reverse, limit, at_version: version } = range;
                let wanted = remote::bees::Scan { prefix, gt, gte, lt, lte, reverse, limit, version };
                let (report, failure) = remote::bees::scan(&pal, &name, &wanted)?;
                scanned(desk, report, failure)
            }
        },
        BeeCommand::History { name, reverse, limit, at } => match desk.open(&at)? {
            Place::Folder(shelf) => history(desk, shelf, &name, past(limit, reverse)),
            Place::Pal(pal) => {
                let wanted = remote::bees::Past { reverse, limit, ..Default::default() };
                desk.terminal.print(&remote::bees::history(&pal, &name, wanted)?)
            }
        },
        BeeCommand::Create(_)
        | BeeCommand::Info(_)
        | BeeCommand::List(_)
        | BeeCommand::Serve(_)
        | BeeCommand::Fetch(_) => unreachable!("these are the same for logs, maps and drives"),
    }
}

fn read_value() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_VALUE + 1)
        .read_to_end(&mut value)
        .map_err(|error| Failure::because(Exit::Failed, "standard input cannot be read", error))?;
    if value.len() as u64 > MAX_VALUE {
        let message = format!("a value has at most {MAX_VALUE} bytes; larger things belong into a drive");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(value)
}

fn view(shelf: &Shelf, name: &str, version: Option<u64>) -> Result<Snapshot, Failure> {
    let bee = shelf.bee(&shelf.find(Kind::Bee, name)?)?;
    match version {
        Some(version) => bee.checkout(version).map_err(failed),
        None => Ok(bee.snapshot()),
    }
}

fn value_out(desk: Desk<'_>, json: &Value, value: &[u8]) -> Result<(), Failure> {
    if desk.terminal.format() == Format::Json {
        return desk.terminal.print(&Report::new("", json.clone()));
    }
    // As it is, so that what was put can be got into a file again.
    let mut out = desk.terminal.contents();
    let line: &[u8] = if io::stdout().is_terminal() { b"\n" } else { b"" };
    let done = out.write_all(value).and_then(|()| out.write_all(line)).and_then(|()| out.flush());
    done.map_err(|error| Failure::because(Exit::Failed, "printing the value failed", error))
}

fn scan(desk: Desk<'_>, shelf: Shelf, name: &str, wanted: &ScanRange) -> Result<(), Failure> {
    let view = view(&shelf, name, wanted.at_version)?;
    let mut range = match &wanted.prefix {
        Some(prefix) => Range::prefix(prefix),
        None => Range::all(),
    };
    let ScanRange { gt, gte, lt, lte, .. } = wanted;
    range = gt.iter().fold(range, Range::gt);
    range = gte.iter().fold(range, Range::gte);
    range = lt.iter().fold(range, Range::lt);
    range = lte.iter().fold(range, Range::lte);
    if wanted.reverse {
        range = range.reverse();
    }
    if let Some(limit) = wanted.limit {
        range = range.limit(limit);
    }
    let (mut entries, mut failure) = (Vec::new(), None);
    for entry in view.range(range) {
        match entry {
            Ok(entry) => entries.push(Value::from(json::entry(&entry))),
            Err(error) => failure = Some(failed(error)),
        }
    }
    let lines: Vec<_> = entries.iter().map(told::entry).collect();
    let json = json!({ "version": view.version(), "entries": entries });
    shelf.close()?;
    scanned(desk, Report::new(lines.join("\n"), json), failure)
}

/// Prints what could be read before the scan met a failure, if it did.
fn scanned(desk: Desk<'_>, mut report: Report, failure: Option<Failure>) -> Result<(), Failure> {
    report.json["errors"] = failure.iter().map(|failure| failure.to_string()).collect();
    desk.terminal.print(&report)?;
    failure.map_or(Ok(()), Err)
}

fn past(limit: Option<u64>, reverse: bool) -> History {
    let past = limit.map_or_else(History::all, |limit| History::all().limit(limit));
    if reverse { past.reverse() } else { past }
}

fn history(desk: Desk<'_>, shelf: Shelf, name: &str, past: History) -> Result<(), Failure> {
    let bee = shelf.bee(&shelf.find(Kind::Bee, name)?)?;
    let mut operations = Vec::new();
    for one in bee.history(past) {
        operations.push(Value::from(json::operation(&one.map_err(failed)?)));
    }
    let lines: Vec<_> = operations.iter().map(told::operation).collect();
    let json = json!({ "version": bee.version(), "operations": operations });
    finish(desk, shelf, &Report::new(lines.join("\n"), json))
}
