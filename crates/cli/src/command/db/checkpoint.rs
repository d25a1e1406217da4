//! Checkpoints, and forgetting history.

use super::args::{Forget, Name};
use super::room::Room;
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::printable::word;
use crate::terminal::Report;
use jiff::Timestamp;
use std::time::Duration;

/// `checkpoint`.
pub fn make(desk: Desk<'_>, wanted: &Name) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    desk.app.progress.step("Writing down what the database shows");
    let made = room.checkpoint()?;
    let text = format!(
        "New devices of {} begin with this checkpoint. `cloudpal db forget` lets go of history before it.",
        word(&wanted.name)
    );
    room.finish(desk, &Report::new(text, made))
}

/// `forget`.
pub fn forget(desk: Desk<'_>, wanted: &Forget) -> Result<(), Failure> {
    let now = Timestamp::now();
    let since = wanted.keep.past_ms(now).and_then(|ms| i64::try_from(ms).ok());
    let since = since.and_then(|ms| Timestamp::from_millisecond(ms).ok()).filter(|since| *since <= now);
    let Some(since) = since else {
        let message = "say how much history to keep: a span such as `30 days`, or the day it begins with";
        return Err(Failure::new(Exit::Usage, message));
    };
    let keep = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    desk.app.progress.step("Clearing what lies before the checkpoint");
    let forgotten = room.forget(keep)?;
    let text = match forgotten["blocks"].as_u64().unwrap_or_default() {
        0 => "There is nothing that old before the checkpoint.".to_owned(),
        blocks => format!(
            "{blocks} blocks of history are gone from {}. What they did stays, but it can no longer be undone or looked up.",
            room.who()
        ),
    };
    room.finish(desk, &Report::new(text, forgotten))
}
