//! What the seller owes: for each keyset, issued = spent + outstanding.

use cdk_common::database::{MintKeysDatabase, MintProofsDatabase, MintSignaturesDatabase};
use cdk_common::nuts::CurrencyUnit;
use cdk_sqlite::MintSqliteDatabase;
use cloudpal_form::UNIT;
use serde::Serialize;

use crate::state::State;

/// One keyset's totals, in whole cpm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeysetTotals {
    /// The keyset's id, hex.
    pub keyset: String,
    /// Whether the seller still signs with it.
    pub active: bool,
    /// Signed, purchases and swaps together.
    pub issued: u64,
    /// Brought back, swaps and settlements together.
    pub spent: u64,
    /// In people's purses and data centres' tills.
    pub outstanding: u64,
}

/// Why totals could not be told.
#[derive(Debug, thiserror::Error)]
pub enum TotalsError {
    /// The database failed.
    #[error("cannot read the seller's database: check the disk")]
    Database(#[source] cdk_common::database::Error),
    /// More came back than was ever signed: somebody else can sign.
    #[error("keyset {0} has more spent than issued: stop serving, the seed may have been copied")]
    Overspent(String),
}

/// The totals of every keyset, oldest first. Works while the seller serves.
pub async fn totals(state: &State) -> Result<Vec<KeysetTotals>, TotalsError> {
    let database = MintSqliteDatabase::new(&state.mint_database()).await.map_err(TotalsError::Database)?;
    let mut look = MintKeysDatabase::begin_transaction(&database).await.map_err(TotalsError::Database)?;
    let mut keysets = look.get_keyset_infos().await.map_err(TotalsError::Database)?;
    look.rollback().await.map_err(TotalsError::Database)?;
    // Spent is read first: a swap in between then shows as outstanding, never as overspent.
    let spent = database.get_total_redeemed().await.map_err(TotalsError::Database)?;
    let issued = database.get_total_issued().await.map_err(TotalsError::Database)?;
    keysets.retain(|keyset| keyset.unit == CurrencyUnit::custom(UNIT));
    keysets.sort_by_key(|keyset| (keyset.valid_from, keyset.id.to_string()));
    keysets
        .into_iter()
        .map(|keyset| {
            let issued = issued.get(&keyset.id).map_or(0, |amount| amount.to_u64());
            let spent = spent.get(&keyset.id).map_or(0, |amount| amount.to_u64());
            let name = keyset.id.to_string();
            let outstanding =
                issued.checked_sub(spent).ok_or_else(|| TotalsError::Overspent(name.clone()))?;
            Ok(KeysetTotals { keyset: name, active: keyset.active, issued, spent, outstanding })
        })
        .collect()
}
