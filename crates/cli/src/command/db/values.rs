//! Changes that only some kinds of sub-databases have, and finding documents by their fields.

use super::args::{Add, Find, Index, Member, Patch};
use super::entries::write;
use super::room::Room;
use crate::command::data::Desk;
use crate::failure::Failure;
use crate::terminal::Report;
use crate::told::entry;
use cloudpal_base::Kind;
use cloudpal_serve::owner::Search;
use cloudpal_serve::wire::Step;
use serde_json::json;

/// `add`.
pub fn add(desk: Desk<'_>, wanted: &Add) -> Result<(), Failure> {
    let place = &wanted.place;
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Counter)?;
    let steps = [Step::Add(sub.clone(), key.clone(), wanted.number)];
    write(desk, room, &steps, wanted.lasting, &sub, &key, "is counted")
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
    let step = match which {
        Move::In => Step::Include(sub.clone(), key.clone(), member),
        Move::Out => Step::Exclude(sub.clone(), key.clone(), member),
    };
    write(desk, room, &[step], wanted.lasting, &sub, &key, "is changed")
}

/// `patch`.
pub fn patch(desk: Desk<'_>, wanted: &Patch) -> Result<(), Failure> {
    let place = &wanted.place;
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Json)?;
    let steps = [Step::Patch(sub.clone(), key.clone(), wanted.patch.clone().into())];
    write(desk, room, &steps, wanted.lasting, &sub, &key, "is changed")
}

/// `index`.
pub fn index(desk: Desk<'_>, wanted: &Index) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let sub = room.sub(&wanted.part, Kind::Json)?;
    let json = room.index(&sub, &wanted.path)?;
    let text = format!("{sub} is indexed by {}; `cloudpal db find` finds by it.", wanted.path);
    room.finish(desk, &Report::new(text, json))
}

/// `find`.
pub fn find(desk: Desk<'_>, wanted: &Find) -> Result<(), Failure> {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    let search = Search {
        path: wanted.path.clone(),
        from: wanted.from.as_ref().map(value),
        to: wanted.to.as_ref().map(value),
        limit: wanted.limit,
    };
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let sub = room.sub(&wanted.part, Kind::Json)?;
    let found = room.find(&sub, &search)?;
    let mut lines: Vec<_> = found["entries"].as_array().into_iter().flatten().map(entry).collect();
    if lines.is_empty() {
        lines.push(format!(
            "Nothing. If there is no index yet, `cloudpal db index {} {}` makes it.",
            wanted.name, wanted.path
        ));
    }
    room.finish(desk, &Report::new(lines.join("\n"), found))
}
