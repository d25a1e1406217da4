//! The JSON that answers have in common.

use super::catalogue::Item;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudpal_store::Info;
use serde_json::{Map, Value, json};

/// One thing of a list, without opening it.
pub fn listed(item: &Item) -> Value {
    json!({
        "kind": item.kind,
        "name": item.name,
        "key": item.key,
        "compat": item.compat,
        "encrypted": item.encryption.is_some(),
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

/// Bytes as text under `name` where they are text, else in base64 under `name_base64`.
pub fn put_bytes(into: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => into.insert(name.to_owned(), text.into()),
        Err(_) => into.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}
