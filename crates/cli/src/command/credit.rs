//! `cloudpal credit`: buying, counting, finding again.

use crate::app::App;
use crate::credit::Balance;
use crate::failure::{Exit, Failure};
use crate::terminal::Report;
use serde_json::json;
use zeroize::Zeroizing;

/// Turns a voucher into credit.
pub fn buy(app: App<'_>, mint: &str, voucher: &Zeroizing<String>) -> Result<Report, Failure> {
    if voucher.is_empty() {
        let message = "no voucher came on standard input; paste the code, such as CPM500-ABCDE-...";
        return Err(Failure::new(Exit::Usage, message));
    }
    // The phrase is needed to derive the purse: without it, say so before the seller hears of the voucher.
    app.person.phrase()?;
    let _locked = app.person.lock()?;
    let mint = address(mint)?;
    app.progress.step(&format!("Buying credit from {mint}"));
    let bought = app.credit.buy(&mint, voucher)?;
    let free = app.credit.balances()?.into_iter().find(|balance| balance.mint == mint);
    let free_cpm = free.map_or(bought, |balance| balance.free_cpm);
    let text = format!("Bought {bought} cpm. The purse for {mint} has {free_cpm} cpm.");
    Ok(Report::new(text, json!({ "mint": mint, "bought_cpm": bought, "free_cpm": free_cpm })))
}

/// What there is.
pub fn balance(app: App<'_>) -> Result<Report, Failure> {
    let balances = app.credit.balances()?;
    let text = match balances.is_empty() {
        true => "No credit yet; buy some with `cloudpal credit buy --mint URL`.".to_owned(),
        false => balances.iter().map(line).collect::<Vec<_>>().join("\n"),
    };
    let free: u64 = balances.iter().map(|balance| balance.free_cpm).sum();
    Ok(Report::new(text, json!({ "free_cpm": free, "purses": balances })))
}

fn line(balance: &Balance) -> String {
    let locked = match balance.locked_cpm {
        0 => String::new(),
        locked => format!(", {locked} cpm locked to a host and not handed over yet"),
    };
    format!("{} cpm from {}{locked}", balance.free_cpm, balance.mint)
}

/// Finishes what was interrupted, takes back what is past its locktime, and finds credit again by the seed.
pub fn recover(app: App<'_>, mint: Option<&str>) -> Result<Report, Failure> {
    let _locked = app.person.lock()?;
    let mints = match mint {
        Some(mint) => vec![address(mint)?],
        None => app.credit.balances()?.into_iter().map(|balance| balance.mint).collect(),
    };
    if mints.is_empty() {
        let message = "this device knows no ticket seller yet; name it with --mint URL";
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut found = Vec::new();
    for mint in mints {
        app.progress.step(&format!("Looking for your credit at {mint}"));
        app.credit.recover(&mint)?;
        app.credit.reclaim(&mint)?;
        let free_cpm =
            app.credit.balances()?.iter().filter(|one| one.mint == mint).map(|one| one.free_cpm).sum::<u64>();
        found.push(json!({ "mint": mint, "free_cpm": free_cpm }));
    }
    let lines: Vec<_> =
        found.iter().map(|one| format!("{} cpm from {}", one["free_cpm"], one["mint"])).collect();
    Ok(Report::new(lines.join("\n").replace('"', ""), json!({ "purses": found })))
}

// A seller's address may have a path; only its spelling is made one.
fn address(mint: &str) -> Result<String, Failure> {
    let mint = mint.trim().trim_end_matches('/');
    let rest = mint.strip_prefix("http://").or_else(|| mint.strip_prefix("https://"));
    if rest.is_none_or(str::is_empty) || mint.contains(char::is_whitespace) {
        let message =
            format!("\"{mint}\" is not a ticket seller's address; write one such as http://203.0.113.8:3338");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(mint.to_owned())
}
