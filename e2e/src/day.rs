//! The day as a whole: once measured, or twice with faults.

use crate::faults;
use crate::numbers::fresh_seed;
use crate::report::Report;
use crate::stage::Setting;
use crate::steps::Day;
use crate::vault::Vault;
use crate::wake;
use anyhow::Result;
use std::fs;

/// The host's agent stays below this, bytes.
const AGENT_LIMIT: u64 = 60_000_000;

/// The day as it is, measured. The real rule is 180 s without use.
pub fn demo(seed: Option<u64>, idle_s: u32) -> Result<Report> {
    let setting = Setting { voucher: 600, credit: 240, idle_s, meter_scale: 1 };
    let mut day = Day::begin("demo", seed.unwrap_or_else(fresh_seed), setting)?;
    let played = play_demo(&mut day);
    if played.is_err() {
        day.stage.show_logs();
    }
    played?;
    Ok(day.report)
}

fn play_demo(day: &mut Day) -> Result<()> {
    day.connect()?;
    day.write_marker()?;
    let vault = Vault::open(&day.stage, day.stage.dir().join("run"))?;
    day.fall_asleep()?;
    day.wake_by_packet()?;
    day.wait_unlocked()?;
    day.check_marker("data whole after sleep by the rule")?;
    day.asleep(&vault)?;
    wake::measure(day, &vault, 5)?;
    day.scans(100_000, 1_000)?;
    day.adopt()?;
    day.boot_cold()?;
    resident(day)?;
    day.settle(day.setting.voucher)
}

/// How large the host's agent is.
fn resident(day: &mut Day) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", day.stage.up.host.pid))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    if let Some(bytes) = kib.map(|kib| kib * 1024) {
        day.report.set("host_resident_bytes", bytes);
        day.report.check("the host's agent is small", bytes < AGENT_LIMIT, format!("{bytes} bytes"));
    }
    Ok(())
}

/// What is played, how the stage is set for it, and how it goes.
type Play = (&'static str, Setting, fn(&mut Day) -> Result<()>);

/// Twice in a row: once by the real rule, once with a shorter one; then a short life whose meter runs
/// faster, so that credit runs out while somebody watches.
pub fn test(seed: Option<u64>) -> Result<bool> {
    let seed = seed.unwrap_or_else(fresh_seed);
    let day = Setting { voucher: 600, credit: 240, idle_s: 180, meter_scale: 1 };
    let quicker = Setting { idle_s: 20, ..day.clone() };
    // A day asleep is paid ahead, 7.2 cpm: the rest is about a minute awake at this speed.
    let poor = Setting { voucher: 120, credit: 30, meter_scale: 20, ..day.clone() };
    let plays: [Play; 3] = [
        ("a day by the real rule", day, play_test),
        ("the same day again, sleeping after 20 s", quicker, play_test),
        ("a life without credit, metered 20 times as fast", poor, faults::credit_runs_out),
    ];
    let mut broken = Vec::new();
    let mut judged = 0;
    for (number, (name, setting, play)) in plays.into_iter().enumerate() {
        eprintln!("\n==> {name}: {setting:?}");
        let mut day = Day::begin("test", seed.wrapping_add(number as u64), setting)?;
        if let Err(error) = play(&mut day) {
            day.stage.show_logs();
            broken.push(format!("{name}: {error:#}"));
        }
        judged += day.report.count();
        broken.extend(day.report.broken().into_iter().map(|what| format!("{name}: {what}")));
    }
    for what in &broken {
        println!("NOT OK {what}");
    }
    println!("end-to-end: {judged} judged, {} not as promised, seed {seed}", broken.len());
    Ok(broken.is_empty() && judged > 0)
}

fn play_test(day: &mut Day) -> Result<()> {
    day.connect()?;
    day.write_marker()?;
    day.store_data()?;
    let vault = Vault::open(&day.stage, day.stage.dir().join("run"))?;
    day.fall_asleep()?;
    day.wake_by_packet()?;
    day.wait_unlocked()?;
    day.check_data("log, drive and database whole after sleep by the rule")?;
    day.asleep(&vault)?;
    day.count_across_a_wake()?;
    day.scans(100_000, 1_000)?;
    day.adopt()?;
    day.boot_cold()?;
    day.check_data("log, drive and database whole after a cold boot")?;
    faults::changed_byte(day, &vault)?;
    faults::used_wrongly(day)?;
    faults::bad_tickets(day)?;
    day.settle(day.setting.voucher)
}
