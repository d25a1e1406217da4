//! The seller's side of settling, as Cashu's melt by method `dc-settle`.

use cashu::Proof;
use serde::Deserialize;
use serde_json::json;

use crate::seller::{Seller, SellerError};
use crate::{SETTLE_METHOD, UNIT};

/// A settlement as the seller tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Settlement {
    /// The seller's name for it.
    pub quote: String,
    /// How far it is.
    pub state: SettlementState,
    /// Once paid, the signed note as JSON: see [`crate::SignedNote`].
    #[serde(rename = "payment_preimage", default)]
    pub note: Option<String>,
}

/// How far a settlement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SettlementState {
    /// Nothing was brought.
    Unpaid,
    /// Proofs were brought, the note is not written yet.
    Pending,
    /// The note is written.
    Paid,
    /// It will not be.
    Failed,
    /// The seller does not know.
    Unknown,
}

impl Seller {
    /// Asks for a quote to settle `amount` cpm for `account`.
    pub fn settlement(&self, account: &str, amount: u64) -> Result<Settlement, SellerError> {
        let body = json!({ "method": SETTLE_METHOD, "request": account, "amount": amount, "unit": UNIT });
        self.post(&format!("/v1/melt/quote/{SETTLE_METHOD}"), "settlement quote", &body)
    }

    /// Brings `inputs` for a settlement quote. The answer is often `Pending`: ask again for the note.
    pub fn settle(&self, quote: &str, inputs: &[Proof]) -> Result<Settlement, SellerError> {
        let mut inputs = inputs.to_vec();
        inputs.iter_mut().for_each(|input| input.dleq = None);
        let body = json!({ "quote": quote, "inputs": inputs });
        self.post(&format!("/v1/melt/{SETTLE_METHOD}"), "settlement", &body)
    }

    /// How far a settlement is.
    pub fn settlement_state(&self, quote: &str) -> Result<Settlement, SellerError> {
        self.get(&format!("/v1/melt/quote/{SETTLE_METHOD}/{}", self.plain(quote)?), "settlement state")
    }
}
