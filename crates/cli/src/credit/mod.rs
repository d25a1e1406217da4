//! What the commands need of a purse. [`Purses`] is the real thing, over crate `cloudpal-purse`; tests
//! bring one of their own.

mod purses;

pub use purses::Purses;

use crate::failure::Exit;
use cloudpal_core::PalId;
use cloudpal_protocol::TicketText;
use std::error::Error;
use zeroize::Zeroizing;

/// Why credit could not be moved. None of these loses any.
#[derive(Debug, thiserror::Error)]
pub enum CreditError {
    /// A code with a typing mistake.
    #[error("{0}")]
    Voucher(String),
    /// The seller, or the rules of tickets, say no.
    #[error("{0}")]
    Refused(String, #[source] Option<Box<dyn Error + Send + Sync>>),
    /// Not enough of it.
    #[error(
        "this takes {wanted} cpm, but the purse for {mint} has {have} cpm; buy more with `cloudpal credit buy --mint {mint}`"
    )]
    Short {
        /// Whole cpm asked for.
        wanted: u64,
        /// Whole cpm there.
        have: u64,
        /// Whose.
        mint: String,
    },
    /// The seller does not answer.
    #[error("the ticket seller {mint} does not answer; nothing is lost: run the same command again later")]
    Unreachable {
        /// Its address.
        mint: String,
        /// What happened.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The purse on this device does not work.
    #[error("{doing} failed; nothing is lost: run the same command again, or `cloudpal credit recover`")]
    Purse {
        /// What was being done.
        doing: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl CreditError {
    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            CreditError::Voucher(_) => Exit::Usage,
            CreditError::Refused(..) | CreditError::Short { .. } => Exit::Refused,
            CreditError::Unreachable { .. } => Exit::Unreachable,
            CreditError::Purse { .. } => Exit::Failed,
        }
    }
}

/// Credit with one seller, whole cpm.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Balance {
    /// The seller's address.
    pub mint: String,
    /// Free to use.
    pub free_cpm: u64,
    /// Locked to a host, but not handed over yet.
    pub locked_cpm: u64,
}

/// What to lock.
#[derive(Clone, Debug)]
pub struct LockWish<'a> {
    /// Names the lock for good, so that asking twice locks once. Ends with the pal's id.
    pub purpose: &'a str,
    /// Whose credit.
    pub mint: &'a str,
    /// Whole cpm.
    pub amount_cpm: u64,
    /// The host's till: compressed secp256k1, hex.
    pub till: &'a str,
    /// When it comes back, seconds since 1970.
    pub locktime_unix: u64,
}

/// One locked ticket.
#[derive(Clone, Debug)]
pub struct LockedTicket {
    /// Whole cpm.
    pub cpm: u64,
    /// Its JSON text.
    pub text: TicketText,
}

/// Credit that is locked to a host and that the purse keeps until it is handed over.
#[derive(Clone, Debug)]
pub struct Locked {
    /// As in [`LockWish::purpose`].
    pub purpose: String,
    /// Whose credit.
    pub mint: String,
    /// The tickets, always in the same order.
    pub tickets: Vec<LockedTicket>,
}

impl Locked {
    /// Whole cpm.
    pub fn cpm(&self) -> u64 {
        self.tickets.iter().map(|ticket| ticket.cpm).sum()
    }

    /// The least tickets worth `least_cpm`, and all others. The same tickets give the same answer, so
    /// that a repeated request is the same request.
    pub fn first_step(&self, least_cpm: u64) -> (Vec<TicketText>, Vec<TicketText>) {
        let mut order: Vec<usize> = (0..self.tickets.len()).collect();
        order.sort_by_key(|&at| (std::cmp::Reverse(self.tickets[at].cpm), &self.tickets[at].text.0));
        let (mut missing, mut first) = (least_cpm, Vec::new());
        for &at in &order {
            if missing > 0 && self.tickets[at].cpm <= missing {
                missing -= self.tickets[at].cpm;
                first.push(at);
            }
        }
        // What is left is less than any ticket not taken yet: the smallest of them covers it.
        if missing > 0 {
            first.extend(order.iter().rev().find(|at| !first.contains(at)).copied());
        }
        let texts = |wanted: bool| {
            let chosen = order.iter().filter(|&at| first.contains(at) == wanted);
            chosen.map(|&at| self.tickets[at].text.clone()).collect()
        };
        (texts(true), texts(false))
    }
}

/// A person's credit. Every method may be repeated after a kill at any point.
pub trait Credit {
    /// Turns a voucher into clean credit; how much, in whole cpm.
    fn buy(&self, mint: &str, voucher: &Zeroizing<String>) -> Result<u64, CreditError>;

    /// What there is, by seller.
    fn balances(&self) -> Result<Vec<Balance>, CreditError>;

    /// Locks credit. A lock of the same purpose that was begun before is finished instead.
    fn lock(&self, wish: &LockWish<'_>) -> Result<Locked, CreditError>;

    /// The lock of that purpose that was not handed over.
    fn pending(&self, mint: &str, purpose: &str) -> Result<Option<Locked>, CreditError>;

    /// The host has all of a lock's tickets.
    fn handed_over(&self, locked: &Locked) -> Result<(), CreditError>;

    /// Takes tickets back with the host's signatures, one for each; how much, in whole cpm.
    fn take_back(
        &self,
        mint: &str,
        tickets: &[TicketText],
        signatures: &[String],
    ) -> Result<u64, CreditError>;

    /// Tickets that were locked for a pal and not taken back, whoever holds them; some may be used up.
    fn outstanding(&self, mint: &str, pal: PalId) -> Result<Vec<TicketText>, CreditError>;

    /// Takes back what is past its locktime, whomever it was locked to; how much, in whole cpm.
    fn reclaim(&self, mint: &str) -> Result<u64, CreditError>;

    /// Finishes what was interrupted and looks for credit by the seed alone; how much is free now.
    fn recover(&self, mint: &str) -> Result<u64, CreditError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(amounts: &[u64]) -> Locked {
        let ticket =
            |(at, cpm): (usize, &u64)| LockedTicket { cpm: *cpm, text: TicketText(format!("{at}:{cpm}")) };
        let tickets = amounts.iter().enumerate().map(ticket).collect();
        Locked { purpose: "x".into(), mint: "m".into(), tickets }
    }

    fn worth(texts: &[TicketText]) -> u64 {
        texts.iter().map(|text| text.0.split_once(':').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn first_step_covers_the_least_and_wastes_less_than_its_smallest_ticket() {
        for (amounts, least, want) in [
            (vec![1, 1, 2, 4, 8], 1, 1),
            (vec![1, 1, 2, 4, 8], 7, 7),
            (vec![4, 8], 1, 4),
            (vec![4, 8], 5, 12),
            (vec![8, 8, 2], 9, 10),
            (vec![1, 2], 9, 3),
            (vec![1, 2], 0, 0),
        ] {
            let all = locked(&amounts);
            let (first, rest) = all.first_step(least);
            assert_eq!(worth(&first), want, "{amounts:?} {least}");
            assert_eq!(worth(&first) + worth(&rest), all.cpm());
            let mut shuffled = all.clone();
            shuffled.tickets.reverse();
            assert_eq!(shuffled.first_step(least), (first, rest));
        }
    }
}
