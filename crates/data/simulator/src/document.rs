//! A document out of its rows, read straight from the definition: a row shows when all rows above it are containers of the kind
//! that its step goes into.

use crate::model::Model;
use bytes::Bytes;
use cloudpal_db::Sub;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(crate) fn wanted(model: &Model, sub: &Sub) -> BTreeMap<Bytes, Bytes> {
    let mut documents: BTreeMap<Bytes, BTreeMap<&[u8], &Bytes>> = BTreeMap::new();
    for ((_, key, path), row) in model.rows.iter().filter(|((of, ..), _)| of == sub) {
        documents.entry(key.clone()).or_default().insert(path, &row[0].value);
    }
    let shown = |rows: BTreeMap<&[u8], &Bytes>| Some(Bytes::from(show(&rows, &[])?.to_string()));
    documents.into_iter().filter_map(|(key, rows)| Some((key, shown(rows)?))).collect()
}

/// What lies at `path`.
fn show(rows: &BTreeMap<&[u8], &Bytes>, path: &[u8]) -> Option<Value> {
    let (kind, text) = rows.get(path)?.split_first()?;
    match kind {
        0 => serde_json::from_slice(text).ok(),
        1 => {
            let mut fields = Map::new();
            for child in children(rows, path, 2) {
                let name = &child[path.len() + 1..child.len() - 2];
                if let Some(value) = show(rows, child) {
                    fields.insert(plain(name), value);
                }
            }
            Some(Value::Object(fields))
        }
        _ => Some(Value::Array(
            children(rows, path, 3).into_iter().filter_map(|child| show(rows, child)).collect(),
        )),
    }
}

/// The paths one step of `kind` below `path`, in order.
fn children<'a>(rows: &BTreeMap<&'a [u8], &Bytes>, path: &[u8], kind: u8) -> Vec<&'a [u8]> {
    let below =
        rows.keys().filter(|row| row.len() > path.len() && row.starts_with(path) && row[path.len()] == kind);
    // One step ends with its first 00 01.
    below
        .filter(|row| {
            row[path.len()..].windows(2).position(|pair| pair == [0, 1]) == Some(row.len() - path.len() - 2)
        })
        .copied()
        .collect()
}

/// Takes the escapes out of a name.
pub(crate) fn plain(name: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(byte);
        if byte == 0 {
            rest.next();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
