//! Taking locked tickets back: by the data centre's leave at once, or alone after the locktime.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use cashu::nuts::nut00::Witness;
use cashu::nuts::nut07::State;
use cashu::nuts::nut11::P2PKWitness;
use cashu::{Proof, ProofsMethods};
use cloudpal_form::{Lock, LockFormError, MAX_TICKETS, ReturnSignature, Ticket, TicketFormError};

use crate::core::{Core, WorkError};

/// By what right tickets are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// The locktime is over: the purse's own refund key will do.
    Locktime,
    /// The till signed for each ticket that it gives it back.
    Signed(Vec<ReturnSignature>),
}

/// What came back, in cpm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Back in the balance.
    pub amount: u64,
    /// Spent by the data centre before.
    pub gone: u64,
}

/// Why tickets were not taken back; then they are as before.
#[derive(Debug, thiserror::Error)]
pub enum ReclaimError {
    /// Too many.
    #[error("take back at most {MAX_TICKETS} tickets at a time")]
    TooMany,
    /// Not a ticket.
    #[error(transparent)]
    Ticket(#[from] TicketFormError),
    /// Not locked in the way the purse locks.
    #[error(transparent)]
    Form(#[from] LockFormError),
    /// Another purse's ticket.
    #[error("ticket {number} was locked by another purse: only that can take it back")]
    NotOurs {
        /// Which, counted from 1.
        number: usize,
    },
    /// Too early.
    #[error("ticket {number} is locked until {until_unix} (Unix seconds): wait, or ask the data centre")]
    TooEarly {
        /// Which, counted from 1.
        number: usize,
        /// When.
        until_unix: u64,
    },
    /// The data centre's signature is missing or wrong.
    #[error(
        "the data centre gave no valid signature for ticket {number}: ask again, or wait for the locktime"
    )]
    Signature {
        /// Which, counted from 1.
        number: usize,
    },
    /// Something passing; recover finishes or undoes it.
    #[error("taking back did not finish: recover, then look at the balance")]
    Work(#[source] WorkError),
}

impl<E: Into<WorkError>> From<E> for ReclaimError {
    fn from(error: E) -> Self {
        Self::Work(error.into())
    }
}

impl Core {
    pub(crate) fn reclaim(&self, tickets: &[Ticket], leave: &Leave) -> Result<Reclaimed, ReclaimError> {
        if tickets.len() > MAX_TICKETS {
            return Err(ReclaimError::TooMany);
        }
        let proofs = self.released(tickets, leave)?;
        let _turn = self.turn()?;
        self.finish_exchanges()?;
        self.restore_if_new()?;

        let mut reclaimed = Reclaimed::default();
        let mut inputs = self.unspent(proofs, &mut reclaimed)?;
        // What an earlier call took back already is neither ours to take nor gone.
        let mut known = Vec::new();
        for proof in inputs.drain(..) {
            let name = self.names(std::slice::from_ref(&proof))?.remove(0);
            if self.ticket_state(&name)?.as_deref() != Some("RECLAIMED") {
                known.push(proof);
            }
        }
        if known.is_empty() {
            return Ok(reclaimed);
        }
        reclaimed.amount = self.swap_to_keep(known)?;
        Ok(reclaimed)
    }

    /// The tickets as proofs with the witness that opens their lock.
    fn released(&self, tickets: &[Ticket], leave: &Leave) -> Result<Vec<Proof>, ReclaimError> {
        let refund = Lock::refund_key(&self.seed)?;
        let signatures: HashMap<&str, &str> = match leave {
            Leave::Locktime => HashMap::new(),
            Leave::Signed(list) => {
                list.iter().map(|one| (one.secret.as_str(), one.signature.as_str())).collect()
            }
        };
        let now_unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut proofs = Vec::with_capacity(tickets.len());
        for (place, ticket) in tickets.iter().enumerate() {
            let number = place + 1;
            let lock = ticket.lock()?;
            if lock.refund != refund.public_key() {
                return Err(ReclaimError::NotOurs { number });
            }
            let mut proof = ticket.to_proof()?;
            proof.dleq = None;
            match leave {
                Leave::Locktime if lock.locktime_unix >= now_unix => {
                    return Err(ReclaimError::TooEarly { number, until_unix: lock.locktime_unix });
                }
                Leave::Locktime => {
                    let sign = proof.sign_p2pk(refund.clone());
                    sign.map_err(|_| ReclaimError::Signature { number })?;
                }
                Leave::Signed(_) => {
                    let given = signatures.get(ticket.secret.as_str());
                    let given = given.ok_or(ReclaimError::Signature { number })?;
                    let signatures = vec![(*given).to_owned()];
                    proof.witness = Some(Witness::P2PKWitness(P2PKWitness { signatures }));
                    proof.verify_p2pk().map_err(|_| ReclaimError::Signature { number })?;
                }
            }
            proofs.push(proof);
        }
        Ok(proofs)
    }

    /// Leaves out what the seller says is spent, and notes it. The seller learns nothing by this that
    /// the swap which follows does not tell it.
    fn unspent(&self, proofs: Vec<Proof>, reclaimed: &mut Reclaimed) -> Result<Vec<Proof>, ReclaimError> {
        if proofs.is_empty() {
            return Ok(proofs);
        }
        let ys = proofs.ys().map_err(|_| self.book.damaged("ticket"))?;
        let states = self.clean.states(&ys)?;
        let mut left = Vec::with_capacity(proofs.len());
        for ((proof, y), state) in proofs.into_iter().zip(ys).zip(states) {
            if state != State::Spent {
                left.push(proof);
                continue;
            }
            let name = y.to_hex();
            if self.ticket_state(&name)?.as_deref() != Some("RECLAIMED") {
                reclaimed.gone += proof.amount.to_u64();
                self.book
                    .write(|rows| rows.execute("UPDATE ticket SET state = 'GONE' WHERE y = ?1", [&name]))?;
            }
        }
        Ok(left)
    }
}
