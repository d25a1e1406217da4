//! `cloudpal list`, `status`, `unlock`, `lock`, `sleep`, `wake`.

use crate::app::{App, check_keys, cost_over, pinned, state_word};
use crate::command::roster;
use crate::failure::Failure;
use crate::host::unix_ms;
use crate::person::{PalRecord, Stage};
use crate::terminal::Report;
use cloudpal_protocol::api::{HostInfo, PalInfo, PalState, left_with_host};
use cloudpal_protocol::guest::{DataState, WakeReason};
use cloudpal_protocol::receipt::Metered;
use serde_json::{Value, json};

/// Pals on this device's list, without asking anybody.
pub fn list(app: App<'_>) -> Result<Report, Failure> {
    let pals = app.person.pals()?;
    let lines: Vec<_> = pals
        .iter()
        .map(|pal| format!("{:<16} {}  {}{}", pal.name, pal.id, pal.host_url, note(pal)))
        .collect();
    let text = match pals.is_empty() {
        true => "No pals yet; make one with `cloudpal create --at HOST`.".to_owned(),
        false => lines.join("\n"),
    };
    let json: Vec<_> = pals
        .iter()
        .map(|pal| json!({ "id": pal.id, "name": pal.name, "host": pal.host_url, "stage": pal.stage }))
        .collect();
    Ok(Report::new(text, json!({ "pals": json })))
}

fn note(pal: &PalRecord) -> &'static str {
    match pal.stage {
        Stage::Ready => "",
        Stage::Leaving => "  (being deleted: run `cloudpal delete` again)",
        _ => "  (not finished: run `cloudpal create` again)",
    }
}

/// How a pal is, or all of them.
pub fn status(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let pals = match wanted {
        Some(wanted) => vec![app.person.pal(Some(wanted))?],
        None => app.person.pals()?,
    };
    let free_cpm: u64 = app.credit.balances()?.iter().map(|balance| balance.free_cpm).sum();
    let (mut texts, mut found) = (Vec::new(), Vec::new());
    for pal in &pals {
        let report = one(app, pal)?;
        texts.push(report.text);
        found.push(report.json);
    }
    if pals.is_empty() {
        texts.push("No pals yet; make one with `cloudpal create --at HOST`.".to_owned());
    }
    texts.push(format!("purse          {free_cpm} cpm"));
    Ok(Report::new(texts.join("\n"), json!({ "purse_cpm": free_cpm, "pals": found })))
}

fn one(app: App<'_>, pal: &PalRecord) -> Result<Report, Failure> {
    let (at, host) = app.at_host(pal)?;
    let info = at.info()?;
    check_keys(pal, &info)?;
    // Only an awake pal is asked: to ask a sleeping one would wake it.
    let held = match info.state == PalState::Awake && pal.keys.is_some() {
        true => app.session(&at, pal).and_then(|mut session| Ok(session.status()?.held_cpm)).ok(),
        false => None,
    };
    let prices = &host.price_list;
    let day = |metered| cost_over(prices, metered, 86_400);
    let json = json!({
        "id": pal.id,
        "name": info.name,
        "stage": pal.stage,
        "state": info.state,
        "since_unix_ms": info.since_unix_ms,
        "data": info.data,
        "keys": info.keys,
        "public_v4": info.public_v4,
        "public_v6": info.public_v6,
        "endpoint": info.endpoint,
        "at_host_milli_cpm": left_with_host(&info.account),
        "paid_milli_cpm": info.account.paid,
        "consumed_milli_cpm": info.account.consumed,
        "held_cpm": held,
        "runs_out_unix_ms": info.account.runs_out_unix_ms,
        "kept_until_unix_ms": info.account.kept_until_unix_ms,
        "awake_day_milli_cpm": day(Metered::Awake),
        "asleep_day_milli_cpm": day(Metered::Asleep),
        "receipts": info.receipts,
        "acknowledged": info.acknowledged,
        "wakes": info.wakes,
        "last_wake": info.last_wake,
        "boots": info.boots,
        "memory_mib": info.memory_mib,
        "notice": info.notice,
        "host": { "url": pal.host_url, "name": host.name, "hypervisor": host.hypervisor },
    });
    Ok(Report::new(words(&info, &host, held), json))
}

fn words(info: &PalInfo, host: &HostInfo, held: Option<u64>) -> String {
    let prices = &host.price_list;
    let day = |metered| cost_over(prices, metered, 86_400);
    let data = match info.data {
        Some(DataState::Unlocked) => ", data unlocked",
        Some(DataState::Locked) => ", data locked",
        None => "",
    };
    let held = held.map_or_else(String::new, |held| format!(", {held} cpm held by the pal"));
    let woke =
        info.last_wake.map_or_else(String::new, |reason| format!(", last for {}", reason_words(reason)));
    let mut lines = vec![
        format!("{:<14} {}{data}, for {}", info.name, state_word(info.state), ago(info.since_unix_ms)),
        format!("  credit       {} with the host{held}", left_with_host(&info.account)),
        format!("  cost         {} a day awake, {} a day asleep", day(Metered::Awake), day(Metered::Asleep)),
        format!("  receipts     {}, {} acknowledged by the pal", info.receipts, info.acknowledged),
        format!("  woke         {} times{woke}; booted {} times", info.wakes, info.boots),
        format!("  host         {} ({}), devices dial {}", host.name, host.hypervisor, info.endpoint),
    ];
    if let Some(end) = info.account.runs_out_unix_ms {
        lines.push(format!(
            "  NOTE         credit with the host ends {}; `cloudpal top-up {} CPM`",
            until(end),
            info.name
        ));
    }
    if let Some(end) = info.account.kept_until_unix_ms {
        lines.push(format!(
            "  NOTE         without credit; removed with its data {} unless topped up",
            until(end)
        ));
    }
    if let Some(notice) = &info.notice {
        lines.push(format!("  NOTE         {notice}"));
    }
    lines.join("\n")
}

/// A wake reason in words.
pub fn reason_words(reason: WakeReason) -> &'static str {
    match reason {
        WakeReason::Packet => "a device's packet",
        WakeReason::Owner => "its owner",
        WakeReason::Credit => "paying for the time asleep",
        WakeReason::Operator => "the operator",
    }
}

fn ago(unix: u64) -> String {
    span(unix_ms().saturating_sub(unix) / 1000)
}

fn until(unix: u64) -> String {
    match unix.saturating_sub(unix_ms()) / 1000 {
        0 => "now".to_owned(),
        seconds => format!("in {}", span(seconds)),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Opens the data disk; wakes the pal for it.
pub fn unlock(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let mut pal = app.person.pal(wanted)?;
    pinned(&pal)?;
    let (at, _) = app.at_host(&pal)?;
    app.awake(&at, &pal)?;
    app.progress.step(&format!("Opening the data of {}", pal.name));
    let mut session = app.session(&at, &pal)?;
    session.unlock(app.person.phrase()?.data_disk_key(pal.id))?;
    pal.keep_locked = false;
    app.person.save(&pal)?;
    roster::send(app, &mut session, &mut pal)?;
    Ok(done(&pal, "is unlocked", json!("unlocked")))
}

/// Closes the data disk and keeps this device's agent from opening it again. A pal that is not running has
/// it closed already.
pub fn lock(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let mut pal = app.person.pal(wanted)?;
    pinned(&pal)?;
    pal.keep_locked = true;
    app.person.save(&pal)?;
    let (at, _) = app.at_host(&pal)?;
    let info = at.info()?;
    check_keys(&pal, &info)?;
    if matches!(info.state, PalState::Awake | PalState::Booting | PalState::Waking) {
        app.awake(&at, &pal)?;
        app.session(&at, &pal)?.lock()?;
    }
    Ok(done(&pal, "is locked until `cloudpal unlock`", json!("locked")))
}

/// Puts a pal to sleep and waits until it sleeps.
pub fn sleep(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let pal = app.person.pal(wanted)?;
    let (at, _) = app.at_host(&pal)?;
    app.progress.step(&format!("Putting {} to sleep", pal.name));
    let asleep = |info: &PalInfo| matches!(info.state, PalState::Asleep | PalState::Unpaid);
    if !asleep(&at.info()?) {
        at.sleep()?;
        app.wait_for(&at, asleep)?;
    }
    Ok(done(&pal, "is asleep", json!("asleep")))
}

/// Wakes a pal and waits until it is awake.
pub fn wake(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let pal = app.person.pal(wanted)?;
    let (at, _) = app.at_host(&pal)?;
    app.awake(&at, &pal)?;
    Ok(done(&pal, "is awake", json!("awake")))
}

fn done(pal: &PalRecord, how: &str, state: Value) -> Report {
    Report::new(format!("{} {how}.", pal.name), json!({ "id": pal.id, "name": pal.name, "state": state }))
}
