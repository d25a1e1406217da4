//! `cloudpal receipts`: what the host says it charged, and whether that is right.

use crate::app::App;
use crate::failure::{Exit, Failure};
use crate::host::PalAt;
use crate::person::PalRecord;
use crate::terminal::Report;
use cloudpal_core::{Signed, SignedBytes};
use cloudpal_meter::Chain;
use cloudpal_protocol::price::PriceList;
use cloudpal_protocol::receipt::{Metered, Receipt};
use serde_json::json;

/// Shows all receipts; every one must be the pinned host's.
pub fn show(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let pal = app.person.pal(wanted)?;
    let (at, _) = app.at_host(&pal)?;
    let (signed, acknowledged) = fetch(app, &at)?;
    let mut lines = Vec::with_capacity(signed.len());
    let mut all = Vec::with_capacity(signed.len());
    for bytes in signed {
        let receipt = Signed::<Receipt>::from(bytes).verify(&pal.host_key)?;
        let seconds = receipt.to_unix_ms.saturating_sub(receipt.from_unix_ms) / 1000;
        let (number, total) = (receipt.number, receipt.consumed);
        lines.push(format!(
            "{number:>6}  {:<6} {seconds:>6} s  {:>12}  {total:>14} in all",
            metered_word(receipt.metered),
            receipt.cost.to_string()
        ));
        all.push(receipt);
    }
    lines.push(format!("{} receipts, {acknowledged} acknowledged by {}", all.len(), pal.name));
    Ok(Report::new(lines.join("\n"), json!({ "pal": pal.id, "acknowledged": acknowledged, "receipts": all })))
}

/// Checks signatures, chain, sums and prices of all receipts.
pub fn verify(app: App<'_>, wanted: Option<&str>) -> Result<Report, Failure> {
    let pal = app.person.pal(wanted)?;
    let (at, _) = app.at_host(&pal)?;
    let (signed, acknowledged) = fetch(app, &at)?;
    app.progress.step(&format!("Checking {} receipts", signed.len()));
    let chain = check(&pal, signed)?;
    let claimed = at.info()?.receipts;
    if claimed < chain.next {
        let message = format!(
            "the host gives {} receipts but speaks of {claimed}; keep both and ask the operator",
            chain.next
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let text = format!(
        "All {} receipts of {} are right: signed by its host, chained, at the agreed prices, {} in all; {acknowledged} are acknowledged by the pal.",
        chain.next, pal.name, chain.consumed
    );
    let json = json!({
        "pal": pal.id, "verified": true, "receipts": chain.next, "acknowledged": acknowledged,
        "consumed_milli_cpm": chain.consumed,
    });
    Ok(Report::new(text, json))
}

/// The chain of a pal's receipts, if every one of them is right.
pub fn check(pal: &PalRecord, signed: Vec<SignedBytes>) -> Result<Chain, Failure> {
    let prices = Signed::<PriceList>::from(pal.prices.clone());
    let list = prices.verify(&pal.host_key)?;
    let mut chain = Chain::new(pal.id);
    for bytes in signed {
        let signed = Signed::<Receipt>::from(bytes);
        let receipt = signed.verify(&pal.host_key)?;
        chain.take(&receipt, signed.digest(), &list, prices.digest()).map_err(|error| {
            Failure::new(
                Exit::Refused,
                format!("{error}; the pal does not owe this: show it to the operator"),
            )
        })?;
    }
    Ok(chain)
}

fn fetch(app: App<'_>, at: &PalAt) -> Result<(Vec<SignedBytes>, u64), Failure> {
    app.progress.step("Fetching receipts");
    let mut all = Vec::new();
    loop {
        let page = at.receipts(all.len() as u64)?;
        if page.receipts.is_empty() {
            return Ok((all, page.acknowledged));
        }
        all.extend(page.receipts);
    }
}

fn metered_word(metered: Metered) -> &'static str {
    match metered {
        Metered::Awake => "awake",
        Metered::Asleep => "asleep",
    }
}
