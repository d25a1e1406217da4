//! Changes that only some kinds of sub-databases have, and finding documents by their fields.

use super::args::{Add, Find, Index, Member, Patch};
use super::bytes::{shown, tell};
use super::entries::{of_sub, write};
use super::room::Room;
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::terminal::Report;
use cloudpal_base::{Batch, Durability, Kind};
use serde_json::{Map, Value, json};
use std::ops::{Bound, ControlFlow};

/// `add`.
pub fn add(desk: Desk<'_>, wanted: &Add) -> Result<(), Failure> {
    let place = &wanted.place;
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Counter)?;
    let mut batch = Batch::new();
    batch.add(&sub, key.clone(), wanted.number);
    write(desk, room, batch, wanted.lasting, &sub, &key, "is counted")
}

/// Whether a set takes a member in or lets it go.
#[derive(Clone, Copy)]
pub enum Move {
    In,
    Out,
}

/// `include` and `exclude`.
pub fn set(desk: Desk<'_>, wanted: &Member, which: Move) -> Result<(), Failure> {
    let place = &wanted.place;
    let (key, member) = (place.coding.read(&place.key)?, place.coding.read(&wanted.member)?);
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Set)?;
    let mut batch = Batch::new();
    match which {
        Move::In => batch.include(&sub, key.clone(), member),
        Move::Out => batch.exclude(&sub, key.clone(), member),
    };
    write(desk, room, batch, wanted.lasting, &sub, &key, "is changed")
}

/// `patch`.
pub fn patch(desk: Desk<'_>, wanted: &Patch) -> Result<(), Failure> {
    let place = &wanted.place;
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Json)?;
    let mut batch = Batch::new();
    batch.patch(&sub, key.clone(), wanted.patch.clone());
    write(desk, room, batch, wanted.lasting, &sub, &key, "is changed")
}

/// `index`.
pub fn index(desk: Desk<'_>, wanted: &Index) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let sub = room.sub(&wanted.part, Kind::Json)?;
    let mut batch = Batch::new();
    batch.index(&sub, wanted.path.clone());
    room.base.write(batch, Durability::Durable).map_err(failed)?;
    let mut json = of_sub(&sub);
    json.insert("path".into(), json!(wanted.path));
    let text = format!("{sub} is indexed by {}; `cloudpal db find` finds by it.", wanted.path);
    room.finish(desk, &Report::new(text, json.into()))
}

/// `find`.
pub fn find(desk: Desk<'_>, wanted: &Find) -> Result<(), Failure> {
    let scalar = |text: &String| {
        let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        match value {
            Value::Object(_) | Value::Array(_) => {
                let message =
                    format!("`{text}` is no text, number, true, false or null, and only those are indexed");
                Err(Failure::new(Exit::Usage, message))
            }
            value => Ok(value),
        }
    };
    let from = wanted.from.as_ref().map(scalar).transpose()?;
    let to = wanted.to.as_ref().map(scalar).transpose()?;
    let bound = |value: &'_ Option<Value>| value.clone().map_or(Bound::Unbounded, Bound::Included);
    let (from, to) = (bound(&from), bound(&to));
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let sub = room.sub(&wanted.part, Kind::Json)?;
    let snapshot = room.base.snapshot();
    let mut keys = Vec::new();
    let limit = wanted.limit.unwrap_or(u64::MAX);
    snapshot
        .find(&sub, &wanted.path, (from.as_ref(), to.as_ref()), &mut |key| {
            if keys.len() as u64 >= limit {
                return ControlFlow::Break(());
            }
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .map_err(failed)?;
    let (mut entries, mut lines) = (Vec::new(), Vec::new());
    for key in keys {
        let Some(value) = snapshot.get(&sub, &key).map_err(failed)? else { continue };
        let mut entry = Map::new();
        tell(&mut entry, "key", &key);
        tell(&mut entry, "value", &value);
        entries.push(Value::from(entry));
        lines.push(format!("{}\t{}", shown(&key), shown(&value)));
    }
    drop(snapshot);
    if lines.is_empty() {
        lines.push(format!(
            "Nothing. If there is no index yet, `cloudpal db index {} {}` makes it.",
            wanted.name, wanted.path
        ));
    }
    let mut json = of_sub(&sub);
    json.insert("path".into(), json!(wanted.path));
    json.insert("entries".into(), entries.into());
    room.finish(desk, &Report::new(lines.join("\n"), json.into()))
}
