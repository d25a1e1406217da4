//! The credit note: what the seller owes a data centre, signed.

use cdk_common::nuts::{PublicKey, SecretKey};
use cdk_common::util::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

/// The seller's key for notes, from the seed by its own label.
pub(crate) struct NoteKey(SecretKey);

impl NoteKey {
    pub(crate) fn derive(seed: &[u8; 64]) -> Option<Self> {
        let digest =
            Sha256::new().chain_update(b"cloudpal mint credit note key v1").chain_update(seed).finalize();
        SecretKey::from_slice(&digest).ok().map(Self)
    }

    pub(crate) fn sign(&self, note: &CreditNote) -> Option<SignedNote> {
        let note = serde_json::to_string(note).ok()?;
        let signature = self.0.sign(note.as_bytes()).ok()?;
        let signature = hex::encode(signature.as_ref());
        Some(SignedNote { note, key: self.0.public_key(), signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_opens_and_a_changed_one_does_not() {
        let note = CreditNote { account: "dc".into(), amount: 9, quote: "q".into(), settled_unix: 1 };
        let mut signed = NoteKey::derive(&[1; 64]).unwrap().sign(&note).unwrap();
        assert_eq!(signed.open(), Some(note));
        signed.note = signed.note.replace(":9", ":99");
        assert_eq!(signed.open(), None);
    }
}
