//! `cloudpal create`: from credit in the purse to a pal that is pinned, unlocked and paid for.
//!
//! ```text
//! Planned   id, host, seller and amount are stored; nothing was sent
//!    |      lock credit (the purse journals it under the pal's id)
//! Paying    the host may have the first step of tickets; the request may be repeated
//!    |      wait until awake, shake hands, compare keys
//! Pinned    keys are stored
//!    |      roster, data key, the other tickets
//! Funded    the purse may forget the tickets
//!    |
//! Ready
//! ```
//!
//! Each stage is on disk before what follows it is begun, and everything that follows may be done twice.
//! So a kill anywhere is answered by running the same command again.

use crate::app::{App, cost_over, known_host};
use crate::command::roster;
use crate::credit::{CreditError, LockWish, Locked};
use crate::failure::{Exit, Failure};
use crate::host::{Host, PalAt, unix_ms};
use crate::person::{self, PalRecord, Stage};
use crate::session::Session;
use crate::terminal::Report;
use cloudpal_core::{Milli, PalId};
use cloudpal_plan::names::is_label;
use cloudpal_protocol::TicketText;
use cloudpal_protocol::api::{CreatePal, HostInfo, PalInfo, PalState};
use cloudpal_protocol::receipt::Metered;
use serde_json::json;

/// Locked credit comes back after this long, if the host and the pal are gone for good.
const LOCKED_FOR_S: u64 = 30 * 86_400;

/// What the person asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The host's address.
    pub at: String,
    /// The pal's name.
    pub name: String,
    /// Credit to begin with, whole cpm.
    pub credit_cpm: Option<u64>,
}

/// Creates a pal, or goes on where an earlier run stopped.
pub fn run(app: App<'_>, wish: &Wish) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    if !is_label(&wish.name) || wish.name == "home" {
        let message =
            format!("\"{}\" cannot be a pal's name: use a to z, 0 to 9 and hyphens inside", wish.name);
        return Err(Failure::new(Exit::Usage, message));
    }
    app.person.phrase()?;
    let host = Host::at(&wish.at)?;
    let pals = app.person.pals()?;
    let namesake = pals.iter().find(|pal| pal.name == wish.name);
    if let Some(other) = namesake.filter(|pal| pal.host_url != host.url() || pal.stage == Stage::Leaving) {
        let message =
            format!("there is a pal \"{}\" at {} already; choose another --name", other.name, other.host_url);
        return Err(Failure::new(Exit::Usage, message));
    }
    app.progress.step(&format!("Asking {} for its prices", host.url()));
    let pinned = namesake.or_else(|| pals.iter().find(|pal| pal.host_url == host.url()));
    let info = known_host(&host, pinned)?;
    let mut pal = match namesake {
        Some(pal) => pal.clone(),
        None => plan(app, wish, &host, &info)?,
    };
    if pal.stage == Stage::Ready {
        return report(app, &pal, "is there already");
    }
    app.progress.step(&price_line(&info));
    let at = host.pal(pal.id, app.person.owner_sign(pal.id)?);
    let locked = locked_credit(app, &pal)?;
    let (first, rest) =
        locked.as_ref().map_or_else(Default::default, |locked| locked.first_step(info.least_cpm));

    if pal.stage == Stage::Planned {
        save(app, &mut pal, Stage::Paying)?;
    }
    if pal.stage == Stage::Paying {
        pay_first_step(app, &at, &pal, first)?;
    }
    if pal.stage < Stage::Funded {
        let credit = locked.as_ref().map_or(0, Locked::cpm);
        fund(app, &at, &mut pal, &rest, credit)?;
        save(app, &mut pal, Stage::Funded)?;
    }
    if let Some(locked) = &locked {
        app.progress.step("Closing the books");
        app.credit.handed_over(locked)?;
    }
    save(app, &mut pal, Stage::Ready)?;
    report(app, &pal, "is awake and unlocked")
}

/// The name under which the purse keeps the credit of a new pal.
pub fn purpose(pal: PalId) -> String {
    format!("create {pal}")
}

fn save(app: App<'_>, pal: &mut PalRecord, stage: Stage) -> Result<(), Failure> {
    pal.stage = stage;
    Ok(app.person.save(pal)?)
}

// Nothing is sent before the choice of id, seller and amount is on disk.
fn plan(app: App<'_>, wish: &Wish, host: &Host, info: &HostInfo) -> Result<PalRecord, Failure> {
    let purses = app.credit.balances()?;
    let taken = |mint: &str| info.mints.iter().any(|known| known.trim_end_matches('/') == mint);
    let Some(purse) = purses.iter().filter(|purse| taken(&purse.mint)).max_by_key(|purse| purse.free_cpm)
    else {
        let sellers = info.mints.join(" or ");
        let message =
            format!("this host takes tickets from {sellers}; buy some with `cloudpal credit buy --mint URL`");
        return Err(Failure::new(Exit::Refused, message));
    };
    let day = cost_over(&info.price_list, Metered::Awake, 86_400).ceil_cpm();
    let credit_cpm = wish.credit_cpm.unwrap_or_else(|| day.min(purse.free_cpm)).max(1);
    if credit_cpm < info.least_cpm {
        let message = format!(
            "this host wants at least {} cpm to create a pal, not {credit_cpm}; buy more, or give more with --credit",
            info.least_cpm
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let now = unix_ms() / 1000;
    let pal = PalRecord {
        id: PalId::from_random(person::random()?),
        name: wish.name.clone(),
        host_url: host.url().to_owned(),
        host_key: info.key,
        till: info.till.clone(),
        prices: info.prices.clone().into_bytes(),
        mint: purse.mint.clone(),
        stage: Stage::Planned,
        credit_cpm,
        locktime_unix: now + LOCKED_FOR_S.max(info.locktime_margin_s.saturating_add(86_400)),
        keys: None,
        endpoint: None,
        roster: None,
        roster_sent: false,
        removed: Vec::new(),
        paying_directly: false,
        keep_locked: false,
    };
    app.progress.step("Writing down the plan");
    app.person.save(&pal)?;
    Ok(pal)
}

// None once the purse has forgotten the tickets: then pal and host have them.
fn locked_credit(app: App<'_>, pal: &PalRecord) -> Result<Option<Locked>, Failure> {
    let purpose = purpose(pal.id);
    if pal.stage > Stage::Planned {
        return Ok(app.credit.pending(&pal.mint, &purpose)?);
    }
    app.progress.step(&format!("Locking {} cpm to the host", pal.credit_cpm));
    let wish = LockWish {
        purpose: &purpose,
        mint: &pal.mint,
        amount_cpm: pal.credit_cpm,
        till: &pal.till,
        locktime_unix: pal.locktime_unix,
    };
    match app.credit.lock(&wish) {
        Ok(locked) => Ok(Some(locked)),
        Err(short @ CreditError::Short { .. }) => {
            // Nothing was locked or sent: let the person choose anew.
            app.person.forget(pal.id)?;
            Err(short.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn pay_first_step(
    app: App<'_>,
    at: &PalAt,
    pal: &PalRecord,
    tickets: Vec<TicketText>,
) -> Result<(), Failure> {
    app.progress.step("Paying the first step and asking for the pal");
    at.create(&CreatePal {
        id: pal.id,
        name: pal.name.clone(),
        owner_sign: app.person.owner_sign(pal.id)?.public(),
        owner_unlock: app.person.owner_unlock(pal.id)?.public(),
        tickets,
    })?;
    Ok(())
}

fn fund(
    app: App<'_>,
    at: &PalAt,
    pal: &mut PalRecord,
    rest: &[TicketText],
    credit_cpm: u64,
) -> Result<(), Failure> {
    app.progress.step("Waiting for the pal to boot");
    let mut info = at.info()?;
    if info.state == PalState::Unpaid {
        // A long pause between two runs used up the first step: then the host itself needs the rest.
        at.add_credit(rest.to_vec())?;
        info = app.wait_for_credit(at)?;
    }
    if pal.stage == Stage::Pinned || info.state == PalState::Asleep {
        app.awake(at, pal)?;
    }
    info = app.wait_for(at, |info| info.state == PalState::Awake && info.keys.is_some())?;
    let mut session = pin(app, at, pal, &info)?;

    app.progress.step("Telling the pal who may join");
    let signed = match pal.roster.clone() {
        Some(signed) => signed,
        None => roster::sign(app, pal, roster::first(pal))?,
    };
    session.set_roster(signed)?;
    pal.roster_sent = true;
    app.person.save(pal)?;

    app.progress.step("Opening its data disk");
    session.unlock(app.person.phrase()?.data_disk_key(pal.id))?;

    let paid_all = credit_cpm > 0 && info.account.paid >= Milli::from_cpm(credit_cpm);
    if !paid_all {
        app.progress.step("Handing over the other tickets");
        session.add_tickets(rest)?;
    }
    Ok(())
}

// The host names the keys; the pal proves the channel's and repeats all of them inside it.
fn pin<'a>(app: App<'_>, at: &'a PalAt, pal: &mut PalRecord, info: &PalInfo) -> Result<Session<'a>, Failure> {
    app.progress.step("Checking the pal's keys");
    let named =
        info.keys.ok_or_else(|| Failure::new(Exit::Failed, "the host does not name the pal's keys yet"))?;
    let keys = pal.keys.unwrap_or(named);
    let mut session = Session::open(at, &app.person.owner_unlock(pal.id)?, Some(keys.channel))?;
    let proved = session.status()?.keys;
    if proved != keys || named != keys {
        let message = "the host names other keys for the pal than the pal proves; do not use this host";
        return Err(Failure::new(Exit::Refused, message));
    }
    pal.keys = Some(keys);
    pal.endpoint = Some(info.endpoint);
    if pal.stage < Stage::Pinned {
        save(app, pal, Stage::Pinned)?;
    }
    Ok(session)
}

fn price_line(info: &HostInfo) -> String {
    let over = |metered, seconds| cost_over(&info.price_list, metered, seconds);
    format!(
        "{} charges {} an hour awake and {} a day asleep ({} a day awake)",
        info.name,
        over(Metered::Awake, 3600),
        over(Metered::Asleep, 86_400),
        over(Metered::Awake, 86_400)
    )
}

fn report(app: App<'_>, pal: &PalRecord, how: &str) -> Result<Report, Failure> {
    let name = &pal.name;
    let hub = cloudpal_plan::Overlay::of(pal.id).hub();
    let text = format!(
        "{name} {how}.\n  id        {}\n  host      {}\n  page      http://home.{name}.internal/ (from its network), or `cloudpal open`\n\
         Next: `cloudpal device add phone` shows a QR code for the WireGuard app.",
        pal.id, pal.host_url
    );
    let json = json!({
        "id": pal.id,
        "name": name,
        "host": pal.host_url,
        "credit_cpm": pal.credit_cpm,
        "keys": pal.keys,
        "endpoint": pal.endpoint,
        "overlay_v4": hub.v4,
        "overlay_v6": hub.v6,
        "config": app.person.dir(),
    });
    Ok(Report::new(text, json))
}
