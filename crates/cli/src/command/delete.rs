//! `cloudpal delete` and `cloudpal credit reclaim`: what a pal still holds comes back first.

use crate::app::{App, check_keys};
use crate::failure::{Exit, Failure};
use crate::host::PalAt;
use crate::person::{PalRecord, Stage};
use crate::terminal::Report;
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::{MAX_TICKET_BYTES, TicketText};
use serde_json::json;

/// So many tickets fit one message of the channel, however long each is.
const TAKEN_AT_ONCE: u32 = (60_000 / MAX_TICKET_BYTES) as u32;

/// So many secrets are sent to the host at once.
const RETURNED_AT_ONCE: usize = 256;

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
        let message = format!(
            "deleting {} deletes its data for good; nothing was changed. Say --yes if you mean it",
            pal.name
        );
        return Err(Failure::new(Exit::WouldLose, message));
    }
    let _locked = app.person.lock()?;
    let (at, _) = app.at_host(&pal)?;
    if pal.stage != Stage::Leaving {
        pal.stage = Stage::Leaving;
        app.person.save(&pal)?;
    }
    let gone = match at.info() {
        Err(error) if error.is_not_found() => true,
        Err(error) => return Err(error.into()),
        Ok(_) => false,
    };
    let back = if gone { 0 } else { take_back(app, &at, &pal)? };
    if !gone {
        app.progress.step(&format!("Deleting {}", pal.name));
        match at.delete() {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    app.person.forget(pal.id)?;
    let text = format!("{} is deleted; {back} cpm came back to the purse.", pal.name);
    Ok(Report::new(text, json!({ "id": pal.id, "name": pal.name, "deleted": true, "returned_cpm": back })))
}

/// Takes back what a pal holds unused, and what was locked for it and is past its locktime.
pub fn reclaim(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let pal = app.person.pal(wanted)?;
    app.progress.step("Looking for credit past its locktime");
    let expired = app.credit.reclaim(&pal.mint)?;
    let (at, _) = app.at_host(&pal)?;
    let back = match at.info() {
        Err(error) if error.is_not_found() => 0,
        Err(error) => return Err(error.into()),
        Ok(info) => {
            if info.state == PalState::Asleep {
                app.awake(&at, &pal)?;
            }
            take_back(app, &at, &pal)?
        }
    };
    let text = format!("{back} cpm came back from {}, {expired} cpm by their locktime.", pal.name);
    let json = json!({ "id": pal.id, "returned_cpm": back, "expired_cpm": expired });
    Ok(Report::new(text, json))
}

// What the pal holds is asked of it only so that it stops paying with it: which tickets there are the
// purse knows best, also after a kill between two steps. The host's signature on a ticket means that it
// has not taken that ticket and never will.
fn take_back(app: App<'_>, at: &PalAt, pal: &PalRecord) -> Result<u64, Failure> {
    let info = at.info()?;
    check_keys(pal, &info)?;
    app.progress.step(&format!("Taking unused credit back from {}", pal.name));
    let mut tickets = app.credit.outstanding(&pal.mint, pal.id)?;
    if info.state == PalState::Awake && pal.keys.is_some() {
        let mut session = app.session(at, pal)?;
        loop {
            let taken = session.take_tickets(TAKEN_AT_ONCE)?;
            if taken.is_empty() {
                break;
            }
            tickets.extend(taken);
        }
    }
    tickets.sort_by(|a, b| a.0.cmp(&b.0));
    tickets.dedup();
    tickets.chunks(RETURNED_AT_ONCE).map(|some| return_some(app, at, pal, some)).sum()
}

// A host refuses a list that holds one ticket it has taken: halve the list until that one stands alone.
fn return_some(app: App<'_>, at: &PalAt, pal: &PalRecord, tickets: &[TicketText]) -> Result<u64, Failure> {
    let secrets = tickets.iter().map(secret_of).collect::<Result<_, _>>()?;
    match at.give_back(secrets) {
        Ok(signed) => Ok(app.credit.take_back(&pal.mint, tickets, &signed.signatures)?),
        Err(error) if !error.is_refused() => Err(error.into()),
        Err(_) if tickets.len() < 2 => Ok(0),
        Err(_) => {
            let (first, second) = tickets.split_at(tickets.len() / 2);
            Ok(return_some(app, at, pal, first)? + return_some(app, at, pal, second)?)
        }
    }
}

fn secret_of(ticket: &TicketText) -> Result<String, Failure> {
    let unreadable = || {
        Failure::new(Exit::Failed, "the pal gave something back that is no ticket; update the older program")
    };
    let json: serde_json::Value = serde_json::from_str(&ticket.0).map_err(|_| unreadable())?;
    json["secret"].as_str().map(str::to_owned).ok_or_else(unreadable)
}
