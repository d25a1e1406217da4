//! One ticket as plain data, and the small total parser for lists of them.

use cashu::nuts::nut12::ProofDleq;
use cashu::{Id, Proof, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};

use crate::lock::{Lock, LockFormError};

/// The most tickets in one list: a seller signs at most 1,000 outputs at once, change included.
pub const MAX_TICKETS: usize = 512;

/// The longest list of tickets that is read, in bytes.
pub const MAX_TICKETS_BYTES: usize = 1 << 20;

/// The longest single ticket that is read, in bytes.
pub const MAX_TICKET_BYTES: usize = 4 << 10;

/// One locked Cashu proof with its DLEQ proof, in the JSON of NUT-00.
///
/// It is worth nothing without the key it is locked to, yet it names a pal's credit: Debug shows the
/// amount only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Whole cpm.
    pub amount: u64,
    /// The seller's keyset that signed it, lower-case hex.
    #[serde(rename = "id")]
    pub keyset: String,
    /// The NUT-10 secret, which is the lock itself; see [`Lock`].
    pub secret: String,
    /// The unblinded signature, compressed secp256k1 point in hex.
    #[serde(rename = "C")]
    pub c: String,
    /// The proof that the seller's key made the signature.
    pub dleq: Dleq,
}

/// The DLEQ proof of NUT-12 with the blinding factor, each 32 bytes in hex.
///
/// It is always that of the locking swap. That of a purchase would link buyer and pal, and never
/// leaves the purse; the purse does not even store it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dleq {
    /// Challenge.
    pub e: String,
    /// Response.
    pub s: String,
    /// Blinding factor.
    pub r: String,
}

/// A till's leave to swap one ticket back before its locktime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnSignature {
    /// The ticket's secret.
    pub secret: String,
    /// The till's Schnorr signature on it, hex (NUT-11).
    pub signature: String,
}

/// Why bytes or fields are not a ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketFormError {
    /// The list is longer than [`MAX_TICKETS_BYTES`] or [`MAX_TICKETS`].
    #[error("the list of tickets is too long: send at most {MAX_TICKETS} tickets at a time")]
    TooLong,
    /// Not JSON of a list of tickets, or with fields that do not belong.
    #[error("this is not a list of tickets")]
    Json(#[source] serde_json::Error),
    /// A field does not hold what its name says.
    #[error("the ticket's field {field} is malformed")]
    Field {
        /// The name in the JSON.
        field: &'static str,
    },
    /// The proof has no DLEQ proof with blinding factor, so that nobody but the seller could check it.
    #[error("the ticket carries no proof that the seller signed it")]
    NoDleq,
}

impl Ticket {
    /// Reads a JSON list of tickets from untrusted bytes. Total: garbage is an error, never a panic.
    pub fn parse_list(bytes: &[u8]) -> Result<Vec<Self>, TicketFormError> {
        if bytes.len() > MAX_TICKETS_BYTES {
            return Err(TicketFormError::TooLong);
        }
        let tickets: Vec<Self> = serde_json::from_slice(bytes).map_err(TicketFormError::Json)?;
        if tickets.len() > MAX_TICKETS {
            return Err(TicketFormError::TooLong);
        }
        tickets.iter().try_for_each(|ticket| ticket.to_proof().map(drop))?;
        Ok(tickets)
    }

    /// Reads one ticket from untrusted bytes, as strictly.
    pub fn parse(bytes: &[u8]) -> Result<Self, TicketFormError> {
        if bytes.len() > MAX_TICKET_BYTES {
            return Err(TicketFormError::TooLong);
        }
        let ticket: Self = serde_json::from_slice(bytes).map_err(TicketFormError::Json)?;
        ticket.to_proof()?;
        Ok(ticket)
    }

    /// The JSON that [`Ticket::parse`] reads.
    pub fn write(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The JSON that [`Ticket::parse_list`] reads.
    pub fn write_list(tickets: &[Self]) -> Vec<u8> {
        serde_json::json!(tickets).to_string().into_bytes()
    }

    /// The same as a proof of the protocol crate, every field checked for form.
    pub fn to_proof(&self) -> Result<Proof, TicketFormError> {
        let scalar = |text: &str, field| {
            plain_hex(text, 32)
                .and_then(|_| SecretKey::from_hex(text).ok())
                .ok_or(TicketFormError::Field { field })
        };
        if self.amount == 0 {
            return Err(TicketFormError::Field { field: "amount" });
        }
        let id = plain_hex(&self.keyset, 8)
            .or_else(|| plain_hex(&self.keyset, 33))
            .and_then(|()| self.keyset.parse::<Id>().ok())
            .ok_or(TicketFormError::Field { field: "id" })?;
        let c = plain_hex(&self.c, 33)
            .and_then(|()| PublicKey::from_hex(&self.c).ok())
            .ok_or(TicketFormError::Field { field: "C" })?;
        if self.secret.is_empty() || self.secret.len() > 1024 {
            return Err(TicketFormError::Field { field: "secret" });
        }
        let mut proof =
            Proof::new(self.amount.into(), id, cashu::secret::Secret::new(self.secret.as_str()), c);
        proof.dleq = Some(ProofDleq::new(
            scalar(&self.dleq.e, "dleq.e")?,
            scalar(&self.dleq.s, "dleq.s")?,
            scalar(&self.dleq.r, "dleq.r")?,
        ));
        Ok(proof)
    }

    /// A ticket from a freshly signed proof.
    pub fn from_proof(proof: &Proof) -> Result<Self, TicketFormError> {
        let dleq = proof.dleq.as_ref().ok_or(TicketFormError::NoDleq)?;
        Ok(Self {
            amount: proof.amount.to_u64(),
            keyset: proof.keyset_id.to_string(),
            secret: proof.secret.to_string(),
            c: proof.c.to_hex(),
            dleq: Dleq { e: dleq.e.to_secret_hex(), s: dleq.s.to_secret_hex(), r: dleq.r.to_secret_hex() },
        })
    }

    /// The ticket's name: NUT-00's Y, hash-to-curve of the secret, in hex. Unique for ever.
    pub fn y(&self) -> Result<String, TicketFormError> {
        cashu::dhke::hash_to_curve(self.secret.as_bytes())
            .map(|y| y.to_hex())
            .map_err(|_| TicketFormError::Field { field: "secret" })
    }

    /// To whom it is locked.
    pub fn lock(&self) -> Result<Lock, LockFormError> {
        Lock::read(&self.secret)
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({} cpm, [redacted])", self.amount)
    }
}

impl std::fmt::Debug for Dleq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dleq([redacted])")
    }
}

// One spelling only, so that equal tickets are equal texts.
fn plain_hex(text: &str, bytes: usize) -> Option<()> {
    let right = text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    right.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let scalar = "11".repeat(32);
        Ticket {
            amount: 4,
            keyset: "00d0a1b24d1c1a53".into(),
            secret: "words".into(),
            c: cashu::SecretKey::from_hex(&scalar).unwrap().public_key().to_hex(),
            dleq: Dleq { e: scalar.clone(), s: scalar.clone(), r: scalar },
        }
    }

    #[test]
    fn lists_survive_writing_and_reading() {
        let list = vec![ticket(), ticket()];
        assert_eq!(Ticket::parse_list(&Ticket::write_list(&list)).unwrap(), list);
        assert_eq!(Ticket::parse(ticket().write().as_bytes()).unwrap(), ticket());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_a_ticket_never_a_panic() {
        let bytes = Ticket::write_list(&[ticket()]);
        for end in 0..bytes.len() {
            assert!(Ticket::parse_list(&bytes[..end]).is_err());
        }
        for place in 0..bytes.len() {
            for value in [0, b'"', b'{', b'9', b'g', 0xff] {
                let mut changed = bytes.clone();
                changed[place] = value;
                let _ = Ticket::parse_list(&changed);
            }
        }
    }

    #[test]
    fn random_bytes_are_refused() {
        let seed = 0x5eed_u64;
        println!("seed {seed:#x}");
        let mut state = seed;
        for round in 0..2_000 {
            let bytes: Vec<u8> = (0..round % 97)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 56) as u8
                })
                .collect();
            assert!(Ticket::parse_list(&bytes).is_err());
        }
    }

    #[test]
    fn unknown_fields_and_oversized_lists_are_refused() {
        let text = String::from_utf8(Ticket::write_list(&[ticket()])).unwrap();
        assert!(Ticket::parse_list(text.replacen("{", "{\"witness\":\"x\",", 1).as_bytes()).is_err());
        assert!(matches!(
            Ticket::parse_list(&Ticket::write_list(&vec![ticket(); MAX_TICKETS + 1])),
            Err(TicketFormError::TooLong)
        ));
        assert!(matches!(
            Ticket::parse_list(&vec![b' '; MAX_TICKETS_BYTES + 1]),
            Err(TicketFormError::TooLong)
        ));
    }
}
