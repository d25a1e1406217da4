//! Turning proofs into other proofs, safe to repeat after any crash.
//!
//! ```text
//!   caller stores inputs and blanks
//!        |
//!        v          signatures
//!      swap ------------------------------> finish, done
//!        | refused                            ^
//!        v                  all signed,       |
//!      look at the inputs, then --------------+
//!      restore the blanks    inputs spent
//!        | none signed
//!        v
//!      inputs: all unspent -> Refused (roll back)
//!              some spent  -> Spent   (someone else took them)
//!              pending     -> Unfinished (ask again later)
//! ```
//!
//! No answer at all is always `Unfinished`: the caller keeps its record and calls again.

use cashu::nuts::nut07::State;
use cashu::{BlindSignature, BlindedMessage, Proof, PublicKey};

use crate::blank::{Blank, BlankError};
use crate::keyset::Keyset;
use crate::seller::{Seller, SellerError};

/// Why an exchange did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Its outcome is unknown yet. Keep the record and call again with the same inputs and blanks.
    #[error("the exchange is not finished yet: try again later, nothing is lost")]
    Unfinished(#[source] SellerError),
    /// It did not happen and will not: the inputs are still good.
    #[error("the seller did not accept the exchange; the tickets are still yours")]
    Refused(#[source] SellerError),
    /// These inputs, by Y in hex, were spent elsewhere; the rest are still good.
    #[error("{} of the tickets have been spent already", .0.len())]
    Spent(Vec<String>),
    /// The blanks had been signed before in another exchange; the inputs are still good. The counter
    /// lags behind the seed: restore from the seed first.
    #[error("these secrets were used before: restore the purse from its seed words, then try again")]
    BlanksUsed,
    /// The seller's signatures do not hold.
    #[error(transparent)]
    Blank(#[from] BlankError),
}

/// Exchanges `inputs` for proofs on `blanks`, which must be worth the same and be stored already.
pub fn exchange(
    seller: &Seller,
    keysets: &[Keyset],
    inputs: &[Proof],
    blanks: &[Blank],
) -> Result<Vec<Proof>, ExchangeError> {
    let outputs = blinded(blanks)?;
    let refusal = match seller.swap(inputs, outputs.clone()) {
        Ok(signatures) => return finish(seller, keysets, blanks, &signatures),
        Err(refusal @ SellerError::Refused { .. }) => refusal,
        Err(other) => return Err(ExchangeError::Unfinished(other)),
    };

    // An earlier try of the same exchange may be finishing at the seller right now, so the order matters:
    // what is spent before it is asked what was signed has been signed by then.
    let ys = ys_of(inputs)?;
    let Some(mut spent) = spent(seller, &ys)? else { return Err(ExchangeError::Unfinished(refusal)) };
    let signed = signed_before(seller, &outputs)?;
    if signed.is_some() && spent.len() < inputs.len() {
        let Some(again) = self::spent(seller, &ys)? else { return Err(ExchangeError::Unfinished(refusal)) };
        spent = again;
    }
    match signed {
        Some(signatures) if spent.len() == inputs.len() => finish(seller, keysets, blanks, &signatures),
        Some(_) => Err(ExchangeError::BlanksUsed),
        None if spent.is_empty() => Err(ExchangeError::Refused(refusal)),
        None => Err(ExchangeError::Spent(spent)),
    }
}

/// Fetches the proofs that a paid quote entitles to, on `blanks` that are stored already.
pub fn issue(
    seller: &Seller,
    keysets: &[Keyset],
    quote: &str,
    blanks: &[Blank],
) -> Result<Vec<Proof>, ExchangeError> {
    let outputs = blinded(blanks)?;
    match seller.mint(quote, outputs.clone()) {
        Ok(signatures) => finish(seller, keysets, blanks, &signatures),
        Err(refusal @ SellerError::Refused { .. }) => {
            let Some(signatures) = signed_before(seller, &outputs)? else {
                return Err(ExchangeError::Refused(refusal));
            };
            // Signed, but for this quote? If it has given nothing yet, they were signed for another, by a
            // purse from the same seed words, and taking them would forfeit the quote.
            match seller.quote_state(quote).map_err(ExchangeError::Unfinished)?.amount_issued {
                0 => Err(ExchangeError::BlanksUsed),
                _ => finish(seller, keysets, blanks, &signatures),
            }
        }
        Err(other) => Err(ExchangeError::Unfinished(other)),
    }
}

/// Which inputs are spent, by Y in hex; none while any is pending.
fn spent(seller: &Seller, ys: &[PublicKey]) -> Result<Option<Vec<String>>, ExchangeError> {
    let states = seller.states(ys).map_err(ExchangeError::Unfinished)?;
    if states.iter().any(|state| matches!(state, State::Pending | State::PendingSpent)) {
        return Ok(None);
    }
    let spent = ys.iter().zip(&states).filter(|(_, state)| **state == State::Spent);
    Ok(Some(spent.map(|(y, _)| y.to_hex()).collect()))
}

/// All signatures on `outputs` in order, or none if not every one was signed.
fn signed_before(
    seller: &Seller,
    outputs: &[BlindedMessage],
) -> Result<Option<Vec<BlindSignature>>, ExchangeError> {
    let known = seller.restore(outputs.to_vec()).map_err(ExchangeError::Unfinished)?;
    Ok(outputs.iter().map(|output| known.get(&output.blinded_secret).cloned()).collect())
}

fn finish(
    seller: &Seller,
    keysets: &[Keyset],
    blanks: &[Blank],
    signatures: &[BlindSignature],
) -> Result<Vec<Proof>, ExchangeError> {
    if signatures.len() != blanks.len() {
        let url = seller.url().to_owned();
        return Err(ExchangeError::Unfinished(SellerError::Malformed { url, call: "swap" }));
    }
    blanks
        .iter()
        .zip(signatures)
        .map(|(blank, signature)| {
            let keyset = keysets.iter().find(|keyset| keyset.id() == blank.keyset());
            Ok(blank.finish(signature, keyset.ok_or(BlankError::Mismatch)?)?)
        })
        .collect()
}

fn blinded(blanks: &[Blank]) -> Result<Vec<BlindedMessage>, BlankError> {
    blanks.iter().map(Blank::blinded).collect()
}

fn ys_of(inputs: &[Proof]) -> Result<Vec<PublicKey>, BlankError> {
    inputs
        .iter()
        .map(|input| cashu::dhke::hash_to_curve(input.secret.as_bytes()).map_err(BlankError::Blind))
        .collect()
}
