//! The list of devices: read, changed, signed, stored, and only then sent to the pal.

use crate::app::{App, pinned};
use crate::failure::{Exit, Failure};
use crate::person::PalRecord;
use crate::session::{Session, SessionError};
use cloudpal_core::{Signed, SignedBytes};
use cloudpal_plan::{Overlay, Roster, RosterError};

/// The roster of a new pal: version 1, nobody.
pub fn first(pal: &PalRecord) -> Roster {
    Roster { version: 1, ..Roster::empty(&pal.name) }
}

/// The newest roster that this device signed.
pub fn current(app: App<'_>, pal: &PalRecord) -> Result<Roster, Failure> {
    let Some(signed) = pal.roster.clone() else { return Ok(first(pal)) };
    let owner = app.person.owner_sign(pal.id)?.public();
    Roster::accept(signed, &owner, &Overlay::of(pal.id), 0).map_err(refused)
}

/// Signs a roster and stores it as the pal's newest, not sent yet.
pub fn sign(app: App<'_>, pal: &mut PalRecord, roster: Roster) -> Result<SignedBytes, Failure> {
    roster.check(&Overlay::of(pal.id)).map_err(refused)?;
    let signed = Signed::sign(&roster, &app.person.owner_sign(pal.id)?).into_bytes();
    pal.roster = Some(signed.clone());
    pal.roster_sent = false;
    app.person.save(pal)?;
    Ok(signed)
}

/// Sends the newest roster if the pal is not known to have it; wakes the pal for that.
pub fn deliver(app: App<'_>, pal: &mut PalRecord) -> Result<(), Failure> {
    if pal.roster_sent || pal.roster.is_none() {
        return Ok(());
    }
    pinned(pal)?;
    let (at, _) = app.at_host(pal)?;
    app.awake(&at, pal)?;
    app.progress.step(&format!("Telling {} which devices may join", pal.name));
    send(app, &mut app.session(&at, pal)?, pal)
}

/// Sends the newest roster within a session.
pub fn send(app: App<'_>, session: &mut Session<'_>, pal: &mut PalRecord) -> Result<(), Failure> {
    let Some(signed) = pal.roster.clone().filter(|_| !pal.roster_sent) else { return Ok(()) };
    let ours = current(app, pal)?.version;
    let theirs = session.status()?.roster_version;
    if theirs > ours {
        let message = format!(
            "another of your devices changed the list of devices of {} (version {theirs}, here {ours}); make the change there",
            pal.name
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    session.set_roster(signed).map_err(|error: SessionError| Failure::from(error))?;
    pal.roster_sent = true;
    Ok(app.person.save(pal)?)
}

fn refused(error: RosterError) -> Failure {
    let exit = match &error {
        RosterError::Signature(_) | RosterError::Old { .. } => Exit::Refused,
        _ => Exit::Usage,
    };
    Failure::new(exit, error.to_string())
}
