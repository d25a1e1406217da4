//! Tickets between the wire and the till, and the till's errands to the mints.

use crate::config::Config;
use crate::registry::Registry;
use crate::time::unix_ms;
use anyhow::Context;
use cloudpal_core::Milli;
use cloudpal_protocol::{MAX_TICKET_BYTES, TicketText};
use cloudpal_till::{RedeemError, Redeemed, Route, Seller, Terms, Ticket, Till, fetch_keysets};
use std::path::Path;

/// Why tickets were not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Not a ticket at all.
    #[error("ticket {0} cannot be read; it was damaged, or is of another kind")]
    Malformed(usize),
    /// The till refused.
    #[error(transparent)]
    Till(#[from] cloudpal_till::AcceptError),
}

/// Takes tickets for a pal; gives what the pal has brought in all. The same tickets count once.
pub fn accept(till: &Till, pal: &str, texts: &[TicketText]) -> Result<Milli, AcceptError> {
    let parse = |(index, text): (usize, &TicketText)| {
        let short = text.0.len() <= MAX_TICKET_BYTES;
        let ticket = short.then(|| serde_json::from_str::<Ticket>(&text.0).ok()).flatten();
        ticket.ok_or(AcceptError::Malformed(index + 1))
    };
    let tickets: Vec<Ticket> = texts.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    till.accept(pal, &tickets, &Terms::at(unix_ms() / 1000))?;
    accepted(till, pal).map_err(|error| AcceptError::Till(error.into()))
}

/// What a pal has brought in all.
pub fn accepted(till: &Till, pal: &str) -> Result<Milli, cloudpal_till::StoreError> {
    till.accepted_from(pal).map(Milli::from_cpm)
}

/// Asks every mint for its keys. A mint that does not answer keeps the keys it had.
pub fn refresh_keysets(registry: &Registry) {
    for mint in &registry.config.mints {
        if let Err(error) = learn(&registry.till, mint) {
            tracing::warn!(mint, error = %format!("{error:#}"), "cannot ask the mint for its keys");
        }
    }
}

fn learn(till: &Till, mint: &str) -> anyhow::Result<()> {
    let keysets = fetch_keysets(mint)?;
    till.trust(mint, &keysets)?;
    Ok(())
}

/// Redeems what is held, and leaves it to the next round when a mint does not answer.
pub fn redeem_quietly(registry: &Registry) {
    for mint in &registry.config.mints {
        match redeem(&registry.till, mint) {
            Ok(Redeemed { amount: 0, expired: 0 }) => {}
            Ok(redeemed) => tracing::info!(mint, ?redeemed, "redeemed tickets"),
            Err(error) => tracing::warn!(mint, %error, "cannot redeem tickets now; nothing is lost"),
        }
    }
}

fn redeem(till: &Till, mint: &str) -> Result<Redeemed, RedeemError> {
    till.redeem(&Seller::new(mint, &Route::Direct)?)
}

/// `cloudpal-host redeem`
pub fn redeem_all(state: &Path, json: bool) -> anyhow::Result<()> {
    let config = Config::load(state)?;
    let till = Till::open(&state.join("till"))?;
    for mint in &config.mints {
        learn(&till, mint).with_context(|| format!("cannot ask {mint} for its keys"))?;
        redeem(&till, mint)?;
    }
    let totals = till.totals()?;
    if json {
        println!("{}", serde_json::json!({ "held": totals.held, "redeemed": totals.redeemed }));
    } else {
        println!("{} cpm redeemed, {} cpm held and not redeemed yet", totals.redeemed, totals.held);
    }
    Ok(())
}

/// Opens the till.
pub fn open(dir: &Path) -> anyhow::Result<Till> {
    Till::open(dir).map_err(Into::into)
}
