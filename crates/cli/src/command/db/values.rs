//! Changes that only some kinds of sub-databases have, and finding documents by their fields.

use super::args::{Add, Find, Index, Member, Patch, Splice};
use super::entries::write;
use super::room::Room;
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::terminal::Report;
use crate::told::entry;
use cloudpal_base::{Kind, Span, Unit};
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

/// `splice`.
pub fn splice(desk: Desk<'_>, wanted: &Splice) -> Result<(), Failure> {
    let place = &wanted.place;
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Text)?;
    let shown = room.value(&sub, &key)?;
    let text = String::from_utf8_lossy(shown.as_deref().unwrap_or_default());
    let span = span(&text, wanted.position, wanted.remove)?;
    // The place was counted in this text and means another one in any other.
    let expect = Step::Expect(sub.clone(), key.clone(), shown.clone());
    let splice = Step::Splice(sub.clone(), key.clone(), span, wanted.insert.clone());
    write(desk, room, &[expect, splice], wanted.lasting, &sub, &key, "is changed")
}

/// People count letters, the database bytes.
fn span(text: &str, position: usize, remove: usize) -> Result<Span, Failure> {
    let letters = text.chars().count();
    let at = |letter: usize| text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(letter);
    let end = position.checked_add(remove).and_then(at);
    let (Some(begin), Some(end)) = (at(position), end) else {
        let message = format!("the text has {letters} letters, so there is no such place in it");
        return Err(Failure::new(Exit::Usage, message));
    };
    Ok(Span { at: begin, length: end - begin, unit: Unit::Utf8 })
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
