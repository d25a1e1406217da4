//! A seller's keyset: one public key an amount.

use cashu::{CurrencyUnit, Id, KeySet, PublicKey};
use serde::{Deserialize, Serialize};

use crate::UNIT;

/// A keyset of unit `cpm` whose id was checked against its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyset {
    inner: KeySet,
    active: bool,
}

/// Why a keyset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysetError {
    /// Not the unit that CloudPal counts in.
    #[error("keyset {id} is of unit {unit}, not {UNIT}: this seller sells something else")]
    Unit {
        /// The keyset.
        id: String,
        /// Its unit.
        unit: String,
    },
    /// The id is a digest of the keys, and is not of these.
    #[error("keyset {id} does not match its keys: do not trust this seller")]
    Id {
        /// The keyset.
        id: String,
    },
    /// Swaps would cost; nothing here accounts for that yet.
    #[error("keyset {id} takes a fee for each swap, which is not supported: choose a seller without")]
    Fee {
        /// The keyset.
        id: String,
    },
    /// Stored or sent text that is not a keyset.
    #[error("this is not a keyset")]
    Json(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    keys: KeySet,
    active: bool,
}

impl Keyset {
    /// Checks and wraps what a seller published.
    pub fn new(keys: KeySet, active: bool) -> Result<Self, KeysetError> {
        let id = keys.id.to_string();
        if keys.unit != CurrencyUnit::custom(UNIT) {
            return Err(KeysetError::Unit { id, unit: keys.unit.to_string() });
        }
        if keys.input_fee_ppk != 0 {
            return Err(KeysetError::Fee { id });
        }
        keys.verify_id().map_err(|_| KeysetError::Id { id })?;
        Ok(Self { inner: keys, active })
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.inner.id
    }

    /// Whether the seller still signs with it.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Unix seconds after which the seller no longer honours it, if ever.
    pub fn final_expiry_unix(&self) -> Option<u64> {
        self.inner.final_expiry
    }

    /// The key for `amount` cpm, if `id` is this keyset and it has one.
    pub fn key(&self, id: Id, amount: u64) -> Option<PublicKey> {
        if id != self.inner.id {
            return None;
        }
        self.inner.keys.amount_key(amount.into())
    }

    /// Splits `amount` into the keyset's amounts, fewest first; none if it cannot be done.
    pub fn split(&self, amount: u64) -> Option<Vec<u64>> {
        let mut left = amount;
        let mut parts = Vec::new();
        for (worth, _) in self.inner.keys.keys().iter().rev() {
            let worth = worth.to_u64().max(1);
            while left >= worth && parts.len() < 1_000 {
                parts.push(worth);
                left -= worth;
            }
        }
        parts.reverse();
        (left == 0).then_some(parts)
    }

    /// For storing; [`Keyset::from_json`] reads it back.
    pub fn to_json(&self) -> String {
        let keys = &self.inner;
        serde_json::json!({ "keys": keys, "active": self.active }).to_string()
    }

    /// Reads what [`Keyset::to_json`] wrote, checking the id again.
    pub fn from_json(text: &str) -> Result<Self, KeysetError> {
        let stored: Stored = serde_json::from_str(text).map_err(KeysetError::Json)?;
        Self::new(stored.keys, stored.active)
    }
}
