//! The owner's tickets on their way to the host: kept until released, and after that until the host
//! says that it has them.

use cloudpal_core::Milli;
use cloudpal_protocol::{MAX_TICKET_BYTES, TicketText};
use serde::{Deserialize, Serialize};

/// At most this many tickets are held.
pub const MAX_HELD: usize = 2000;

/// Tickets were not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StashError {
    /// Not a ticket.
    #[error("one of these is not a ticket; nothing was added")]
    NotATicket,
    /// Too many.
    #[error("the pal holds at most {MAX_HELD} tickets; nothing was added. Send fewer, larger ones")]
    Full,
}

/// All tickets, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stash {
    held: Vec<Held>,
    /// Sent to the host and not yet counted as paid by it.
    released: Vec<Released>,
    /// Worth of everything ever released.
    released_in_all: Milli,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    text: TicketText,
    /// What makes the ticket this one and no other.
    secret: String,
    cpm: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Released {
    ticket: Held,
    /// Worth of everything released up to and with this one: once the host counts so much as paid, it has it.
    until: Milli,
}

/// The fields of a ticket that matter here; the host's till looks at the rest.
#[derive(Deserialize)]
struct Fields {
    amount: u64,
    secret: String,
}

impl Stash {
    /// Adds tickets; those known already change nothing.
    pub fn add(&mut self, tickets: Vec<TicketText>) -> Result<(), StashError> {
        let mut more = Vec::new();
        for text in tickets {
            let fields: Option<Fields> = serde_json::from_str(&text.0).ok();
            let fits = |fields: &Fields| {
                fields.amount > 0 && fields.amount < 1 << 40 && text.0.len() <= MAX_TICKET_BYTES
            };
            let Fields { amount, secret } = fields.filter(fits).ok_or(StashError::NotATicket)?;
            let known = self.knows(&secret) || more.iter().any(|other: &Held| other.secret == secret);
            if !known {
                more.push(Held { text, secret, cpm: amount });
            }
        }
        if self.held.len() + self.released.len() + more.len() > MAX_HELD {
            return Err(StashError::Full);
        }
        self.held.extend(more);
        Ok(())
    }

    fn knows(&self, secret: &str) -> bool {
        let mut all = self.held.iter().chain(self.released.iter().map(|released| &released.ticket));
        all.any(|ticket| ticket.secret == secret)
    }

    /// Whole cpm that were not released.
    pub fn held_cpm(&self) -> u64 {
        self.held.iter().fold(0, |sum, ticket| sum.saturating_add(ticket.cpm))
    }

    /// Worth of what was sent and not yet counted by the host.
    pub fn on_the_way(&self) -> Milli {
        self.released.iter().map(|released| Milli::from_cpm(released.ticket.cpm)).sum()
    }

    /// Marks tickets as released until `amount` is on the way or none is left. What was on the way before
    /// counts, and is sent again with them by [`Stash::to_send`].
    pub fn release(&mut self, amount: Milli) {
        // Smallest first gives the host no more than it is owed.
        self.held.sort_by_key(|ticket| ticket.cpm);
        while self.on_the_way() < amount {
            let missing = (amount - self.on_the_way()).ceil_cpm();
            let best =
                self.held.iter().position(|ticket| ticket.cpm >= missing).or(self.held.len().checked_sub(1));
            let Some(best) = best else { return };
            let ticket = self.held.remove(best);
            self.released_in_all += Milli::from_cpm(ticket.cpm);
            self.released.push(Released { ticket, until: self.released_in_all });
        }
    }

    /// Everything that is on the way to the host.
    pub fn to_send(&self) -> Vec<TicketText> {
        self.released.iter().map(|released| released.ticket.text.clone()).collect()
    }

    /// The host counts so much as paid: forget what it has. Whether anything changed.
    pub fn paid(&mut self, paid: Milli) -> bool {
        let before = self.released.len();
        self.released.retain(|released| released.until > paid);
        self.released.len() != before
    }

    /// Takes out tickets that were not released, at most `limit` and at most `bytes` of text.
    pub fn take(&mut self, limit: u32, bytes: usize) -> Vec<TicketText> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < limit as usize {
            let Some(ticket) = self.held.pop() else { break };
            size += ticket.text.0.len() + 4;
            if size > bytes {
                self.held.push(ticket);
                break;
            }
            taken.push(ticket.text);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(secret: u32, amount: u64) -> TicketText {
        TicketText(format!(r#"{{"amount":{amount},"id":"00","secret":"s{secret}","C":"02"}}"#))
    }

    #[test]
    fn adding_twice_changes_nothing() {
        let mut stash = Stash::default();
        stash.add(vec![ticket(1, 4), ticket(2, 2), ticket(1, 4)]).unwrap();
        assert_eq!(stash.held_cpm(), 6);
        stash.release(Milli::from_cpm(4));
        stash.add(vec![ticket(1, 4), ticket(2, 2)]).unwrap();
        assert_eq!((stash.held_cpm(), stash.on_the_way()), (2, Milli::from_cpm(4)));
        assert_eq!(stash.add(vec![ticket(3, 1), TicketText("{}".into())]), Err(StashError::NotATicket));
        assert_eq!(stash.held_cpm(), 2);
    }

    #[test]
    fn sends_again_until_the_host_counts_it() {
        let mut stash = Stash::default();
        stash.add((0..8).map(|secret| ticket(secret, 1)).collect()).unwrap();
        stash.release(Milli(2500));
        let first = stash.to_send();
        assert_eq!(first.len(), 3);
        stash.release(Milli(2500));
        assert_eq!(stash.to_send(), first, "nothing more is given while it is on the way");
        assert!(!stash.paid(Milli::ZERO));
        assert!(stash.paid(Milli::from_cpm(2)));
        assert_eq!(stash.to_send(), first[2..]);
        assert!(stash.paid(Milli::from_cpm(3)));
        stash.release(Milli(1));
        assert_eq!(stash.held_cpm(), 4);
    }

    #[test]
    fn no_ticket_is_lost_or_doubled_by_any_order_of_things() {
        let mut state = 0x1234_5678_9abc_def1u64;
        println!("seed {state:#x}");
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..200 {
            let (mut stash, mut given, mut back, mut paid, mut added) = (Stash::default(), 0, 0, 0, 0);
            for step in 0..60u32 {
                match next() % 4 {
                    0 => {
                        let worth = 1 << (next() % 6);
                        stash.add(vec![ticket(step, worth)]).unwrap();
                        added += worth;
                    }
                    1 => stash.release(Milli(next() % 20_000)),
                    2 => {
                        let until =
                            stash.released.first().map_or(paid, |released| released.until.floor_cpm());
                        given += until - paid;
                        paid = until;
                        stash.paid(Milli::from_cpm(paid));
                    }
                    _ => {
                        back += stash
                            .take(1, 4096)
                            .iter()
                            .map(|text| serde_json::from_str::<Fields>(&text.0).unwrap().amount)
                            .sum::<u64>()
                    }
                }
                let way = stash.on_the_way().floor_cpm();
                assert_eq!(added, given + back + way + stash.held_cpm(), "step {step}");
            }
        }
    }

    #[test]
    fn gives_the_smallest_ticket_that_covers() {
        let mut stash = Stash::default();
        stash.add(vec![ticket(1, 64), ticket(2, 1), ticket(3, 8)]).unwrap();
        stash.release(Milli::from_cpm(5));
        assert_eq!(stash.to_send(), vec![ticket(3, 8)]);
    }

    #[test]
    fn takes_back_only_what_was_not_released_and_fits() {
        let mut stash = Stash::default();
        stash.add((0..4).map(|secret| ticket(secret, 1)).collect()).unwrap();
        stash.release(Milli::from_cpm(1));
        assert_eq!(stash.take(9, 60).len(), 1);
        assert_eq!(stash.take(9, 4096).len(), 2);
        assert!(stash.take(9, 4096).is_empty());
    }
}
