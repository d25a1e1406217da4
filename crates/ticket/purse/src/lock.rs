//! Locking tickets to one data centre, and the journal of what was locked.

use cashu::PublicKey;
use cloudpal_form::{Blank, Keyset, Lock, LockFormError, MAX_TICKETS, Ticket};

use crate::book::BookError;
use crate::core::{Core, TRIES, WorkError};
use crate::work::{Exchange, Role};

const ONES: u64 = 64;
const PROBE: u32 = 100;
const CROWDED: usize = 256;

/// What to lock, to whom, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRequest {
    /// The tickets wanted, each an amount in cpm that the seller makes (a power of two); at most 512.
    /// [`step_amounts`] picks some suited to release step by step.
    pub amounts: Vec<u64>,
    /// The data centre's key, compressed secp256k1 in hex.
    pub till_pubkey: String,
    /// Unix seconds from which the purse may take back what is left without the data centre.
    pub locktime_unix: u64,
    /// The data centre, for the journal.
    pub host: String,
    /// The pal they will pay for, for the journal.
    pub pal: String,
}

/// A locked ticket as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedTicket {
    /// Its name: Y in hex.
    pub id: String,
    /// The ticket.
    pub ticket: Ticket,
    /// The data centre it was locked for.
    pub host: String,
    /// The pal it was locked for.
    pub pal: String,
    /// Unix seconds from which it can be taken back.
    pub locktime_unix: u64,
}

/// Why nothing was locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The request names no amount, or too many, or zero.
    #[error("name between 1 and {MAX_TICKETS} amounts above zero")]
    Amounts,
    /// Not a key.
    #[error("the data centre's key is not a compressed secp256k1 key in hex: ask for it again")]
    Key,
    /// The purse holds too little.
    #[error("the purse holds {balance} cpm, {asked} are needed: buy {} more", asked - balance)]
    TooLittle {
        /// What is there to lock.
        balance: u64,
        /// What was asked.
        asked: u64,
    },
    /// The refund key could not be derived.
    #[error(transparent)]
    Form(#[from] LockFormError),
    /// Something passing; nothing was locked, or it will be found by recover.
    #[error("locking did not finish: recover, then look at what is unfinished")]
    Work(#[source] WorkError),
}

impl<E: Into<WorkError>> From<E> for LockError {
    fn from(error: E) -> Self {
        Self::Work(error.into())
    }
}

/// Amounts for release step by step: up to 64 ones, the rest in powers of two, smallest first.
pub fn step_amounts(total: u64) -> Vec<u64> {
    let ones = total.min(ONES);
    let mut amounts = vec![1; ones as usize];
    amounts.extend((0..u64::BITS).map(|bit| 1 << bit).filter(|part| (total - ones) & part != 0));
    amounts
}

impl Core {
    pub(crate) fn lock(&self, request: &LockRequest) -> Result<Vec<Ticket>, LockError> {
        if !(1..=MAX_TICKETS).contains(&request.amounts.len()) || request.amounts.contains(&0) {
            return Err(LockError::Amounts);
        }
        let asked = request.amounts.iter().try_fold(0u64, |sum, amount| sum.checked_add(*amount));
        let asked = asked.ok_or(LockError::Amounts)?;
        let lock = self.lock_for(&request.till_pubkey, request.locktime_unix)?;
        let _turn = self.turn()?;
        self.finish_exchanges()?;
        self.restore_if_new()?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.lock_once(request, &lock, asked) {
                Err(LockError::Work(error)) if tries < TRIES && self.mend(&error)? => {}
                other => return other,
            }
        }
    }

    fn lock_once(&self, request: &LockRequest, lock: &Lock, asked: u64) -> Result<Vec<Ticket>, LockError> {
        self.make_clean()?;
        let mut free = self.proofs("CLEAN")?;
        if free.len() > CROWDED {
            // A seller takes a thousand at most; the smallest ones are swapped into a few large ones.
            self.swap_to_keep(free.split_off(free.len().saturating_sub(MAX_TICKETS)))?;
            free = self.proofs("CLEAN")?;
        }
        let mut inputs = Vec::new();
        let mut total = 0;
        for proof in free {
            if total >= asked {
                break;
            }
            total += proof.amount.to_u64();
            inputs.push(proof);
        }
        if total < asked {
            return Err(LockError::TooLittle { balance: total, asked });
        }
        let (keysets, active) = self.keysets()?;
        for amount in &request.amounts {
            active.key(active.id(), *amount).ok_or(WorkError::Amount(*amount))?;
        }
        let count = request.amounts.len() as u32;
        let first = self.lock_indices(&active, lock, count)?;
        let mut blanks = Vec::new();
        for (index, amount) in (first..).zip(&request.amounts) {
            let blank = Blank::locked(&self.seed, active.id(), lock, index, *amount);
            blanks.push((blank.map_err(WorkError::Blank)?, Role::Ticket));
        }
        let change = self.plain_blanks(&active, total - asked)?;
        blanks.extend(change.into_iter().map(|blank| (blank, Role::Keep)));
        // In order of amount, so that the order does not tell change from ticket (NUT-03).
        blanks.sort_by_key(|(blank, _)| blank.amount());

        let exchange = Exchange { inputs, blanks, host: request.host.clone(), pal: request.pal.clone() };
        Ok(self.begin(exchange, &keysets)?)
    }

    pub(crate) fn lock_for(&self, till_pubkey: &str, locktime_unix: u64) -> Result<Lock, LockError> {
        let to = PublicKey::from_hex(till_pubkey).map_err(|_| LockError::Key)?;
        let refund = Lock::refund_key(&self.seed)?.public_key();
        Ok(Lock { to, locktime_unix, refund })
    }

    /// Takes `count` indices for secrets of this lock. At the first use of a lock the seller is asked
    /// which are used, for an earlier purse from the same seed words may have locked so before.
    fn lock_indices(&self, keyset: &Keyset, lock: &Lock, count: u32) -> Result<u32, WorkError> {
        let name = format!("{} {} {}", keyset.id(), lock.to.to_hex(), lock.locktime_unix);
        if self.book.counter(&name)?.is_none() {
            let used = self.find_locked(keyset, lock)?;
            self.book.raise_counter(&name, used.last().map_or(0, |(index, _)| index + 1))?;
        }
        Ok(self.book.take(&name, count)?)
    }

    /// All proofs that were ever made of this lock, by index.
    pub(crate) fn find_locked(
        &self,
        keyset: &Keyset,
        lock: &Lock,
    ) -> Result<Vec<(u32, cashu::Proof)>, WorkError> {
        let mut found = Vec::new();
        for batch in 0.. {
            let mut blanks = Vec::new();
            for index in batch * PROBE..(batch + 1) * PROBE {
                blanks.push((index, Blank::locked(&self.seed, keyset.id(), lock, index, 0)?));
            }
            let restored = self.restore_batch(&self.clean, keyset, blanks)?;
            if restored.is_empty() {
                break;
            }
            found.extend(restored);
        }
        Ok(found)
    }

    pub(crate) fn unfinished(&self) -> Result<Vec<LockedTicket>, BookError> {
        self.tickets_in("LOCKED")
    }

    pub(crate) fn handed(&self) -> Result<Vec<LockedTicket>, BookError> {
        self.tickets_in("HANDED")
    }

    pub(crate) fn handed_over(&self, ids: &[String]) -> Result<(), BookError> {
        self.book.write(|rows| {
            for id in ids {
                rows.execute("UPDATE ticket SET state = 'HANDED' WHERE y = ?1 AND state = 'LOCKED'", [id])?;
            }
            Ok(())
        })
    }

    fn tickets_in(&self, state: &str) -> Result<Vec<LockedTicket>, BookError> {
        type Row = (String, String, String, String, i64);
        let rows: Vec<Row> = self.book.read(|rows| {
            rows.prepare(
                "SELECT y, ticket, host, pal, locktime_unix FROM ticket WHERE state = ?1 ORDER BY amount, y",
            )?
            .query_map([state], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
            .collect()
        })?;
        rows.into_iter()
            .map(|(id, ticket, host, pal, locktime)| {
                let ticket = serde_json::from_str(&ticket).map_err(|_| self.book.damaged("ticket"))?;
                Ok(LockedTicket { id, ticket, host, pal, locktime_unix: locktime as u64 })
            })
            .collect()
    }
}
