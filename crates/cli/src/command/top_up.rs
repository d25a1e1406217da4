//! `cloudpal top-up`: more credit for a pal, safe to repeat after a kill.

use crate::app::{App, check_keys, pinned};
use crate::credit::{LockWish, Locked};
use crate::failure::Failure;
use crate::host::unix_ms;
use crate::person::PalRecord;
use crate::terminal::Report;
use cloudpal_core::PalId;
use cloudpal_protocol::api::PalState;
use serde_json::json;

/// As when a pal is created.
const LOCKED_FOR_S: u64 = 30 * 86_400;

/// The name under which the purse keeps a top-up until it is handed over: one at a time.
pub fn purpose(pal: PalId) -> String {
    format!("top-up {pal}")
}

/// Gives a pal `cpm`. A top-up that was interrupted before is finished instead, and said so.
pub fn run(app: App<'_>, wanted: &str, cpm: u64) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let mut pal = app.person.pal(Some(wanted))?;
    pinned(&pal)?;
    let (at, host) = app.at_host(&pal)?;
    let begun = app.credit.pending(&pal.mint, &purpose(pal.id))?;
    let resumed = begun.is_some();
    let locked = match begun {
        Some(locked) => locked,
        None => {
            app.progress.step(&format!("Locking {cpm} cpm to the host"));
            app.credit.lock(&LockWish {
                purpose: &purpose(pal.id),
                mint: &pal.mint,
                amount_cpm: cpm,
                till: &pal.till,
                locktime_unix: unix_ms() / 1000 + LOCKED_FOR_S.max(host.locktime_margin_s + 86_400),
            })?
        }
    };
    hand_over(app, &mut pal, &locked, host.least_cpm)?;
    app.credit.handed_over(&locked)?;
    if pal.paying_directly {
        pal.paying_directly = false;
        app.person.save(&pal)?;
    }
    let given = locked.cpm();
    let state = at.info()?.state;
    let before = match resumed {
        true => format!(
            " This finished a top-up that was interrupted; nothing else was paid. If {cpm} cpm were meant on top of it, run the command again."
        ),
        false => String::new(),
    };
    let text = format!("{} has {given} cpm more.{before}", pal.name);
    Ok(Report::new(
        text,
        json!({ "id": pal.id, "name": pal.name, "given_cpm": given, "resumed": resumed, "state": state }),
    ))
}

fn hand_over(app: App<'_>, pal: &mut PalRecord, locked: &Locked, least_cpm: u64) -> Result<(), Failure> {
    let (at, _) = app.at_host(pal)?;
    let info = at.info()?;
    check_keys(pal, &info)?;
    let (first, rest) = locked.first_step(least_cpm);
    let mut tickets = [first.clone(), rest.clone()].concat();
    if info.state == PalState::Unpaid && !pal.paying_directly {
        // Stored first: a repeated run must not give the pal what the host already has.
        pal.paying_directly = true;
        app.person.save(pal)?;
    }
    if pal.paying_directly {
        app.progress.step("Paying the first step to the host");
        at.add_credit(first)?;
        app.wait_for_credit(&at)?;
        tickets = rest;
    }
    app.awake(&at, pal)?;
    app.progress.step(&format!("Handing tickets to {}", pal.name));
    app.session(&at, pal)?.add_tickets(&tickets)?;
    Ok(())
}
