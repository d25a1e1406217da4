//! Rotating: from now on another keyset signs; the one before is still honoured until it expires.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdk_common::nuts::CurrencyUnit;
use cloudpal_form::UNIT;

use crate::service::{ServeError, amounts, build, lock};
use crate::state::State;

/// Makes a new keyset active and returns its id. Refused while the seller serves: a running mint would
/// go on signing with the old one. `lifetime` is for how long the new one is honoured; none is for ever.
///
/// The mint library does not rotate an expired active keyset by itself, so whoever gives a lifetime has to
/// rotate well before it ends. Data centres must fetch the new keyset before they take its tickets, and
/// every rotation splits the crowd in which a ticket hides: rotate seldom.
pub async fn rotate(state: &State, lifetime: Option<Duration>) -> Result<String, ServeError> {
    let _lock = lock(state)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let expiry = lifetime.map(|lifetime| now.saturating_add(lifetime).as_secs());
    let mint = build(state).await?;
    let keyset = mint
        .rotate_keyset(CurrencyUnit::custom(UNIT), amounts(), 0, true, expiry)
        .await
        .map_err(ServeError::Mint)?;
    Ok(keyset.id.to_string())
}
