//! The credit note: what a seller owes a data centre, signed.

use cashu::PublicKey;
use serde::{Deserialize, Serialize};

/// What the seller promises to pay, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditNote {
    /// The data centre's account with the seller, as it named itself.
    pub account: String,
    /// Whole cpm settled.
    pub amount: u64,
    /// The melt quote it answers; one note a quote.
    pub quote: String,
    /// Unix seconds.
    pub settled_unix: u64,
}

/// A credit note with the seller's Schnorr signature (secp256k1, BIP-340) over its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedNote {
    /// The note as signed, byte for byte.
    pub note: String,
    /// The seller's note key, compressed hex.
    pub key: PublicKey,
    /// The signature, hex.
    pub signature: String,
}

impl SignedNote {
    /// Reads and checks: the note, if `self` was signed by the key that it names. Compare that key with
    /// the one you know of the seller.
    pub fn open(&self) -> Option<CreditNote> {
        let signature = self.signature.parse().ok()?;
        self.key.verify(self.note.as_bytes(), &signature).ok()?;
        serde_json::from_str(&self.note).ok()
    }
}
