//! Things, entries and files as JSON, in the words of `docs/data-api.md`. The command line prints the same of a folder as
//! of a pal.

use crate::Item;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudpal_bee::{Action, Entry, Operation};
use cloudpal_drive::{Checkout, FileEntry};
use cloudpal_store::Info;
use serde_json::{Map, Value, json};

/// A thing, without opening it.
pub fn listed(item: &Item) -> Value {
    json!({
        "kind": item.kind,
        "name": item.name,
        "key": item.key,
        "key_z32": item.key.z32(),
        "compat": item.compat,
        "encrypted": item.is_encrypted(),
        "copy": item.copy,
    })
}

/// A thing with its log in numbers.
pub fn described(item: &Item, info: &Info) -> Value {
    let mut about = listed(item);
    if let (Value::Object(about), Value::Object(numbers)) = (&mut about, numbers(info)) {
        about.extend(numbers);
    }
    about
}

/// A log in numbers.
pub fn numbers(info: &Info) -> Value {
    json!({
        "discovery_key": hex::encode(info.discovery_key),
        "length": info.length,
        "byte_length": info.byte_length,
        "fork": info.fork,
        "contiguous": info.contiguous,
        "held": info.held,
        "held_bytes": info.held_bytes,
        "tree_hash": hex::encode(info.tree_hash),
        "compat": info.compat,
        "writable": info.writable,
        "lost": info.lost.as_ref().map(|lost| lost.to_string()),
        "conflict": info.conflict,
        "peers": info.peers,
    })
}

/// A block of a log.
pub fn block(index: u64, block: &[u8]) -> Map<String, Value> {
    let mut one = Map::new();
    one.insert("index".into(), index.into());
    put_bytes(&mut one, "block", block);
    one
}

/// An entry of a map. The value of a key that was deleted is null.
pub fn entry(entry: &Entry) -> Map<String, Value> {
    let mut one = Map::new();
    one.insert("seq".into(), entry.seq.into());
    put_bytes(&mut one, "key", &entry.key);
    match &entry.value {
        Some(value) => put_bytes(&mut one, "value", value),
        None => drop(one.insert("value".into(), Value::Null)),
    }
    one
}

/// Something that was done to a map.
pub fn operation(operation: &Operation) -> Map<String, Value> {
    let mut one = entry(&operation.entry);
    let action = if operation.action == Action::Put { "put" } else { "delete" };
    one.insert("action".into(), action.into());
    one
}

/// A file or link of a drive.
pub fn file(drive: &Checkout, file: &FileEntry) -> Value {
    // A copy may not have the list of blocks that says how long a content is.
    let bytes = if file.entry.linkname.is_some() { None } else { drive.byte_length(file).ok() };
    let mut one = json!({
        "path": file.path.as_str(),
        "bytes": bytes,
        "executable": file.entry.executable,
        "link": file.entry.linkname,
        "seq": file.seq,
    });
    if let Some(metadata) = &file.entry.metadata {
        one["metadata"] = serde_json::from_str(metadata.as_json()).unwrap_or_default();
    }
    one
}

/// Bytes as text under `name` where they are text, else in base64 under `name_base64`.
fn put_bytes(into: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => into.insert(name.to_owned(), text.into()),
        Err(_) => into.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}
