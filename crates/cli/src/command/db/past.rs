//! What was done: the change feed, the history of a key, undoing, and the database as it was.

use super::args::{Place, Undo, Watch};
use super::entries::print_value;
use super::room::Room;
use super::sync::{connect, serve};
use super::time::When;
use super::told::{did_lines, sub};
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local::stop::Stop;
use crate::terminal::Report;
use crate::told::{part, text};
use cloudpal_base::Kind;
use cloudpal_store::{Connection, Server};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// How long one wait for a change takes: Ctrl-C ends within it.
const LOOK: Duration = Duration::from_millis(200);
/// The same for a pal, which is asked again each time.
const ASK: Duration = Duration::from_secs(2);

/// `watch`: a line for each batch, or each change of it.
pub fn watch(desk: Desk<'_>, wanted: &Watch) -> Result<(), Failure> {
    // First, so that the store's threads leave the signals to us.
    let stop = Stop::catch()?;
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let mut line = Line::lay(desk, &room, wanted)?;
    let pause = match &room {
        Room::Folder(..) => LOOK,
        Room::Pal(_) => ASK,
    };
    let mut cursor = wanted.from.clone().unwrap_or_else(|| "now".to_owned());
    loop {
        let found = room.batches(&cursor, if wanted.once { Duration::ZERO } else { pause })?;
        for batch in found["batches"].as_array().into_iter().flatten() {
            desk.terminal.print(&Report::new(did_lines(batch).join("\n"), batch.clone()))?;
        }
        cursor = text(&found, "cursor").to_owned();
        if stop.wait(Duration::ZERO) || (wanted.once && found["more"] != true) {
            break;
        }
        line.mend(&room);
    }
    drop(line);
    room.close()
}

/// How other devices reach this one meanwhile, or are reached.
struct Line<'a> {
    with: Option<(&'a str, Connection)>,
    _server: Option<Server>,
}

impl<'a> Line<'a> {
    fn lay(desk: Desk<'_>, room: &Room, wanted: &'a Watch) -> Result<Self, Failure> {
        let store = match room {
            Room::Folder(store, _) => store,
            Room::Pal(_) if wanted.with.is_none() && wanted.listen.is_none() => {
                return Ok(Line { with: None, _server: None });
            }
            Room::Pal(_) => {
                let message =
                    "a pal hears from its devices by itself; --with and --listen go with --store DIR";
                return Err(Failure::new(Exit::Usage, message));
            }
        };
        let server = wanted.listen.as_deref().map(|listen| serve(store, listen)).transpose()?;
        if let Some(server) = &server {
            desk.app.progress.step(&format!("Other devices can connect to {}", server.address()));
        }
        let with = wanted.with.as_deref();
        let with = with.map(|with| connect(store, with).map(|line| (with, line))).transpose()?;
        Ok(Line { with, _server: server })
    }

    /// Connects again if the other has gone.
    fn mend(&mut self, room: &Room) {
        if let (Some((with, line)), Room::Folder(store, _)) = (&mut self.with, room)
            && line.is_closed()
            && let Ok(again) = connect(store, with)
        {
            *line = again;
        }
    }
}

/// `history`.
pub fn history(desk: Desk<'_>, place: &Place) -> Result<(), Failure> {
    let key = place.coding.read(&place.key)?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let of = room.sub(&place.part, Kind::Register)?;
    let past = room.history(&of, &key)?;
    let mut lines: Vec<_> = past["batches"].as_array().into_iter().flatten().flat_map(did_lines).collect();
    if lines.is_empty() {
        lines.push(
            "Nothing is known to have been done to it; history before the checkpoint may be forgotten."
                .to_owned(),
        );
    }
    room.finish(desk, &Report::new(lines.join("\n"), past))
}

/// `undo`.
pub fn undo(desk: Desk<'_>, wanted: &Undo) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let undone = room.undo(wanted.batch.0)?;
    let mut lines = vec![format!("Batch {} is undone.", wanted.batch)];
    for (name, what) in [("restored", "restored"), ("left", "left, as somebody has changed it since")] {
        let keys = undone[name].as_array().into_iter().flatten();
        let line =
            |one: &Value| format!("  {what}  {} in {}", part(one, "key").unwrap_or_default(), sub(one));
        lines.extend(keys.map(line));
    }
    room.finish(desk, &Report::new(lines.join("\n"), undone))
}

/// `get --at TIME`.
pub fn get_at(desk: Desk<'_>, place: &Place, when: When) -> Result<(), Failure> {
    let key = place.coding.read(&place.key)?;
    let ms = when
        .past_ms(Timestamp::now())
        .ok_or_else(|| Failure::new(Exit::Usage, "this time cannot be told in milliseconds since 1970"))?;
    let room = Room::open(desk, &place.name, &place.at)?;
    let of = room.sub(&place.part, Kind::Register)?;
    desk.app.progress.step("Building the database as it was");
    let value = room.past(&of, &key, ms)?;
    room.close()?;
    print_value(desk, &of, &key, value)
}
