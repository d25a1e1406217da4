//! What was done: the change feed, the history of a key, undoing, and the database as it was.

use super::args::{Place, Undo, Watch};
use super::bytes::tell;
use super::entries::{of_sub, print_value};
use super::room::Room;
use super::sync::{connect, serve};
use super::time::When;
use super::told::{did, did_lines};
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::local::stop::Stop;
use crate::printable::word;
use crate::terminal::Report;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use cloudpal_base::{Cursor, Kind, Sub};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// How long one wait for a change takes.
const LOOK: Duration = Duration::from_millis(200);

/// `watch`: a line for each batch, or each change of it.
pub fn watch(desk: Desk<'_>, wanted: &Watch) -> Result<(), Failure> {
    // First, so that the store's threads leave the signals to us.
    let stop = Stop::catch()?;
    let given = wanted.from.as_deref().map(cursor).transpose()?;
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let mut cursor = given.unwrap_or_else(|| room.base.cursor());
    let server = wanted.listen.as_deref().map(|listen| serve(&room.store, listen)).transpose()?;
    if let Some(server) = &server {
        desk.app.progress.step(&format!("Other devices can connect to {}", server.address()));
    }
    let mut connection = wanted.with.as_deref().map(|with| connect(&room.store, with)).transpose()?;
    loop {
        let version = room.base.version();
        cursor = print_from(desk, &room, cursor, &stop)?;
        if wanted.once || stop.wait(Duration::ZERO) {
            break;
        }
        room.base.wait(version, LOOK);
        if let (Some(with), true) = (&wanted.with, connection.as_ref().is_some_and(|line| line.is_closed()))
            && let Ok(again) = connect(&room.store, with)
        {
            connection = Some(again);
        }
    }
    drop((server, connection));
    room.close()
}

/// Prints everything behind a cursor; answers with the cursor behind that.
fn print_from(desk: Desk<'_>, room: &Room, mut cursor: Cursor, stop: &Stop) -> Result<Cursor, Failure> {
    loop {
        // One at a time, so that each comes with the cursor behind it.
        let changes = room.base.changes(&cursor, 1).map_err(failed)?;
        cursor = changes.next;
        for change in &changes.changes {
            let mut json = did(change);
            json["cursor"] = json!(URL_SAFE_NO_PAD.encode(cursor.encode()));
            desk.terminal.print(&Report::new(did_lines(change).join("\n"), json))?;
        }
        if !changes.more || stop.wait(Duration::ZERO) {
            return Ok(cursor);
        }
    }
}

fn cursor(text: &str) -> Result<Cursor, Failure> {
    if text == "start" {
        return Ok(Cursor::default());
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes.and_then(|bytes| Cursor::decode(&bytes).ok()).ok_or_else(|| {
        let message = "this is no cursor; give one that `cloudpal db watch --json` printed, or `start`";
        Failure::new(Exit::Usage, message)
    })
}

/// `history`.
pub fn history(desk: Desk<'_>, place: &Place) -> Result<(), Failure> {
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Register)?;
    let all = room.base.history(&sub, &key).map_err(failed)?;
    let mut lines: Vec<_> = all.iter().flat_map(did_lines).collect();
    if lines.is_empty() {
        lines.push(
            "Nothing is known to have been done to it; history before the checkpoint may be forgotten."
                .to_owned(),
        );
    }
    let mut json = of_sub(&sub);
    tell(&mut json, "key", &key);
    json.insert("batches".into(), all.iter().map(did).collect());
    room.finish(desk, &Report::new(lines.join("\n"), json.into()))
}

/// `undo`.
pub fn undo(desk: Desk<'_>, wanted: &Undo) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let undone = room.base.undo(wanted.batch.0).map_err(failed)?;
    let mut lines = vec![format!("Batch {} is undone.", wanted.batch)];
    let line = |what: &str, (sub, key): &(Sub, Bytes)| {
        format!("  {what}  {} in {}", super::bytes::shown(key), word(&sub.to_string()))
    };
    lines.extend(undone.restored.iter().map(|one| line("restored", one)));
    lines.extend(undone.left.iter().map(|one| line("left, as somebody has changed it since", one)));
    let one = |(sub, key): &(Sub, Bytes)| {
        let mut json = of_sub(sub);
        tell(&mut json, "key", key);
        Value::from(json)
    };
    let list = |keys: &[(Sub, Bytes)]| keys.iter().map(one).collect::<Vec<_>>();
    let json = json!({
        "batch": wanted.batch.to_string(),
        "restored": list(&undone.restored),
        "left": list(&undone.left),
    });
    room.finish(desk, &Report::new(lines.join("\n"), json))
}

/// `get --at TIME`.
pub fn get_at(desk: Desk<'_>, place: &Place, when: When) -> Result<(), Failure> {
    let key = place.coding.read(&place.key)?;
    let ms = when
        .past_ms(Timestamp::now())
        .ok_or_else(|| Failure::new(Exit::Usage, "this time cannot be told in milliseconds since 1970"))?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let sub = room.sub(&place.part, Kind::Register)?;
    desk.app.progress.step("Building the database as it was");
    let past = room.base.at_time(ms).map_err(failed)?;
    let value = past.get(&sub, &key).map_err(failed)?;
    drop(past);
    room.close()?;
    print_value(desk, &sub, &key, value)
}
