//! Indexes on fields of documents: rows that sort by what a field holds, written in the same batch as the documents.

use crate::error::ReadError;
use crate::rows::Rows;
use crate::sub::Kind;
use crate::{Sub, row, value};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a text by which it is found.
pub(crate) const MAX_TERM: usize = 512;

/// The indexes there are: paths of fields, joined by dots, for each sub-database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Indexes(BTreeMap<Sub, BTreeSet<String>>);

impl Indexes {
    pub fn declare(&mut self, sub: &Sub, path: &str) {
        self.0.entry(sub.clone()).or_default().insert(path.to_owned());
    }

    pub fn has_path(&self, sub: &Sub, path: &str) -> bool {
        self.0.get(sub).is_some_and(|paths| paths.contains(path))
    }

    pub fn has(&self, sub: &Sub) -> bool {
        !self.0.is_empty() && self.0.contains_key(sub)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Sub, &str)> {
        self.0.iter().flat_map(|(sub, paths)| paths.iter().map(move |path| (sub, path.as_str())))
    }

    fn of(&self, sub: &Sub) -> impl Iterator<Item = &str> {
        self.0.get(sub).into_iter().flatten().map(String::as_str)
    }
}

/// The rows by which the document at `key` is found.
pub(crate) fn terms(
    rows: &impl Rows,
    indexes: &Indexes,
    sub: &Sub,
    key: &[u8],
) -> Result<Vec<Bytes>, ReadError> {
    let Some(document) = document(rows, sub, key)? else { return Ok(Vec::new()) };
    let mut found = BTreeSet::new();
    for path in indexes.of(sub) {
        let field = path.split('.').try_fold(&document, |value, name| value.get(name));
        let values = match field {
            Some(Value::Array(values)) => values.iter().collect(),
            Some(value) => vec![value],
            None => Vec::new(),
        };
        for value in values {
            if let Some(term) = term(value) {
                let mut row = prefix(sub, path);
                row.extend_from_slice(&term);
                row::escape(&mut row, key);
                found.insert(Bytes::from(row));
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn document(rows: &impl Rows, sub: &Sub, key: &[u8]) -> Result<Option<Value>, ReadError> {
    let Some(bytes) = value::get(rows, sub, key)? else { return Ok(None) };
    Ok(if matches!(sub.kind(), Kind::Json | Kind::Register) {
        serde_json::from_slice(&bytes).ok()
    } else {
        None
    })
}

/// What all rows of an index begin with.
pub(crate) fn prefix(sub: &Sub, path: &str) -> Vec<u8> {
    let mut row = row::prefix(row::INDEX, sub);
    row::escape(&mut row, path.as_bytes());
    row
}

/// A scalar so that it sorts: nothing, false, true, numbers, texts by their first 512 bytes. None for objects and arrays.
pub(crate) fn term(value: &Value) -> Option<Vec<u8>> {
    let mut term = Vec::new();
    match value {
        Value::Null => term.push(1),
        Value::Bool(false) => term.push(2),
        Value::Bool(true) => term.push(3),
        Value::Number(number) => {
            // The order of IEEE 754 numbers is that of their bits, negative ones turned over.
            let bits = number.as_f64()?.to_bits();
            let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
            term.push(4);
            term.extend_from_slice(&ordered.to_be_bytes());
        }
        Value::String(text) => {
            term.push(5);
            // The rest of a long text does not count for the order.
            row::escape(&mut term, &text.as_bytes()[..text.len().min(MAX_TERM)]);
        }
        Value::Array(_) | Value::Object(_) => return None,
    }
    Some(term)
}

/// The key at the end of a row of an index, without its prefix; none if it is none.
pub(crate) fn key_of(rest: &[u8]) -> Option<Vec<u8>> {
    let after = match rest.split_first()? {
        (1..=3, rest) => rest,
        (4, rest) => rest.get(8..)?,
        (5, rest) => row::unescape(rest)?.1,
        _ => return None,
    };
    row::unescape(after).map(|(key, _)| key)
}
