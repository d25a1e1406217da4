//! From what a caller wants to the changes that say it: what differs, and no more.

use crate::batch::Edit;
use crate::error::{ReadError, WriteError};
use crate::json::{self, Edits, Node, diff};
use crate::limits::{MAX_DEPTH, MAX_KEY, MAX_PATH, MAX_VALUE};
use crate::merge::{Merge, TOTAL, counter_path, read_counter};
use crate::rows::{Overlay, Rows};
use crate::sub::Kind;
use crate::value::{self, updates};
use crate::wire::{Base, Entry, Op};
use crate::{ClientId, Sub, row, text};
use bytes::Bytes;
use cloudpal_log::codec::Reader;
use cloudpal_sorted::Pages;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Looks at a row of a key: its path and its bytes.
type EachRow<'a> = dyn FnMut(&[u8], &Bytes) -> Result<(), ReadError> + 'a;

/// Turns edits into changes of `entry`, and merges each at once, so that the next sees it.
pub(crate) struct Derive<'a, 'b, P: Pages> {
    pub entry: &'a mut Entry,
    pub merge: &'a mut Merge<'b, P>,
    /// Different for every entry of every writer.
    pub own: Vec<u8>,
    /// Places made so far, over all documents of the entry.
    pub documents: u32,
}

impl<P: Pages> Derive<'_, '_, P> {
    pub fn edit(&mut self, sub: &Sub, edit: &Edit) -> Result<(), WriteError> {
        let at = self.place(sub);
        match edit {
            Edit::Put { key, value } => self.put(sub, at, key, value),
            Edit::Del { key } => self.del(sub, at, key),
            Edit::Clear { from, to } => self.clear(sub, at, from, to.as_ref()),
            Edit::Patch { key, patch } => self.patch(sub, at, key, patch),
            Edit::Include { key, member } => {
                self.kind(sub, Kind::Set, "to take in a member")?;
                self.set(sub, at, key, row::member(member), Bytes::new())
            }
            Edit::Exclude { key, member } => {
                self.kind(sub, Kind::Set, "to let a member go")?;
                self.push(sub, Op::Kill { sub: at, key: key.clone(), path: row::member(member) })
            }
            Edit::Add { key, delta } => self.add(sub, at, key, *delta),
            Edit::Splice { key, span, insert } => {
                self.kind(sub, Kind::Text, "to edit a text")?;
                check_key(key)?;
                let update = text::splice(&self.updates(sub, key)?, self.client(), *span, insert)?;
                let Some(update) = update else {
                    return Err(unfit(sub, "the text has no such place, or it lies within a character"));
                };
                self.push(sub, Op::Text { sub: at, key: key.clone(), update: update.into() })
            }
            Edit::Index { path } if matches!(sub.kind(), Kind::Json | Kind::Register) => {
                if path.is_empty() || path.len() > 255 {
                    return Err(unfit(sub, "the path of an index has 1 to 255 bytes"));
                }
                self.push(sub, Op::Index { sub: at, path: path.clone() })
            }
            Edit::Index { .. } => Err(WriteError::Change { sub: sub.clone(), change: "an index" }),
        }
    }

    /// The place of `sub` in the entry's table.
    pub fn place(&mut self, sub: &Sub) -> u32 {
        let known = self.entry.subs.iter().rposition(|known| known == sub);
        known.unwrap_or_else(|| {
            self.entry.subs.push(sub.clone());
            self.entry.subs.len() - 1
        }) as u32
    }

    fn put(&mut self, sub: &Sub, at: u32, key: &Bytes, value: &Bytes) -> Result<(), WriteError> {
        check_key(key)?;
        if value.len() > MAX_VALUE {
            return Err(WriteError::Value(value.len()));
        }
        match sub.kind() {
            Kind::Register => self.set(sub, at, key, Bytes::new(), value.clone()),
            Kind::Json => {
                let new = json_of(sub, value)?;
                let old = self.document(sub, key)?;
                self.document_becomes(sub, at, key, &old, &new)
            }
            Kind::Set => {
                let members: BTreeSet<String> = serde_json::from_slice(value)
                    .map_err(|error| unfit(sub, format!("a set takes a JSON array of texts: {error}")))?;
                let have = self.members(sub, key)?;
                for member in have.iter().filter(|have| !members.iter().any(|new| new.as_bytes() == **have)) {
                    self.push(sub, Op::Kill { sub: at, key: key.clone(), path: row::member(member) })?;
                }
                for member in members.into_iter().map(Bytes::from).filter(|member| !have.contains(member)) {
                    self.set(sub, at, key, row::member(&member), Bytes::new())?;
                }
                Ok(())
            }
            Kind::Counter => {
                let wanted: i128 = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.trim().parse().ok())
                    .ok_or_else(|| unfit(sub, "a counter takes a whole number"))?;
                let now =
                    self.get(sub, key)?.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok());
                match now {
                    Some(now) if now == wanted => Ok(()),
                    now => {
                        let delta = wanted.saturating_sub(now.unwrap_or(0));
                        let delta = i64::try_from(delta)
                            .map_err(|_| unfit(sub, "the number is too far from what the counter shows"))?;
                        self.add(sub, at, key, delta)
                    }
                }
            }
            Kind::Text => {
                let new = std::str::from_utf8(value).map_err(|_| unfit(sub, "a text takes UTF-8"))?;
                let updates = self.updates(sub, key)?;
                match text::replace(&updates, self.client(), new)? {
                    Some(update) => {
                        self.push(sub, Op::Text { sub: at, key: key.clone(), update: update.into() })
                    }
                    // Nothing differs, but it may not have been there: an empty update makes it so.
                    None if self.get(sub, key)?.is_none() => {
                        self.push(sub, Op::Text { sub: at, key: key.clone(), update: EMPTY_UPDATE })
                    }
                    None => Ok(()),
                }
            }
        }
    }

    fn del(&mut self, sub: &Sub, at: u32, key: &Bytes) -> Result<(), WriteError> {
        check_key(key)?;
        match sub.kind() {
            Kind::Register | Kind::Json | Kind::Set => {
                self.push(sub, Op::Kill { sub: at, key: key.clone(), path: Bytes::new() })
            }
            Kind::Counter => {
                let bases = self.totals(sub, key)?;
                if bases.is_empty() {
                    Ok(())
                } else {
                    self.push(sub, Op::Reset { sub: at, key: key.clone(), bases })
                }
            }
            Kind::Text => {
                if let Some(update) = text::replace(&self.updates(sub, key)?, self.client(), "")? {
                    self.push(sub, Op::Text { sub: at, key: key.clone(), update: update.into() })?;
                }
                self.push(sub, Op::Kill { sub: at, key: key.clone(), path: Bytes::new() })
            }
        }
    }

    fn clear(&mut self, sub: &Sub, at: u32, from: &Bytes, to: Option<&Bytes>) -> Result<(), WriteError> {
        if !matches!(sub.kind(), Kind::Counter | Kind::Text) {
            return self.push(sub, Op::Clear { sub: at, from: from.clone(), to: to.cloned() });
        }
        self.keys(sub, from, to)?.iter().try_for_each(|key| self.del(sub, at, key))
    }

    fn patch(&mut self, sub: &Sub, at: u32, key: &Bytes, patch: &Bytes) -> Result<(), WriteError> {
        self.kind(sub, Kind::Json, "to change fields of a document")?;
        check_key(key)?;
        let old = self.document(sub, key)?;
        let mut new = old.show().unwrap_or(Value::Null);
        merge_patch(&mut new, json_of(sub, patch)?);
        self.document_becomes(sub, at, key, &old, &new)
    }

    fn document_becomes(
        &mut self,
        sub: &Sub,
        at: u32,
        key: &Bytes,
        old: &Node,
        new: &Value,
    ) -> Result<(), WriteError> {
        self.documents += 1;
        let mut own = self.own.clone();
        own.extend_from_slice(&self.documents.to_be_bytes());
        let mut edits = Edits::new(own);
        diff(old, new, &mut Vec::new(), &mut edits);
        for edit in edits.edits {
            match edit {
                json::Edit::Set(path, value) => self.set(sub, at, key, path.into(), value.into())?,
                json::Edit::Kill(path) => {
                    self.push(sub, Op::Kill { sub: at, key: key.clone(), path: path.into() })?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, sub: &Sub, at: u32, key: &Bytes, delta: i64) -> Result<(), WriteError> {
        self.kind(sub, Kind::Counter, "to add to a counter")?;
        check_key(key)?;
        let own = row::data(sub, key, &counter_path(TOTAL, self.client()));
        let rows: &Overlay<P> = self.merge.rows;
        let total = match rows.get(&own)? {
            Some(bytes) => read_counter(&bytes).map_err(ReadError::from)?.1,
            None => 0,
        };
        let total = total.checked_add(delta).ok_or_else(|| unfit(sub, "the counter's sum is too large"))?;
        self.push(sub, Op::Total { sub: at, key: key.clone(), total })
    }

    fn set(&mut self, sub: &Sub, at: u32, key: &Bytes, path: Bytes, value: Bytes) -> Result<(), WriteError> {
        self.push(sub, Op::Set { sub: at, key: key.clone(), path, value })
    }

    fn push(&mut self, sub: &Sub, op: Op) -> Result<(), WriteError> {
        if self.entry.ops.len() >= crate::wire::MAX_OPS {
            return Err(WriteError::Changes);
        }
        check_size(sub, &op)?;
        self.merge.op(sub, &op)?;
        self.entry.ops.push(op);
        Ok(())
    }

    fn kind(&self, sub: &Sub, kind: Kind, change: &'static str) -> Result<(), WriteError> {
        if sub.kind() == kind { Ok(()) } else { Err(WriteError::Change { sub: sub.clone(), change }) }
    }

    const fn client(&self) -> ClientId {
        self.merge.author.dot.client
    }

    fn get(&self, sub: &Sub, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        value::get(&*self.merge.rows, sub, key)
    }

    fn updates(&self, sub: &Sub, key: &[u8]) -> Result<Vec<Bytes>, ReadError> {
        updates(&*self.merge.rows, sub, key)
    }

    fn document(&self, sub: &Sub, key: &[u8]) -> Result<Node, ReadError> {
        let mut node = Node::default();
        self.each_row(sub, key, &mut |path, bytes| {
            if let Some(version) = crate::cell::Cell::decode(bytes)?.winner() {
                node.insert(path, version.value.clone());
            }
            Ok(())
        })?;
        Ok(node)
    }

    fn members(&self, sub: &Sub, key: &[u8]) -> Result<BTreeSet<Bytes>, ReadError> {
        let mut members = BTreeSet::new();
        self.each_row(sub, key, &mut |path, _| {
            members.extend(row::member_of(path));
            Ok(())
        })?;
        Ok(members)
    }

    fn totals(&self, sub: &Sub, key: &[u8]) -> Result<Vec<Base>, ReadError> {
        let mut totals = Vec::new();
        self.each_row(sub, key, &mut |path, bytes| {
            let mut reader = Reader::new(path);
            if reader.byte()? == TOTAL {
                let ((position, change), total) = read_counter(bytes)?;
                totals.push(Base { client: ClientId::read(&mut reader)?, position, change, total });
            }
            Ok(())
        })?;
        Ok(totals)
    }

    fn each_row(&self, sub: &Sub, key: &[u8], each: &mut EachRow<'_>) -> Result<(), ReadError> {
        let first = row::data(sub, key, &[]);
        let mut failed = Ok(());
        self.merge.rows.under(&first, &mut |row, bytes| {
            failed = each(&row[first.len()..], bytes);
            if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed
    }

    /// The keys from `from` up to `to` of a sub-database with several rows to a key.
    fn keys(&self, sub: &Sub, from: &[u8], to: Option<&Bytes>) -> Result<Vec<Bytes>, ReadError> {
        let prefix = row::prefix(row::DATA, sub);
        let bound = |key: &[u8]| {
            let mut row = prefix.clone();
            row::push_key(&mut row, sub.kind(), key);
            row
        };
        let end = to.map_or_else(|| row::end(&prefix), |to| Some(bound(to)));
        let mut keys: Vec<Bytes> = Vec::new();
        self.merge.rows.scan(&bound(from), end.as_deref(), &mut |row, _| {
            let key = row::split(sub.kind(), &Bytes::copy_from_slice(&row[prefix.len()..]));
            keys.extend(key.map(|(key, _)| key).filter(|key| keys.last() != Some(key)));
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }
}

/// An update of `yrs` that changes nothing: no blocks, nothing deleted.
const EMPTY_UPDATE: Bytes = Bytes::from_static(&[0, 0]);

fn check_key(key: &Bytes) -> Result<(), WriteError> {
    if key.len() > MAX_KEY { Err(WriteError::Key(key.len())) } else { Ok(()) }
}

/// That others will take the change in: they hold it to the same limits.
fn check_size(sub: &Sub, op: &Op) -> Result<(), WriteError> {
    op.key().map_or(Ok(()), check_key)?;
    match op {
        Op::Set { path, .. } | Op::Kill { path, .. } if path.len() > MAX_PATH => {
            Err(unfit(sub, "the path to a field, or a member of a set, is longer than 16 KiB"))
        }
        Op::Set { value, .. } | Op::Text { update: value, .. } if value.len() > MAX_VALUE => {
            Err(WriteError::Value(value.len()))
        }
        Op::Clear { from, to, .. } => {
            let longest = to.iter().chain([from]).map(Bytes::len).max().unwrap_or(0);
            if longest > MAX_KEY + 1 { Err(WriteError::Key(longest)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn unfit(sub: &Sub, why: impl Into<String>) -> WriteError {
    WriteError::Unfit { sub: sub.clone(), why: why.into() }
}

fn json_of(sub: &Sub, value: &[u8]) -> Result<Value, WriteError> {
    let value: Value =
        serde_json::from_slice(value).map_err(|error| unfit(sub, format!("not JSON: {error}")))?;
    if depth(&value) > MAX_DEPTH { Err(unfit(sub, "more than 64 levels deep")) } else { Ok(value) }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// RFC 7386, section 2.
fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(fields) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(object) = target.as_object_mut() else { return };
    for (name, value) in fields {
        if value.is_null() {
            object.remove(&name);
        } else {
            merge_patch(object.entry(name).or_insert(Value::Null), value);
        }
    }
}
