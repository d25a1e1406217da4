//! `cloudpal delete` and `cloudpal credit reclaim`: what a pal still holds comes back first.

use crate::app::{App, check_keys};
use crate::failure::{Exit, Failure};
use crate::host::{PalAt, unix_ms};
use crate::person::{PalRecord, Stage};
use crate::terminal::Report;
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::{MAX_TICKET_BYTES, TicketText};
use serde_json::json;

/// So many tickets fit one message of the channel, however long each is.
const TAKEN_AT_ONCE: u32 = (60_000 / MAX_TICKET_BYTES) as u32;

/// What the person said to losing the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// They know.
    Given,
    /// They were not asked or did not agree.
    Missing,
}

/// Deletes a pal with its data.
pub fn run(app: App<'_>, wanted: &str, consent: Consent) -> Result<Report, Failure> {
    let mut pal = app.person.pal(Some(wanted))?;
    if consent == Consent::Missing {
        let message = format!("deleting {} deletes its data for good; nothing was changed. Say --yes if you mean it", pal.name);
        return Err(Failure::new(Exit::WouldLose, message));
    }
    let _locked = app.person.lock()?;
    let (at, _) = app.at_host(&pal)?;
    if pal.stage != Stage::Leaving {
        pal.stage = Stage::Leaving;
        app.person.save(&pal)?;
    }
    let gone = at.info().is_err_and(|error| error.is_not_found());
    let (back, note) = match gone {
        true => (0, None),
        false => take_back(app, &at, &pal)?,
    };
    if !gone {
        app.progress.step(&format!("Deleting {}", pal.name));
        match at.delete() {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    app.person.forget(pal.id)?;
    let note = note.map_or_else(String::new, |note| format!(" {note}"));
    let text = format!("{} is deleted; {back} cpm came back to the purse.{note}", pal.name);
    Ok(Report::new(text, json!({ "id": pal.id, "name": pal.name, "deleted": true, "returned_cpm": back })))
}

/// Takes back what a pal holds unused, and what was locked for it and is past its locktime.
pub fn reclaim(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let pal = app.person.pal(wanted)?;
    app.progress.step("Looking for credit past its locktime");
    let expired = app.credit.reclaim(&pal.mint, &pal.till)?;
    let (at, _) = app.at_host(&pal)?;
    let (back, note) = match at.info() {
        Err(error) if error.is_not_found() => (0, None),
        Err(error) => return Err(error.into()),
        Ok(_) => take_back(app, &at, &pal)?,
    };
    let note = note.map_or_else(String::new, |note| format!(" {note}"));
    let text = format!("{back} cpm came back from {}, {expired} cpm by their locktime.{note}", pal.name);
    let json = json!({ "id": pal.id, "returned_cpm": back, "expired_cpm": expired });
    Ok(Report::new(text, json))
}

// Some at a time: out of the pal, signed by the host, into the purse. What a kill leaves between comes
// back by its locktime, because the purse remembers every ticket it locked.
fn take_back(app: App<'_>, at: &PalAt, pal: &PalRecord) -> Result<(u64, Option<String>), Failure> {
    let info = at.info()?;
    check_keys(pal, &info)?;
    let asleep = matches!(info.state, PalState::Unpaid | PalState::Failed | PalState::Gone);
    if asleep || pal.keys.is_none() {
        let days = pal.locktime_unix.saturating_sub(unix_ms() / 1000).div_ceil(86_400);
        let note = format!(
            "It could not be asked for credit it may still hold; that comes back in about {days} days with `cloudpal credit recover`."
        );
        return Ok((0, Some(note)));
    }
    app.awake(at, pal)?;
    app.progress.step(&format!("Taking unused credit back from {}", pal.name));
    let mut session = app.session(at, pal)?;
    let mut back = 0;
    loop {
        let tickets = session.take_tickets(TAKEN_AT_ONCE)?;
        if tickets.is_empty() {
            return Ok((back, None));
        }
        let signed = at.give_back(tickets.iter().map(secret_of).collect::<Result<_, _>>()?)?;
        back += app.credit.take_back(&pal.mint, &tickets, &signed.signatures)?;
    }
}

fn secret_of(ticket: &TicketText) -> Result<String, Failure> {
    let unreadable = || Failure::new(Exit::Failed, "the pal gave something back that is no ticket; update the older program");
    let json: serde_json::Value = serde_json::from_str(&ticket.0).map_err(|_| unreadable())?;
    json["secret"].as_str().map(str::to_owned).ok_or_else(unreadable)
}
