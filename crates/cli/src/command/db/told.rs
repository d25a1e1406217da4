//! What people read of batches, members and conflicts.

use super::time;
use crate::command::data::args::At;
use crate::failure::{Exit, Failure};
use crate::printable::word;
use crate::told::{part, text};
use cloudpal_base::Dot;
use cloudpal_serve::json;
use serde_json::Value;
use std::str::FromStr;

/// A batch as the program prints it and takes it: `WRITER:POSITION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId(pub Dot);

impl std::fmt::Display for BatchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&json::batch(self.0))
    }
}

impl FromStr for BatchId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a batch is named as `db history` and `db watch` print it, such as 1a2b3c4d5e6f:7";
        json::dot(text).map(BatchId).ok_or(wrong)
    }
}

/// What a batch did: a line for each change.
pub fn did_lines(did: &Value) -> Vec<String> {
    let when = time::shown(did["time_ms"].as_u64().unwrap_or_default());
    let head = format!("{when}  {:<12}  {}", word(text(did, "by")), text(did, "batch"));
    let line = |edit: &Value| {
        let key = part(edit, "key").unwrap_or_default();
        let value = part(edit, "value").map(|value| format!("\t{value}")).unwrap_or_default();
        let place = match text(edit, "sub") {
            "" => String::new(),
            name => format!("{}: ", word(name)),
        };
        format!("{head}  {:<6}  {place}{key}{value}", word(text(edit, "type")))
    };
    did["edits"].as_array().into_iter().flatten().map(line).collect()
}

/// A conflict.
pub fn conflict_lines(conflict: &Value) -> Vec<String> {
    let within =
        conflict["field"].as_str().map(|field| format!(", field {}", word(field))).unwrap_or_default();
    let key = part(conflict, "key").unwrap_or_default();
    let head = format!("{key} in {}{within}:", sub(conflict));
    let line = |version: &Value| {
        let number = version["number"].as_u64().unwrap_or_default();
        let mark = if number == 1 { "shown" } else { "lost " };
        let when = time::shown(version["time_ms"].as_u64().unwrap_or_default());
        let value = part(version, "value").unwrap_or_default();
        format!("  {number}  {mark}  {value}\t{}, {when}", word(text(version, "by")))
    };
    std::iter::once(head).chain(versions(conflict).iter().map(line)).collect()
}

/// The version that is shown, then those that lost.
pub fn versions(conflict: &Value) -> &[Value] {
    conflict["versions"].as_array().map_or(&[], Vec::as_slice)
}

/// A sub-database, by name and kind.
pub fn sub(of: &Value) -> String {
    match text(of, "sub") {
        "" => format!("the database itself ({})", word(text(of, "kind"))),
        name => format!("{} ({})", word(name), word(text(of, "kind"))),
    }
}

/// A member; `who` is what the one is called that is asked.
pub fn member_line(member: &Value, who: &str) -> String {
    let (name, role) = (word(text(member, "name")), text(member, "role"));
    let mut line = format!("{}  {name:<16}  {role:<8}", text(member, "writer"));
    let only: Vec<_> = member["only"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !only.is_empty() {
        line.push_str(&format!("  writes only to {}", word(&only.join(", "))));
    }
    if let Some(until) = member["until_ms"].as_u64() {
        line.push_str(&format!("  until {}", time::shown(until)));
    }
    if member["this_device"] == true {
        line.push_str(&format!("  {who}"));
    }
    match text(&member["removed"], "reason") {
        "" => {}
        reason => line.push_str(&format!("  {}", word(reason))),
    }
    line.trim_end().to_owned()
}

/// What to do to be admitted.
pub fn how_to_be_admitted(name: &str, request: &str, at: &At) -> String {
    let name = word(name);
    let (us, here) = match &at.store {
        Some(_) => ("this device", " --store DIR"),
        None => ("the pal", ""),
    };
    format!(
        "Send this request to the owner of the database, or to a manager:\n\n  {request}\n\n\
         They let {us} in, and wait for it, on theirs:\n\n  \
         cloudpal db members {name} admit REQUEST --name NAME --store DIR\n  \
         cloudpal db listen {name} --listen 0.0.0.0:4000 --store DIR\n\n\
         Then, here:\n\n  cloudpal db sync {name} --with THEIR-ADDRESS:4000{here}\n\n\
         If the database is at a pal, they leave out --store DIR and `listen`, and --with pal takes the place of the address."
    )
}

/// A key of a database, from 64 hexadecimal digits.
pub fn key(text: &str) -> Result<[u8; 32], Failure> {
    let key: cloudpal_shelf::Key = text.parse().map_err(|error| Failure::lift(Exit::Usage, error))?;
    Ok(key.0)
}
