//! `cloudpal drive` over a running pal.

use super::Remote;
use super::http::{Ask, RemoteError, path};
use super::logs::each;
use crate::failure::Failure;
use crate::printable::word;
use crate::terminal::Report;
use crate::told::{self, place};
use serde_json::json;
use std::io::{Read, Write};
use std::ops::Range;
use ureq::http::Method;

/// What a new file has beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Plain,
    /// May be run as a program.
    Executable,
}

/// How deep a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is directly in the folder.
    Folder,
    /// Everything below it.
    All,
}

/// Whether removing a file frees its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It does; older versions lose it too.
    Free,
    /// It stays for older versions.
    Keep,
}

/// Stores what `source` gives as a file.
pub fn put(
    remote: &Remote,
    drive: &str,
    file: &str,
    source: &mut dyn Read,
    mode: Mode,
) -> Result<Report, Failure> {
    let query: &[_] = if mode == Mode::Executable { &[("executable", "true".to_owned())] } else { &[] };
    let done = remote.http.upload(Ask { path: &at(drive, file), query }, source)?;
    let text = format!(
        "{} has {} bytes; the drive is at version {}.",
        word(place(&done)),
        done["bytes"],
        done["version"]
    );
    Ok(Report::new(text, done))
}

/// Makes a symbolic link.
pub fn link(remote: &Remote, drive: &str, file: &str, target: &str) -> Result<Report, Failure> {
    let query = [("link", target.to_owned())];
    let done = remote.http.send_json(Method::PUT, Ask { path: &at(drive, file), query: &query }, &[])?;
    Ok(Report::new(format!("{} leads to {}.", word(place(&done)), word(target)), done))
}

/// Writes a file, or some bytes of it, to `sink`; how many bytes that was.
pub fn get(
    remote: &Remote,
    drive: &str,
    file: &str,
    bytes: Option<Range<u64>>,
    version: Option<u64>,
    sink: &mut dyn Write,
) -> Result<u64, Failure> {
    let query: Vec<_> = version.into_iter().map(|version| ("version", version.to_string())).collect();
    let range = match bytes {
        Some(Range { start, end }) if start >= end => return Ok(0),
        Some(Range { start, end: u64::MAX }) => Some(format!("bytes={start}-")),
        Some(Range { start, end }) => Some(format!("bytes={start}-{}", end - 1)),
        None => None,
    };
    Ok(remote.http.download(Ask { path: &at(drive, file), query: &query }, range.as_deref(), sink)?)
}

/// What is in a folder.
pub fn ls(
    remote: &Remote,
    drive: &str,
    folder: &str,
    depth: Depth,
    version: Option<u64>,
) -> Result<Report, Failure> {
    let to = path(&["v1", "drives", drive, "list"], None);
    let (mut entries, mut after, mut version) = (Vec::new(), None, version);
    loop {
        let mut query = vec![("folder", folder.to_owned())];
        query.extend((depth == Depth::All).then(|| ("recursive", "true".to_owned())));
        query.extend(after.map(|after| ("after", after)));
        query.extend(version.map(|version| ("version", version.to_string())));
        let answer = remote.http.get(Ask { path: &to, query: &query })?;
        version = answer["version"].as_u64();
        entries.extend(each(&answer["entries"]).cloned());
        after = (answer["more"] == true).then(|| entries.last().map(|last| place(last).to_owned())).flatten();
        if after.is_none() {
            let lines: Vec<_> = entries.iter().map(told::file).collect();
            // Each answer counts from the beginning of the list, so the last one knows of all.
            let json = json!({
                "version": version, "folder": folder, "entries": entries,
                "faulty": answer["faulty"], "errors": answer["errors"],
            });
            return Ok(Report::new(lines.join("\n"), json));
        }
    }
}

/// The SHA-256, in hex, of some bytes of a file.
pub fn digest(
    remote: &Remote,
    drive: &str,
    file: &str,
    bytes: Range<u64>,
    version: u64,
) -> Result<String, RemoteError> {
    let to = path(&["v1", "drives", drive, "digest"], Some(file.trim_start_matches('/')));
    let query = [("from", bytes.start), ("to", bytes.end), ("version", version)]
        .map(|(name, n)| (name, n.to_string()));
    let told = remote.http.get(Ask { path: &to, query: &query })?;
    Ok(told["sha256"].as_str().unwrap_or_default().to_owned())
}

/// Removes a file or link.
pub fn rm(remote: &Remote, drive: &str, file: &str, content: Content) -> Result<Report, Failure> {
    let query: &[_] = if content == Content::Keep { &[("keep", "true".to_owned())] } else { &[] };
    let done = remote.http.send_json(Method::DELETE, Ask { path: &at(drive, file), query }, &[])?;
    let text = format!("{} is gone; {} blocks were freed.", word(place(&done)), done["freed_blocks"]);
    Ok(Report::new(text, done))
}

fn at(drive: &str, file: &str) -> String {
    path(&["v1", "drives", drive, "files"], Some(file.trim_start_matches('/')))
}
