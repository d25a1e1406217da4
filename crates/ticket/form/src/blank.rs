//! A blank: the secret and blinding of a proof that the seller has yet to sign.
//!
//! Whoever stored its blanks before sending them can always finish: the seller hands out the same
//! signatures again to whoever shows the same blinded outputs (NUT-09).

use cashu::dhke::{blind_message, unblind_message};
use cashu::nuts::nut12::ProofDleq;
use cashu::secret::Secret;
use cashu::{BlindSignature, BlindedMessage, Id, Proof, SecretKey};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keyset::Keyset;
use crate::lock::Lock;

/// Secret and blinding factor of one output. Serialised only into its owner's own store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blank {
    amount: u64,
    keyset: Id,
    secret: Secret,
    r: SecretKey,
}

/// Why a blank could not be made or finished.
#[derive(Debug, thiserror::Error)]
pub enum BlankError {
    /// Deriving a secret failed; it happens once in 2^127 counters.
    #[error("no secret can be derived at this counter: take the next")]
    Derive,
    /// The blank's secret does not map to the curve.
    #[error("the blank could not be blinded")]
    Blind(#[source] cashu::dhke::Error),
    /// The seller signed another amount or with another keyset than asked.
    #[error("the seller signed something other than what was asked: report this seller, and keep your state")]
    Mismatch,
    /// The signature lacks a valid DLEQ proof: perhaps made by a key of its own to recognise the buyer.
    #[error("the seller's signature is not by its published key: report this seller, and keep your state")]
    Dleq(#[source] cashu::nuts::nut12::Error),
}

impl Blank {
    /// A blank whose secret derives from the seed by NUT-13, so any Cashu wallet could restore it.
    pub fn plain(seed: &[u8; 64], keyset: Id, counter: u32, amount: u64) -> Result<Self, BlankError> {
        Ok(Self {
            amount,
            keyset,
            secret: Secret::from_seed(seed, keyset, counter).map_err(|_| BlankError::Derive)?,
            r: SecretKey::from_seed(seed, keyset, counter).map_err(|_| BlankError::Derive)?,
        })
    }

    /// A locked blank. It derives from the seed, the lock and an index, so that whoever still has the
    /// seed and knows to whom and until when it was locked can restore it.
    pub fn locked(
        seed: &[u8; 64],
        keyset: Id,
        lock: &Lock,
        index: u32,
        amount: u64,
    ) -> Result<Self, BlankError> {
        let context = format!("{keyset} {} {}", lock.to.to_hex(), lock.locktime_unix);
        let nonce = labelled(seed, &format!("cloudpal purse lock nonce v1 {context}"), index);
        let r = labelled_key(seed, &format!("cloudpal purse lock blinding v1 {context}"), index)?;
        Ok(Self { amount, keyset, secret: Secret::new(lock.secret(&hex::encode(nonce.as_slice()))), r })
    }

    /// A blank from 64 bytes of the operating system's randomness, for owners without a seed.
    pub fn from_entropy(keyset: Id, amount: u64, entropy: &[u8; 64]) -> Result<Self, BlankError> {
        let nonce = labelled(entropy, "cloudpal random secret v1", 0);
        Ok(Self {
            amount,
            keyset,
            secret: Secret::new(hex::encode(nonce.as_slice())),
            r: labelled_key(entropy, "cloudpal random blinding v1", 0)?,
        })
    }

    /// Whole cpm.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The keyset that shall sign it.
    pub fn keyset(&self) -> Id {
        self.keyset
    }

    /// What goes to the seller.
    pub fn blinded(&self) -> Result<BlindedMessage, BlankError> {
        let (point, _) =
            blind_message(self.secret.as_bytes(), Some(self.r.clone())).map_err(BlankError::Blind)?;
        Ok(BlindedMessage::new(self.amount.into(), self.keyset, point))
    }

    /// The same blank with the amount that the seller once signed; for restoring from the seed.
    pub fn worth(mut self, amount: u64) -> Self {
        self.amount = amount;
        self
    }

    /// Turns the seller's signature into a proof. The DLEQ proof is checked on each: it shows that the
    /// published key signed, and not one that marks this buyer.
    pub fn finish(&self, signature: &BlindSignature, keyset: &Keyset) -> Result<Proof, BlankError> {
        if signature.amount.to_u64() != self.amount || signature.keyset_id != self.keyset {
            return Err(BlankError::Mismatch);
        }
        let key = keyset.key(self.keyset, self.amount).ok_or(BlankError::Mismatch)?;
        let blinded = self.blinded()?.blinded_secret;
        signature.verify_dleq(key, blinded).map_err(BlankError::Dleq)?;
        let c = unblind_message(&signature.c, &self.r, &key).map_err(BlankError::Blind)?;
        let mut proof = Proof::new(self.amount.into(), self.keyset, self.secret.clone(), c);
        proof.dleq = signature.dleq.clone().map(|dleq| ProofDleq::new(dleq.e, dleq.s, self.r.clone()));
        Ok(proof)
    }
}

impl std::fmt::Debug for Blank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blank({} cpm, [redacted])", self.amount)
    }
}

pub(crate) fn labelled_key(seed: &[u8; 64], label: &str, index: u32) -> Result<SecretKey, BlankError> {
    SecretKey::from_slice(labelled(seed, label, index).as_slice()).map_err(|_| BlankError::Derive)
}

fn labelled(seed: &[u8; 64], label: &str, index: u32) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, seed)
        .expand_multi_info(&[label.as_bytes(), &[0], &index.to_be_bytes()], out.as_mut())
        .expect("32 bytes is a length that HKDF-SHA256 can give");
    out
}
