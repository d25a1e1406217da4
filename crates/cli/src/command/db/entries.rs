//! `put`, `get`, `del` and `scan`.

use super::args::{Lasting, Place, Put, Scan};
use super::bytes::shown;
use super::room::Room;
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::terminal::{Format, Report};
use crate::told::text;
use bytes::Bytes;
use cloudpal_base::{Kind, Order, Range, Sub, limits};
use cloudpal_serve::json::{self, tell};
use cloudpal_serve::wire::Step;
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal, Read, Write};
use std::ops::{Bound, ControlFlow};

/// `put`.
pub fn put(desk: Desk<'_>, wanted: Put) -> Result<(), Failure> {
    let Put { place, value, if_value, if_absent, lasting } = wanted;
    let (key, coding) = (place.coding.read(&place.key)?, place.coding);
    let expected = match (if_value, if_absent) {
        (Some(value), _) => Some(Some(coding.read(&value)?)),
        (None, true) => Some(None),
        (None, false) => None,
    };
    let value = match value {
        Some(value) => coding.read(&value)?,
        None => {
            desk.terminal.awaits("the value");
            read_value()?.into()
        }
    };
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Register)?;
    let mut steps = Vec::new();
    if let Some(expected) = expected {
        steps.push(Step::Expect(sub.clone(), key.clone(), expected));
    }
    steps.push(Step::Put(sub.clone(), key.clone(), value));
    write(desk, room, &steps, lasting, &sub, &key, "is put")
}

/// `del`.
pub fn del(desk: Desk<'_>, place: &Place, lasting: Lasting) -> Result<(), Failure> {
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Register)?;
    if room.value(&sub, &key)?.is_none() {
        let mut told = json::key(&sub, &key);
        told.insert("deleted".into(), json!(false));
        return room.finish(desk, &Report::new(format!("There is no {}.", shown(&key)), told.into()));
    }
    let steps = [Step::Del(sub.clone(), key.clone())];
    write(desk, room, &steps, lasting, &sub, &key, "is deleted")
}

/// Writes a batch about one key and says so.
pub fn write(
    desk: Desk<'_>,
    room: Room,
    steps: &[Step],
    lasting: Lasting,
    sub: &Sub,
    key: &Bytes,
    done: &str,
) -> Result<(), Failure> {
    let written = room.write(steps, lasting)?;
    report(desk, room, &written, sub, key, done)
}

/// Says what became of a key by a batch.
pub fn report(
    desk: Desk<'_>,
    room: Room,
    written: &Value,
    sub: &Sub,
    key: &Bytes,
    done: &str,
) -> Result<(), Failure> {
    let mut told = json::key(sub, key);
    match room.value(sub, key)? {
        Some(value) => tell(&mut told, "value", &value),
        None => drop(told.insert("deleted".into(), json!(true))),
    }
    for name in ["batch", "time_ms"] {
        told.insert(name.into(), written[name].clone());
    }
    let text = format!("{} {done}, in batch {}.", shown(key), text(written, "batch"));
    room.finish(desk, &Report::new(text, told.into()))
}

fn read_value() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    io::stdin()
        .lock()
        .take(limits::MAX_VALUE as u64 + 1)
        .read_to_end(&mut value)
        .map_err(|error| Failure::because(Exit::Failed, "standard input cannot be read", error))?;
    if value.len() > limits::MAX_VALUE {
        let message =
            format!("a value has at most {} bytes; larger things belong into a drive", limits::MAX_VALUE);
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(value)
}

/// `get`.
pub fn get(desk: Desk<'_>, place: &Place) -> Result<(), Failure> {
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Register)?;
    let value = room.value(&sub, &key)?;
    room.close()?;
    print_value(desk, &sub, &key, value)
}

/// Prints what a key shows, as it is, so that what was put can be got into a file again.
pub fn print_value(desk: Desk<'_>, sub: &Sub, key: &Bytes, value: Option<Bytes>) -> Result<(), Failure> {
    let value =
        value.ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no {} in {sub}", shown(key))))?;
    if desk.terminal.format() == Format::Json {
        let mut told = json::key(sub, key);
        tell(&mut told, "value", &value);
        return desk.terminal.print(&Report::new("", told.into()));
    }
    let mut out = desk.terminal.contents();
    let line: &[u8] = if io::stdout().is_terminal() { b"\n" } else { b"" };
    let done = out.write_all(&value).and_then(|()| out.write_all(line)).and_then(|()| out.flush());
    done.map_err(|error| Failure::because(Exit::Failed, "printing the value failed", error))
}

/// `scan`.
pub fn scan(desk: Desk<'_>, wanted: &Scan) -> Result<(), Failure> {
    let range = range(wanted)?;
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let sub = room.sub(&wanted.part, Kind::Register)?;
    let (mut entries, mut lines) = (Vec::new(), Vec::new());
    room.scan(&sub, &range, &mut |key, value| {
        let mut entry = Map::new();
        let mut parts = Vec::new();
        if !wanted.values {
            tell(&mut entry, "key", key);
            parts.push(shown(key));
        }
        if !wanted.keys {
            tell(&mut entry, "value", value);
            parts.push(shown(value));
        }
        match desk.terminal.format() {
            Format::Json => entries.push(Value::from(entry)),
            Format::Text => lines.push(parts.join("\t")),
        }
        ControlFlow::Continue(())
    })?;
    let mut told = json::sub(&sub);
    told.insert("entries".into(), entries.into());
    room.finish(desk, &Report::new(lines.join("\n"), told.into()))
}

fn range(wanted: &Scan) -> Result<Range, Failure> {
    let read = |key: &String| wanted.coding.read(key);
    let bound = |without: &Option<String>, with: &Option<String>| match (without, with) {
        (Some(key), _) => read(key).map(Bound::Excluded),
        (None, Some(key)) => read(key).map(Bound::Included),
        (None, None) => Ok(Bound::Unbounded),
    };
    Ok(Range {
        from: bound(&wanted.gt, &wanted.gte)?,
        to: bound(&wanted.lt, &wanted.lte)?,
        order: if wanted.reverse { Order::Descending } else { Order::Ascending },
        limit: wanted.limit,
    })
}
