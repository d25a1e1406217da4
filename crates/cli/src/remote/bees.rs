//! `cloudpal bee` over a running pal.

use super::Remote;
use super::http::{Ask, path};
use super::logs::each;
use crate::failure::Failure;
use crate::printable::word;
use crate::terminal::Report;
use crate::told;
use serde_json::{Value, json};
use std::io::Write;
use ureq::http::Method;

/// Which entries, in which order.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Keys that begin so.
    pub prefix: Option<String>,
    /// Greater than.
    pub gt: Option<String>,
    /// Not smaller than.
    pub gte: Option<String>,
    /// Smaller than.
    pub lt: Option<String>,
    /// Not greater than.
    pub lte: Option<String>,
    /// Greatest key first.
    pub reverse: bool,
    /// At most so many.
    pub limit: Option<u64>,
    /// As it was when the log had so many blocks.
    pub version: Option<u64>,
}

/// Which operations, in which order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    /// First block.
    pub from: Option<u64>,
    /// Block after the last.
    pub until: Option<u64>,
    /// Newest first.
    pub reverse: bool,
    /// At most so many.
    pub limit: Option<u64>,
}

/// Puts a value at a key.
pub fn put(remote: &Remote, bee: &str, key: &str, value: &[u8]) -> Result<Report, Failure> {
    let done = remote.http.send_json(Method::PUT, Ask::of(&entry(bee, key)), value)?;
    Ok(Report::new(format!("{} is in block {}.", word(key), done["seq"]), done))
}

/// The entry of a key.
pub fn get(remote: &Remote, bee: &str, key: &str, version: Option<u64>) -> Result<Report, Failure> {
    let query: Vec<_> = version.into_iter().map(|version| ("version", version.to_string())).collect();
    let found = remote.http.get(Ask { path: &entry(bee, key), query: &query })?;
    Ok(Report::new(String::from_utf8_lossy(&told::bytes(&found, "value")), found))
}

/// The value of a key, as it is.
pub fn value(
    remote: &Remote,
    bee: &str,
    key: &str,
    version: Option<u64>,
    sink: &mut dyn Write,
) -> Result<u64, Failure> {
    let mut query = vec![("raw", "true".to_owned())];
    query.extend(version.map(|version| ("version", version.to_string())));
    Ok(remote.http.download(Ask { path: &entry(bee, key), query: &query }, None, sink)?)
}

/// Deletes a key.
pub fn del(remote: &Remote, bee: &str, key: &str) -> Result<Report, Failure> {
    let done = remote.http.send_json(Method::DELETE, Ask::of(&entry(bee, key)), &[])?;
    let text = if done["deleted"] == true {
        format!("{} is deleted.", word(key))
    } else {
        format!("There is no {}.", word(key))
    };
    Ok(Report::new(text, done))
}

fn entry(bee: &str, key: &str) -> String {
    path(&["v1", "bees", bee, "entries"], Some(key))
}

/// Entries in order. Long answers come in several parts, all of one version. What came before a failure is given
/// beside it.
pub fn scan(remote: &Remote, bee: &str, wanted: &Scan) -> Result<(Report, Option<Failure>), Failure> {
    let to = path(&["v1", "bees", bee, "entries"], None);
    let (mut wanted, mut entries) = (wanted.clone(), Vec::new());
    loop {
        let left = wanted.limit.map(|limit| limit.saturating_sub(entries.len() as u64));
        let query = pairs(&wanted, left);
        let (answer, failure) = match remote.http.get(Ask { path: &to, query: &query }) {
            Ok(answer) => (answer, None),
            Err(error) if entries.is_empty() => return Err(error.into()),
            Err(error) => (Value::Null, Some(Failure::from(error))),
        };
        wanted.version = answer["version"].as_u64().or(wanted.version);
        entries.extend(each(&answer["entries"]).cloned());
        let enough = wanted.limit.is_some_and(|limit| entries.len() as u64 >= limit);
        let last = entries.last().and_then(|entry: &Value| entry["key"].as_str()).map(str::to_owned);
        match last.filter(|_| answer["more"] == true && !enough) {
            Some(last) if wanted.reverse => (wanted.lt, wanted.lte) = (Some(last), None),
            Some(last) => (wanted.gt, wanted.gte) = (Some(last), None),
            None => {
                let more = answer["more"] == true;
                let lines: Vec<_> = entries.iter().map(told::entry).collect();
                let json = json!({ "version": wanted.version, "entries": entries, "more": more });
                return Ok((Report::new(lines.join("\n"), json), failure));
            }
        }
    }
}

fn pairs(wanted: &Scan, limit: Option<u64>) -> Vec<(&'static str, String)> {
    let Scan { prefix, gt, gte, lt, lte, .. } = wanted;
    let bounds = [("prefix", prefix), ("gt", gt), ("gte", gte), ("lt", lt), ("lte", lte)];
    let mut pairs: Vec<_> = bounds.into_iter().filter_map(|(name, key)| Some((name, key.clone()?))).collect();
    pairs.extend(limit.map(|limit| ("limit", limit.to_string())));
    pairs.extend(wanted.version.map(|version| ("version", version.to_string())));
    pairs.extend(wanted.reverse.then(|| ("reverse", "true".to_owned())));
    pairs
}

/// What was done to a map.
pub fn history(remote: &Remote, bee: &str, wanted: Past) -> Result<Report, Failure> {
    let to = path(&["v1", "bees", bee, "history"], None);
    let (mut wanted, mut operations) = (wanted, Vec::new());
    loop {
        let left = wanted.limit.map(|limit| limit.saturating_sub(operations.len() as u64));
        let numbers = [("from", wanted.from), ("until", wanted.until), ("limit", left)];
        let mut query: Vec<_> =
            numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string()))).collect();
        query.extend(wanted.reverse.then(|| ("reverse", "true".to_owned())));
        let answer = remote.http.get(Ask { path: &to, query: &query })?;
        operations.extend(each(&answer["operations"]).cloned());
        let enough = wanted.limit.is_some_and(|limit| operations.len() as u64 >= limit);
        let last = operations.last().and_then(|operation: &Value| operation["seq"].as_u64());
        match last.filter(|_| answer["more"] == true && !enough) {
            Some(last) if wanted.reverse => wanted.until = Some(last),
            Some(last) => wanted.from = Some(last + 1),
            None => {
                let more = answer["more"] == true;
                let lines: Vec<_> = operations.iter().map(told::operation).collect();
                let json = json!({ "version": answer["version"], "operations": operations, "more": more });
                return Ok(Report::new(lines.join("\n"), json));
            }
        }
    }
}
