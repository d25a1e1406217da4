//! What devices wrote at the same time, and settling it.

use super::args::{Conflicts, Lasting, Resolve};
use super::entries::write;
use super::room::Room;
use super::told::{conflict_lines, versions};
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::terminal::Report;
use crate::told::bytes;
use bytes::Bytes;
use cloudpal_base::{Kind, Sub};
use cloudpal_serve::wire::Step;
use serde_json::{Value, json};

/// `conflicts`.
pub fn list(desk: Desk<'_>, wanted: &Conflicts) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let subs = match &wanted.part.sub {
        Some(_) => vec![room.sub(&wanted.part, Kind::Register)?],
        None => room.subs()?,
    };
    let mut found = Vec::new();
    for sub in &subs {
        found.extend(room.conflicts(sub)?);
    }
    let mut lines: Vec<_> = found.iter().flat_map(conflict_lines).collect();
    lines.push(match found.is_empty() {
        true => "No conflicts.".to_owned(),
        false => "`cloudpal db resolve` settles one, and so does any later write to the key.".to_owned(),
    });
    room.finish(desk, &Report::new(lines.join("\n"), json!({ "conflicts": found })))
}

/// `resolve`.
pub fn resolve(desk: Desk<'_>, wanted: &Resolve) -> Result<(), Failure> {
    let place = &wanted.place;
    let key = place.coding.read(&place.key)?;
    let value = wanted.value.as_deref().map(|value| place.coding.read(value)).transpose()?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Register)?;
    let steps = match (value, wanted.keep) {
        (Some(value), _) => rewrite(&sub, &key, value),
        (None, Some(number)) => {
            let conflict = pick(&room, &sub, &key, wanted.field.as_deref())?;
            let all = versions(&conflict);
            let kept = all.get(number.wrapping_sub(1)).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("there are versions 1 to {} only", all.len()))
            })?;
            keep(&room, &sub, &key, &conflict, bytes(kept, "value").into(), number)?
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "say --keep N or --value VALUE")),
    };
    write(desk, room, &steps, Lasting { durable: true }, &sub, &key, "is settled")
}

/// The conflict at a key; that of a field, if there are several.
fn pick(room: &Room, sub: &Sub, key: &[u8], wanted: Option<&str>) -> Result<Value, Failure> {
    let is_wanted = |one: &Value| {
        bytes(one, "key") == key && wanted.is_none_or(|wanted| one["field"].as_str() == Some(wanted))
    };
    let mut found = room.conflicts(sub)?;
    found.retain(is_wanted);
    match found.len() {
        0 => {
            Err(Failure::new(Exit::NotFound, "there is no such conflict; `cloudpal db conflicts` shows all"))
        }
        1 => Ok(found.remove(0)),
        _ => {
            let fields: Vec<_> = found.iter().filter_map(|one| one["field"].as_str()).collect();
            let message =
                format!("several fields are in conflict, so say which: --field {}", fields.join(" or "));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Makes a version the only one.
fn keep(
    room: &Room,
    sub: &Sub,
    key: &Bytes,
    conflict: &Value,
    value: Bytes,
    number: usize,
) -> Result<Vec<Step>, Failure> {
    if sub.kind() != Kind::Json {
        return Ok(rewrite(sub, key, value));
    }
    let scalar: Option<Value> =
        serde_json::from_slice(&value).ok().filter(|value: &Value| !value.is_object() && !value.is_array());
    let fields: Vec<&str> =
        conflict["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match scalar {
        Some(scalar) if !fields.is_empty() => {
            let patch = |inner| Step::Patch(sub.clone(), key.clone(), patch(&fields, inner).into());
            // Gone first: what does not differ is not written, and would settle nothing.
            Ok(vec![patch(Value::Null), patch(scalar)])
        }
        _ if number == 1 => Ok(rewrite(sub, key, room.value(sub, key)?.unwrap_or_default())),
        _ => {
            let message = "this part of the document cannot be taken over alone; give the whole document with --value, \
                           or keep what it shows with --keep 1";
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// A merge patch that reaches one field.
fn patch(fields: &[&str], value: Value) -> String {
    let wrap = |inner: Value, name: &&str| json!({ *name: inner });
    fields.iter().rev().fold(value, wrap).to_string()
}

/// Writes a value as if nothing had been there.
fn rewrite(sub: &Sub, key: &Bytes, value: Bytes) -> Vec<Step> {
    let put = Step::Put(sub.clone(), key.clone(), value);
    match sub.kind() {
        Kind::Json => vec![Step::Del(sub.clone(), key.clone()), put],
        _ => vec![put],
    }
}
