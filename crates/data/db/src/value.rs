//! What a key shows, put together from its rows.

use crate::cell::Cell;
use crate::error::ReadError;
use crate::json::Node;
use crate::merge::{BASE, Place, TOTAL, read_counter, text_prefix};
use crate::rows::Rows;
use crate::sub::Kind;
use crate::{ClientId, Sub, row, text};
use bytes::Bytes;
use cloudpal_log::codec::Reader;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What `key` shows; none if it is not there. Documents and sets come as JSON, counters as decimal text.
pub(crate) fn get(rows: &impl Rows, sub: &Sub, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
    let first = row::data(sub, key, &[]);
    if sub.kind() == Kind::Register {
        return Ok(rows.get(&first)?.map(|bytes| Cell::shown(&bytes)).transpose()?.flatten());
    }
    let mut parts = Parts::new(sub.kind());
    let mut failed = None;
    rows.under(&first, &mut |row, value| {
        if let Err(error) = parts.add(&row[first.len()..], value) {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(()), Err)?;
    parts.finish(rows, sub, key)
}

/// Totals of a counter by their writers, and where each was written.
type Counted = BTreeMap<ClientId, (Place, i64)>;

/// The rows of one key, as they come.
pub(crate) enum Parts {
    Register(Option<Bytes>),
    Json(Node),
    Set(Vec<Bytes>),
    Counter { totals: Counted, bases: Counted },
    Text { present: bool },
}

impl Parts {
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Register => Parts::Register(None),
            Kind::Json => Parts::Json(Node::default()),
            Kind::Set => Parts::Set(Vec::new()),
            Kind::Counter => Parts::Counter { totals: BTreeMap::new(), bases: BTreeMap::new() },
            Kind::Text => Parts::Text { present: false },
        }
    }

    /// Adds the row at `path`.
    pub fn add(&mut self, path: &[u8], bytes: &Bytes) -> Result<(), ReadError> {
        match self {
            Parts::Register(value) => *value = Cell::shown(bytes)?,
            Parts::Json(node) => {
                if let Some(leaf) = Cell::shown(bytes)? {
                    node.insert(path, leaf);
                }
            }
            Parts::Set(members) => members.extend(row::member_of(path)),
            Parts::Counter { totals, bases } => {
                let mut reader = Reader::new(path);
                let (kind, client) = (reader.byte()?, ClientId::read(&mut reader)?);
                let rows = match kind {
                    TOTAL => totals,
                    BASE => bases,
                    _ => return Ok(()),
                };
                rows.insert(client, read_counter(bytes)?);
            }
            Parts::Text { present } => *present = true,
        }
        Ok(())
    }

    /// What they show.
    pub fn finish(self, rows: &impl Rows, sub: &Sub, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(match self {
            Parts::Register(value) => value,
            Parts::Json(node) => node.show().map(|value| value.to_string().into()),
            Parts::Set(members) if members.is_empty() => None,
            Parts::Set(mut members) => {
                // A scan backwards brings them the other way round.
                members.sort();
                Some(set_json(&members))
            }
            Parts::Counter { totals, bases } => count(&totals, &bases).map(|sum| sum.to_string().into()),
            Parts::Text { present: false } => None,
            Parts::Text { present: true } => Some(text::read(&updates(rows, sub, key)?)?.into()),
        })
    }
}

/// The updates of a text, in a fixed order.
pub(crate) fn updates(rows: &impl Rows, sub: &Sub, key: &[u8]) -> Result<Vec<Bytes>, ReadError> {
    let mut updates = Vec::new();
    rows.under(&text_prefix(sub, key), &mut |_, update| {
        updates.push(update.clone());
        ControlFlow::Continue(())
    })?;
    Ok(updates)
}

/// The sum of what counts; none if nothing does.
fn count(totals: &Counted, bases: &Counted) -> Option<i128> {
    let counted = totals.iter().filter_map(|(client, (place, total))| {
        let base = bases.get(client);
        match base {
            Some((at, _)) if at >= place => None,
            Some((_, base)) => Some(i128::from(*total) - i128::from(*base)),
            None => Some(i128::from(*total)),
        }
    });
    counted.fold(None, |sum, part| Some(sum.unwrap_or(0) + part))
}

/// A set as JSON: its members in order, those that are no text as `{"hex": ...}`.
fn set_json(members: &[Bytes]) -> Bytes {
    let member = |bytes: &Bytes| match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::Value::from(text),
        Err(_) => serde_json::json!({ "hex": hex(bytes) }),
    };
    serde_json::Value::Array(members.iter().map(member).collect()).to_string().into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
