//! What devices wrote at the same time, and settling it.

use super::args::{Conflicts, Lasting, Resolve};
use super::entries::write;
use super::room::Room;
use super::told::{self, Names, conflict_lines, field, versions};
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::terminal::Report;
use bytes::Bytes;
use cloudpal_base::{Batch, Conflict, Kind, Sub};
use serde_json::{Value, json};

/// `conflicts`.
pub fn list(desk: Desk<'_>, wanted: &Conflicts) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let snapshot = room.base.snapshot();
    let subs = match &wanted.part.sub {
        Some(_) => vec![room.sub(&wanted.part, Kind::Register)?],
        None => snapshot.subs().map_err(failed)?,
    };
    drop(snapshot);
    let mut found = Vec::new();
    for sub in &subs {
        found.extend(room.base.conflicts(sub).map_err(failed)?);
    }
    let names = Names::of(&room.base);
    let mut lines: Vec<_> = found.iter().flat_map(|one| conflict_lines(one, &names)).collect();
    lines.push(match found.is_empty() {
        true => "No conflicts.".to_owned(),
        false => "`cloudpal db resolve` settles one, and so does any later write to the key.".to_owned(),
    });
    let json: Vec<_> = found.iter().map(|one| told::conflict(one, &names)).collect();
    room.finish(desk, &Report::new(lines.join("\n"), json!({ "conflicts": json })))
}

/// `resolve`.
pub fn resolve(desk: Desk<'_>, wanted: &Resolve) -> Result<(), Failure> {
    let place = &wanted.place;
    let key = place.coding.read(&place.key)?;
    let value = wanted.value.as_deref().map(|value| place.coding.read(value)).transpose()?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Register)?;
    let mut batch = Batch::new();
    match (value, wanted.keep) {
        (Some(value), _) => rewrite(&mut batch, &sub, &key, value),
        (None, Some(number)) => {
            let conflict = pick(&room, &sub, &key, wanted.field.as_deref())?;
            let kept = versions(&conflict).nth(number.saturating_sub(1)).ok_or_else(|| {
                let message = format!("there are versions 1 to {} only", versions(&conflict).count());
                Failure::new(Exit::Usage, message)
            })?;
            keep(&mut batch, &room, &conflict, conflict.says(kept), number)?;
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "say --keep N or --value VALUE")),
    }
    write(desk, room, batch, Lasting { durable: true }, &sub, &key, "is settled")
}

/// The conflict at a key; that of a field, if there are several.
fn pick(room: &Room, sub: &Sub, key: &[u8], wanted: Option<&str>) -> Result<Conflict, Failure> {
    let all = room.base.conflicts(sub).map_err(failed)?;
    let at_key = all.into_iter().filter(|conflict| conflict.key == key);
    let mut found: Vec<_> =
        at_key.filter(|conflict| wanted.is_none_or(|wanted| field(conflict) == wanted)).collect();
    match found.len() {
        0 => {
            Err(Failure::new(Exit::NotFound, "there is no such conflict; `cloudpal db conflicts` shows all"))
        }
        1 => Ok(found.remove(0)),
        _ => {
            let fields: Vec<_> = found.iter().map(field).collect();
            let message =
                format!("several fields are in conflict, so say which: --field {}", fields.join(" or "));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Makes a version the only one.
fn keep(
    batch: &mut Batch,
    room: &Room,
    conflict: &Conflict,
    value: Bytes,
    number: usize,
) -> Result<(), Failure> {
    let (sub, key) = (&conflict.sub, &conflict.key);
    if sub.kind() != Kind::Json {
        rewrite(batch, sub, key, value);
        return Ok(());
    }
    let scalar: Option<Value> =
        serde_json::from_slice(&value).ok().filter(|value: &Value| !value.is_object() && !value.is_array());
    match (conflict.fields(), scalar) {
        (Some(fields), Some(scalar)) if !fields.is_empty() => {
            // Gone first: what does not differ is not written, and would settle nothing.
            batch.patch(sub, key.clone(), patch(&fields, Value::Null));
            batch.patch(sub, key.clone(), patch(&fields, scalar));
            Ok(())
        }
        (_, _) if number == 1 => {
            let shown = room.base.snapshot().get(sub, key).map_err(failed)?.unwrap_or_default();
            rewrite(batch, sub, key, shown);
            Ok(())
        }
        _ => {
            let message = "this part of the document cannot be taken over alone; give the whole document with --value, \
                           or keep what it shows with --keep 1";
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// A merge patch that reaches one field.
fn patch(fields: &[String], value: Value) -> String {
    let wrap = |inner: Value, name: &String| json!({ name: inner });
    fields.iter().rev().fold(value, wrap).to_string()
}

/// Writes a value as if nothing had been there.
fn rewrite(batch: &mut Batch, sub: &Sub, key: &Bytes, value: Bytes) {
    if sub.kind() == Kind::Json {
        batch.del(sub, key.clone());
    }
    batch.put(sub, key.clone(), value);
}
