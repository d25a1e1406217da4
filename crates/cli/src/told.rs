//! What a person reads of the JSON that tells of logs, maps and drives; the same for a folder as for a pal.

use crate::printable::word;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudpal_shelf::{Key, Kind};
use serde_json::Value;

/// A thing in numbers.
pub fn thing(about: &Value) -> String {
    let number = |name: &str| about[name].as_u64().unwrap_or_default();
    let mut lines = vec![
        format!("{} {}", text(about, "kind"), word(text(about, "name"))),
        keys(about),
        format!(
            "  length       {} blocks, {} bytes, fork {}",
            number("length"),
            number("byte_length"),
            number("fork")
        ),
        format!("  held here    {} blocks, {} bytes", number("held"), number("held_bytes")),
        format!("  tree hash    {}", text(about, "tree_hash")),
        format!("  peers        {}", number("peers")),
    ];
    for (name, what) in [
        ("compat", "signed as npm hypercore 10 does it"),
        ("encrypted", "encrypted"),
        ("copy", "a copy of someone else's"),
        ("conflict", "CONFLICT: its writer signed two histories"),
    ] {
        if about[name] == true {
            lines.push(format!("  {what}"));
        }
    }
    if let Some(lost) = about["lost"].as_str() {
        lines.push(format!("  LOST         {}", word(lost)));
    }
    lines.join("\n")
}

/// A thing that was just made.
pub fn created(about: &Value) -> String {
    let (kind, name) = (text(about, "kind"), word(text(about, "name")));
    let made = format!("{kind} {name} is ready. Its key, for those who are to read it:\n{}", keys(about));
    match about["encryption_key"].as_str() {
        Some(key) => {
            format!("{made}\n  its encryption key, which they need too and is shown only now: {key}")
        }
        None => made,
    }
}

/// All things of a kind.
pub fn list(kind: Kind, rows: &[String]) -> String {
    match rows.is_empty() {
        true => format!("Nothing yet; make one with `cloudpal {} create NAME`.", kind.word()),
        false => rows.join("\n"),
    }
}

/// A number of things: `1 file`, `2 files`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Its key in both forms.
pub fn keys(about: &Value) -> String {
    format!("  key          {}\n  key for npm  {}", text(about, "key"), z32(about))
}

/// A thing on a line of a list.
pub fn row(about: &Value) -> String {
    let length = about["length"].as_u64().map(|length| format!("{length:>9} blocks  ")).unwrap_or_default();
    format!("{:<24} {length}{}", word(text(about, "name")), z32(about))
}

/// The key as npm writes it.
pub fn z32(about: &Value) -> String {
    // A pal that is older than this program does not tell it.
    text(about, "key").parse::<Key>().map(|key| key.z32()).unwrap_or_default()
}

/// An entry of a map: key and value with a tab between; bytes that are no text in base64, nothing for a value that was
/// deleted.
pub fn entry(entry: &Value) -> String {
    let part = |name: &str| part(entry, name).unwrap_or_default();
    format!("{}\t{}", part("key"), part("value"))
}

/// Bytes on a line for people; none if they are not there.
pub fn part(of: &Value, name: &str) -> Option<String> {
    match (of[name].as_str(), of[format!("{name}_base64")].as_str()) {
        (Some(text), _) => Some(word(text).into_owned()),
        (None, Some(base64)) => Some(format!("base64:{base64}")),
        (None, None) => None,
    }
}

/// What was done to a map.
pub fn operation(operation: &Value) -> String {
    format!("{}\t{}\t{}", operation["seq"], text(operation, "action"), entry(operation))
}

/// A file, link or folder of a drive.
pub fn file(entry: &Value) -> String {
    let place = word(place(entry));
    if entry["folder"].is_string() {
        return format!("{:>12}  {place}/", "");
    }
    if let Some(target) = entry["link"].as_str() {
        return format!("{:>12}  {place} -> {}", "", word(target));
    }
    let mark = if entry["executable"] == true { "*" } else { "" };
    let bytes = entry["bytes"].as_u64().map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
    format!("{bytes:>12}  {place}{mark}")
}

/// Where a file, link or folder is.
pub fn place(entry: &Value) -> &str {
    entry["path"].as_str().or(entry["folder"].as_str()).unwrap_or_default()
}

/// A field that is text.
pub fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// Bytes that stand as text under `name` or in base64 under `name_base64`.
pub fn bytes(of: &Value, name: &str) -> Vec<u8> {
    match of[name].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(text(of, &format!("{name}_base64"))).unwrap_or_default(),
    }
}
