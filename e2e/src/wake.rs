//! What a wake takes: the first reply to a device's first packet, beside a bare restore of the same
//! machine, in turns.

use crate::bare::Bench;
use crate::numbers::{median, tenths};
use crate::steps::Day;
use crate::vault::Vault;
use anyhow::{Context as _, Result};
use serde_json::json;

/// On a quiet machine without KVM, milliseconds.
const LIMIT_MS: f64 = 350.0;

/// Measures `rounds` wakes and as many bare restores, and counts what is lost across one wake.
pub fn measure(day: &mut Day, vault: &Vault, rounds: usize) -> Result<()> {
    eprintln!("==> {rounds} wakes by a first packet, {rounds} bare restores, in turns");
    day.stage.sleep_now()?;
    let bench = Bench::lay(vault, day.stage.dir(), day.stage.up.pal.public_address)?;
    let (mut first, mut bare) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        day.stage.sleep_now()?;
        first.push(tenths(day.wake_by_packet()?));
        day.stage.sleep_now()?;
        bare.push(tenths(bench.restore_ms(vault)?));
        eprintln!("    {round}: first reply {} ms, bare {} ms", first[round - 1], bare[round - 1]);
    }
    drop(bench);
    let lost = day.count_across_a_wake()?;
    let (ours, theirs) = (median(&first).context("no wakes")?, median(&bare).context("no restores")?);
    let memory_mib = day.stage.operated()?.info.memory_mib;
    day.report.set(
        "wake",
        json!({
            "guest_memory_mib": memory_mib,
            "first_reply_ms": first,
            "bare_restore_ms": bare,
            "median_first_reply_ms": ours,
            "median_bare_restore_ms": theirs,
            "lost": lost,
        }),
    );
    let limit = 1.25 * theirs + 80.0;
    day.report.check(
        "first reply within 1.25 x bare restore + 80 ms",
        ours <= limit,
        format!("{ours} of {limit:.1} ms"),
    );
    day.report.check("first reply under 350 ms", ours < LIMIT_MS, format!("{ours} ms"));
    Ok(())
}
