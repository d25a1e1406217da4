//! Signing credit notes.

use cdk_common::nuts::SecretKey;
use cdk_common::util::hex;
use cloudpal_form::{CreditNote, SignedNote};
use sha2::{Digest, Sha256};

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
