//! What devices wrote at the same time, and settling it.

use super::args::{Conflicts, Resolve};
use super::entries::report;
use super::room::Room;
use super::told::{conflict_lines, versions};
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::terminal::Report;
use crate::told::{bytes, text};
use cloudpal_base::{Choice, Dot, Kind, Resolution};
use cloudpal_serve::json;
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
    let mut found = room.conflicts(&sub)?;
    found.retain(|one| bytes(one, "key") == key);
    let (conflict, choice) = match (value, wanted.keep) {
        // It takes the place of the whole document, whichever field it is about.
        (Some(value), _) => (found.first().ok_or_else(none)?, Choice::Value(value)),
        (None, Some(number)) => {
            let conflict = pick(&found, wanted.field.as_deref())?;
            let seen = seen(conflict);
            let kept = seen.get(number.wrapping_sub(1)).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("there are versions 1 to {} only", seen.len()))
            })?;
            (conflict, Choice::Keep(*kept))
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "say --keep N or --value VALUE")),
    };
    let path = bytes(conflict, "path").into();
    let seen = seen(conflict);
    let written = room.resolve(&Resolution { sub: sub.clone(), key: key.clone(), path, seen, choice })?;
    report(desk, room, &written, &sub, &key, "is settled")
}

fn none() -> Failure {
    Failure::new(Exit::NotFound, "there is no such conflict; `cloudpal db conflicts` shows all")
}

/// The conflict that is meant; that of a field, if there are several.
fn pick<'a>(found: &'a [Value], wanted: Option<&str>) -> Result<&'a Value, Failure> {
    let is_wanted = |one: &&Value| wanted.is_none_or(|wanted| one["field"].as_str() == Some(wanted));
    let found: Vec<&Value> = found.iter().filter(is_wanted).collect();
    match found[..] {
        [] => Err(none()),
        [one] => Ok(one),
        _ => {
            let fields: Vec<_> = found.iter().filter_map(|one| one["field"].as_str()).collect();
            let message =
                format!("several fields are in conflict, so say which: --field {}", fields.join(" or "));
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Where its versions were written, the one that is shown first.
fn seen(conflict: &Value) -> Vec<Dot> {
    versions(conflict).iter().filter_map(|version| json::dot(text(version, "batch"))).collect()
}
