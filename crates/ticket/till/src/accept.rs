//! Checking tickets offline and taking them.

use std::collections::{HashMap, HashSet};

use cloudpal_form::{Keyset, LockFormError, MAX_TICKETS, Ticket, TicketFormError};
use rusqlite::{OptionalExtension, params};

use crate::store::StoreError;
use crate::till::Till;

/// How long before its lock ends a ticket must be redeemed at the latest: three days.
pub const MARGIN_SECS: u64 = 3 * 24 * 3600;

/// By what a ticket is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The time, in Unix seconds.
    pub now_unix: u64,
    /// Lock and keyset must last at least this long from now: the service it pays for and time to settle.
    pub margin_secs: u64,
}

impl Terms {
    /// At `now_unix`, with [`MARGIN_SECS`].
    pub fn at(now_unix: u64) -> Self {
        Self { now_unix, margin_secs: MARGIN_SECS }
    }
}

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The worth of the tickets, in cpm; the same however often they are sent.
    pub amount: u64,
    /// The part of it that was not accepted before. Credit the pal by this.
    pub fresh: u64,
}

/// Why tickets were not accepted; then none of the list was.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// No ticket was sent.
    #[error("no ticket was sent")]
    Empty,
    /// Too many.
    #[error("too many tickets: send at most {MAX_TICKETS} at a time")]
    TooMany,
    /// One of them is not good.
    #[error("ticket {number} of {amount} cpm was refused: {fault}; none of the list was taken")]
    Ticket {
        /// Which, counted from 1.
        number: usize,
        /// Its worth by its own account.
        amount: u64,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a ticket.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A field is not what it should be.
    #[error("it is malformed")]
    Malformed(#[source] TicketFormError),
    /// Its keyset is of no trusted seller, or not of unit cpm (only cpm keysets can be trusted).
    #[error("it is from a seller that this data centre does not trust, or not in compute-minutes")]
    ForeignMint,
    /// The keyset has no such amount.
    #[error("the seller does not make tickets of this amount")]
    Amount,
    /// The lock is not of the accepted form.
    #[error("{0}")]
    Form(#[source] LockFormError),
    /// It is locked to another key.
    #[error("it is locked to another data centre")]
    ForeignLock,
    /// The lock ends too soon.
    #[error("its lock ends too soon: lock tickets until {needed_unix} (Unix seconds) or later")]
    Locktime {
        /// The earliest that would do.
        needed_unix: u64,
    },
    /// The keyset ends too soon.
    #[error("its keyset expires too soon: swap at the seller for a newer one")]
    Keyset,
    /// The DLEQ proof does not hold: amount, secret, signature or proof is not as the seller made it.
    #[error("the seller's signature on it does not hold")]
    Proof(#[source] cashu::nuts::nut12::Error),
    /// The list names it twice.
    #[error("the list names it twice")]
    Twice,
    /// It was accepted from another pal.
    #[error("it has been spent already")]
    Spent,
    /// It was given back to its owner.
    #[error("it has been given back to its owner")]
    Returned,
}

struct Checked<'a> {
    ticket: &'a Ticket,
    number: usize,
    y: String,
    seller: String,
    locktime_unix: u64,
}

impl Checked<'_> {
    fn refuse(&self, fault: Fault) -> AcceptError {
        AcceptError::Ticket { number: self.number, amount: self.ticket.amount, fault }
    }
}

impl Till {
    /// Judges offered tickets as [`Till::accept`] would, from their form alone; records nothing.
    pub fn check(&self, tickets: &[Ticket], terms: &Terms) -> Result<u64, AcceptError> {
        let checked = self.check_each(tickets, terms)?;
        Ok(checked.iter().map(|checked| checked.ticket.amount).sum())
    }

    /// Takes tickets for `pal`: all, or none. Sending the same again for the same pal gives the same
    /// answer and counts once.
    pub fn accept(&self, pal: &str, tickets: &[Ticket], terms: &Terms) -> Result<Accepted, AcceptError> {
        let checked = self.check_each(tickets, terms)?;
        self.store.write(|rows| {
            let sqlite = |source| AcceptError::Store(self.store.sqlite(source));
            let mut accepted = Accepted { amount: 0, fresh: 0 };
            for checked in &checked {
                accepted.amount += checked.ticket.amount;
                let returned: bool = rows
                    .query_row("SELECT EXISTS (SELECT 1 FROM returned WHERE y = ?1)", [&checked.y], |row| {
                        row.get(0)
                    })
                    .map_err(sqlite)?;
                if returned {
                    return Err(checked.refuse(Fault::Returned));
                }
                let seen: Option<String> = rows
                    .query_row("SELECT pal FROM ticket WHERE y = ?1", [&checked.y], |row| row.get(0))
                    .optional()
                    .map_err(sqlite)?;
                match seen {
                    Some(owner) if owner == pal => continue,
                    Some(_) => return Err(checked.refuse(Fault::Spent)),
                    None => {}
                }
                rows.execute(
                    "INSERT INTO ticket (y, pal, seller, amount, json, locktime_unix, state)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'HELD')",
                    params![
                        checked.y,
                        pal,
                        checked.seller,
                        checked.ticket.amount as i64,
                        serde_json::json!(checked.ticket).to_string(),
                        checked.locktime_unix as i64,
                    ],
                )
                .map_err(sqlite)?;
                accepted.fresh += checked.ticket.amount;
            }
            Ok(accepted)
        })
    }

    fn check_each<'a>(&self, tickets: &'a [Ticket], terms: &Terms) -> Result<Vec<Checked<'a>>, AcceptError> {
        match tickets.len() {
            0 => return Err(AcceptError::Empty),
            1..=MAX_TICKETS => {}
            _ => return Err(AcceptError::TooMany),
        }
        let mut keysets = HashMap::new();
        let mut named = HashSet::new();
        let mut checked = Vec::with_capacity(tickets.len());
        for (place, ticket) in tickets.iter().enumerate() {
            let number = place + 1;
            let refuse = |fault| AcceptError::Ticket { number, amount: ticket.amount, fault };
            if !keysets.contains_key(&ticket.keyset) {
                keysets.insert(ticket.keyset.clone(), self.keyset(&ticket.keyset)?);
            }
            let known = keysets.get(&ticket.keyset).and_then(Option::as_ref);
            let (y, locktime_unix) = self.check_one(ticket, known, terms).map_err(refuse)?;
            if !named.insert(y.clone()) {
                return Err(refuse(Fault::Twice));
            }
            let seller = known.map(|(seller, _)| seller.clone()).unwrap_or_default();
            checked.push(Checked { ticket, number, y, seller, locktime_unix });
        }
        Ok(checked)
    }

    /// The ticket's name and locktime, if it is good. The costly check comes last.
    fn check_one(
        &self,
        ticket: &Ticket,
        known: Option<&(String, Keyset)>,
        terms: &Terms,
    ) -> Result<(String, u64), Fault> {
        let proof = ticket.to_proof().map_err(Fault::Malformed)?;
        let (_, keyset) = known.ok_or(Fault::ForeignMint)?;
        let key = keyset.key(proof.keyset_id, ticket.amount).ok_or(Fault::Amount)?;
        let lock = ticket.lock().map_err(Fault::Form)?;
        if lock.to != self.point() {
            return Err(Fault::ForeignLock);
        }
        let needed_unix = terms.now_unix.saturating_add(terms.margin_secs);
        if lock.locktime_unix < needed_unix || i64::try_from(lock.locktime_unix).is_err() {
            return Err(Fault::Locktime { needed_unix });
        }
        if keyset.final_expiry_unix().is_some_and(|expiry| expiry < needed_unix) {
            return Err(Fault::Keyset);
        }
        proof.verify_dleq(key).map_err(Fault::Proof)?;
        Ok((ticket.y().map_err(Fault::Malformed)?, lock.locktime_unix))
    }
}
