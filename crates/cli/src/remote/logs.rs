//! `cloudpal log` over a running pal.

use super::Remote;
use super::http::{Ask, RemoteError, path};
use crate::failure::{Exit, Failure};
use crate::terminal::{Progress, Report};
use crate::told;
use cloudpal_shelf::Kind;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::ops::Range;
use std::time::Duration;
use ureq::http::Method;
use zeroize::Zeroizing;

/// One request appends at most so many bytes and blocks; the pal takes 4 MiB and 100,000.
const PART: usize = 2 << 20;
const PART_BLOCKS: usize = 50_000;

/// What is to be made.
#[derive(Default)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// Signed as npm hypercore 10 does it.
    pub compat: bool,
    /// With a new encryption key.
    pub encrypt: bool,
    /// A copy of the one with this key.
    pub key: Option<String>,
    /// The encryption key of that copy.
    pub encryption_key: Option<Zeroizing<String>>,
}

/// How input becomes blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// One block.
    Whole,
    /// One for each line.
    Lines,
    /// So many bytes each; the last may be shorter.
    Bytes(usize),
}

/// Makes a log, map or drive, or begins a copy.
pub fn create(remote: &Remote, kind: Kind, wish: &Wish) -> Result<Report, Failure> {
    let mut body = json!({ "name": wish.name, "compat": wish.compat, "encrypt": wish.encrypt });
    if let Some(key) = &wish.key {
        body["key"] = key.as_str().into();
    }
    if let Some(key) = &wish.encryption_key {
        body["encryption_key"] = key.as_str().into();
    }
    let to = path(&["v1", kind.plural()], None);
    let made = remote.http.send_json(Method::POST, Ask::of(&to), body.to_string().as_bytes())?;
    Ok(Report::new(told::created(&made), made))
}

/// All things of a kind.
pub fn list(remote: &Remote, kind: Kind) -> Result<Report, Failure> {
    let all = remote.http.get(Ask::of(&path(&["v1", kind.plural()], None)))?;
    let rows: Vec<_> = each(&all[kind.plural()]).map(told::row).collect();
    Ok(Report::new(told::list(kind, &rows), all))
}

/// A thing in numbers.
pub fn info(remote: &Remote, kind: Kind, name: &str) -> Result<Report, Failure> {
    let about = remote.http.get(Ask::of(&path(&["v1", kind.plural(), name], None)))?;
    Ok(Report::new(told::thing(&about), about))
}

/// The same after `wait`, or once it is as long as it is at the pal's peers: `current` then is true.
pub fn info_after(remote: &Remote, kind: Kind, name: &str, wait: Duration) -> Result<Value, RemoteError> {
    let query = [("wait_ms", wait.as_millis().to_string())];
    remote.http.get(Ask { path: &path(&["v1", kind.plural(), name], None), query: &query })
}

/// Appends what `source` gives. Each request is on the pal's disk before the next one is sent.
pub fn append(
    remote: &Remote,
    progress: &dyn Progress,
    log: &str,
    source: &mut dyn Read,
    cut: Cut,
) -> Result<Report, Failure> {
    let to = path(&["v1", "logs", log, "blocks"], None);
    let how = match cut {
        Cut::Whole => None,
        Cut::Lines => Some("lines".to_owned()),
        Cut::Bytes(size) if (1..=PART).contains(&size) => Some(size.to_string()),
        Cut::Bytes(_) => {
            return Err(Failure::new(Exit::Usage, format!("a block has 1 to {PART} bytes here")));
        }
    };
    let query: Vec<_> = how.into_iter().map(|how| ("cut", how)).collect();
    let (mut held, mut first, mut count, mut length) = (Vec::new(), None, 0, 0);
    loop {
        let ended = !fill(source, &mut held)?;
        let part = part(&held, cut, ended)?;
        // An empty block is a block; no lines are none.
        if part > 0 || cut == Cut::Whole {
            let ask = Ask { path: &to, query: &query };
            let answer = remote.http.send_json(Method::POST, ask, &held[..part])?;
            first = first.or(answer["first"].as_u64());
            count += answer["count"].as_u64().unwrap_or_default();
            length = answer["length"].as_u64().unwrap_or_default();
            held.drain(..part);
        }
        if ended && held.is_empty() {
            break;
        }
        progress.step(&format!("{count} blocks appended"));
    }
    let json = json!({ "first": first, "count": count, "length": length });
    Ok(Report::new(format!("{} appended; {log} has {length} now.", told::count(count, "block")), json))
}

/// How much of `held` goes in the next request.
fn part(held: &[u8], cut: Cut, ended: bool) -> Result<usize, Failure> {
    let too_long = |what, instead| {
        Err(Failure::new(Exit::Usage, format!("{what} has more than {PART} bytes; {instead}")))
    };
    match cut {
        Cut::Whole if held.len() > PART => too_long("one block", "cut it into blocks, by lines or bytes"),
        Cut::Whole => Ok(held.len()),
        Cut::Bytes(size) => {
            let step = (PART / size).min(PART_BLOCKS) * size;
            Ok(held.len().min(step))
        }
        Cut::Lines => {
            let ends = || held.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            let some: Vec<usize> = ends().take_while(|end| *end <= PART).take(PART_BLOCKS).collect();
            match some.last() {
                Some(end) if some.len() == PART_BLOCKS || !ended || held.len() > PART => Ok(*end),
                _ if held.len() > PART => too_long("one line", "cut it by bytes"),
                _ => Ok(held.len()),
            }
        }
    }
}

/// Reads until `held` has more than one request takes; false at the end of the source.
fn fill(source: &mut dyn Read, held: &mut Vec<u8>) -> Result<bool, Failure> {
    let wanted = (PART + 1).saturating_sub(held.len()) as u64;
    let got = source.take(wanted).read_to_end(held);
    let got =
        got.map_err(|error| Failure::because(Exit::Failed, "what is to be appended cannot be read", error))?;
    Ok(got as u64 == wanted)
}

/// Writes one block to `sink` as it is.
pub fn get(remote: &Remote, log: &str, index: u64, sink: &mut dyn Write) -> Result<u64, RemoteError> {
    let to = path(&["v1", "logs", log, "blocks", &index.to_string()], None);
    remote.http.download(Ask::of(&to), None, sink)
}

/// Gives each block of `blocks` to `take`, with its number.
pub fn read(
    remote: &Remote,
    log: &str,
    blocks: Range<u64>,
    take: &mut dyn FnMut(u64, Vec<u8>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let to = path(&["v1", "logs", log, "blocks"], None);
    let mut from = Some(blocks.start);
    while let Some(at) = from {
        let query = [("from", at.to_string()), ("to", blocks.end.to_string())];
        let answer = remote.http.get(Ask { path: &to, query: &query })?;
        for one in each(&answer["blocks"]) {
            take(one["index"].as_u64().unwrap_or_default(), told::bytes(one, "block"))?;
        }
        from = answer["next"].as_u64();
    }
    Ok(())
}

/// Cuts a log to `length` blocks.
pub fn truncate(remote: &Remote, log: &str, length: u64) -> Result<Report, Failure> {
    change(remote, log, "truncate", &json!({ "length": length }))
}

/// Frees the bodies of `blocks` on the pal.
pub fn clear(remote: &Remote, log: &str, blocks: Range<u64>) -> Result<Report, Failure> {
    change(remote, log, "clear", &json!({ "from": blocks.start, "to": blocks.end }))
}

fn change(remote: &Remote, log: &str, what: &str, body: &Value) -> Result<Report, Failure> {
    let to = path(&["v1", "logs", log, what], None);
    let about = remote.http.send_json(Method::POST, Ask::of(&to), body.to_string().as_bytes())?;
    Ok(Report::new(told::thing(&about), about))
}

/// Has the pal read every block back. Fails if any is damaged.
pub fn verify(remote: &Remote, progress: &dyn Progress, log: &str) -> Result<Report, Failure> {
    let to = path(&["v1", "logs", log, "verify"], None);
    let (mut from, mut checked, mut absent, mut damaged) = (Some(0), 0, 0, Vec::new());
    let mut last = Value::Null;
    while let Some(at) = from {
        let query = [("from", at.to_string())];
        last = remote.http.send_json(Method::POST, Ask { path: &to, query: &query }, &[])?;
        checked += last["checked"].as_u64().unwrap_or_default();
        absent += last["absent"].as_u64().unwrap_or_default();
        damaged.extend(each(&last["damaged"]).cloned());
        from = last["next"].as_u64();
        if from.is_some() {
            progress.step(&format!("{} of {} blocks checked", checked + absent, last["length"]));
        }
    }
    if !damaged.is_empty() {
        let message = format!(
            "{} blocks are damaged, first {}; connect a peer that has them",
            damaged.len(),
            damaged[0]
        );
        return Err(Failure::new(Exit::Failed, message));
    }
    let json = json!({
        "ok": true, "checked": checked, "absent": absent, "damaged": damaged,
        "length": last["length"], "tree_hash": last["tree_hash"],
    });
    Ok(Report::new(format!("{checked} blocks are sound, {absent} are not held here."), json))
}

/// The elements of an array, none of anything else.
pub(super) fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
