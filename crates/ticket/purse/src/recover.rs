//! Finishing what was cut short, and restoring from the seed words alone.

use cashu::Proof;
use cashu::ProofsMethods;
use cashu::nuts::nut07::State;
use cloudpal_form::{Blank, Keyset, Seller, Ticket};

use crate::book::{BookError, insert_proof};
use crate::buy::BuyError;
use crate::core::{Core, WorkError};
use crate::lock::LockError;
use crate::work::{Work, insert_ticket};

const BATCH: u32 = 100;
// NUT-13's advice: three empty batches of a hundred are the end.
const EMPTY_BATCHES: u32 = 3;

/// What recovering did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Pieces of work finished or undone.
    pub finished: usize,
    /// Brought back from the seed, in cpm.
    pub restored: u64,
}

/// Why recovering did not finish. What it had not reached is still noted: recover again.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A purchase.
    #[error(transparent)]
    Buy(#[from] BuyError),
    /// A lock that is being restored.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Anything else.
    #[error("recovering did not finish: try again when the seller can be reached")]
    Work(#[source] WorkError),
}

impl From<WorkError> for RecoverError {
    fn from(error: WorkError) -> Self {
        Self::Work(error)
    }
}

impl From<BookError> for RecoverError {
    fn from(error: BookError) -> Self {
        Self::Work(error.into())
    }
}

impl Core {
    pub(crate) fn recover(&self) -> Result<Recovered, RecoverError> {
        let _turn = self.turn()?;
        let finished = self.finish_works()?;
        let restored = self.restore()?;
        self.make_clean()?;
        self.renew()?;
        Ok(Recovered { finished, restored })
    }

    /// Swaps what an outgoing keyset signed into the one in use, before it expires.
    fn renew(&self) -> Result<(), WorkError> {
        let mut old = self.proofs("CLEAN")?;
        if old.is_empty() {
            return Ok(());
        }
        let (_, active) = self.keysets()?;
        old.retain(|proof| proof.keyset_id != active.id());
        for inputs in old.chunks(cloudpal_form::MAX_TICKETS) {
            self.swap_to_keep(inputs.to_vec())?;
        }
        Ok(())
    }

    /// Finishes or undoes noted work without looking for anything else.
    pub(crate) fn check_pending(&self) -> Result<usize, RecoverError> {
        let _turn = self.turn()?;
        self.finish_works()
    }

    fn finish_works(&self) -> Result<usize, RecoverError> {
        let mut finished = self.finish_exchanges()?;
        for (id, work) in self.works()? {
            let Work::Buy(purchase) = work else { continue };
            match self.purchase(id, purchase, &|_| {}) {
                // A voucher that the seller will never take is thereby dealt with.
                Ok(_) | Err(BuyError::Refused(_)) => finished += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(finished)
    }

    /// Finishes or undoes noted swaps. Every operation begins with it: what a swap that was cut short
    /// holds may be just what the operation needs.
    pub(crate) fn finish_exchanges(&self) -> Result<usize, WorkError> {
        let mut finished = 0;
        let mut keysets = None;
        for (id, work) in self.works()? {
            let Work::Exchange(exchange) = work else { continue };
            let keysets = match &keysets {
                Some(keysets) => keysets,
                None => keysets.insert(self.clean.keysets()?),
            };
            if let Err(error) = self.run(id, &exchange, keysets) {
                // Undone is finished too; unfinished is not.
                if self.works()?.iter().any(|(open, _)| *open == id) {
                    return Err(error);
                }
            }
            finished += 1;
        }
        Ok(finished)
    }

    /// A purse new in this folder may not be new to its seed words: their counters come first.
    pub(crate) fn restore_if_new(&self) -> Result<(), WorkError> {
        if self.book.meta("restored")?.is_none() {
            self.restore()?;
        }
        Ok(())
    }

    pub(crate) fn restore(&self) -> Result<u64, WorkError> {
        let mut restored = 0;
        for keyset in self.direct.keysets()? {
            restored += self.restore_keyset(&keyset)?;
        }
        self.book.set_meta("restored", "yes")?;
        Ok(restored)
    }

    fn restore_keyset(&self, keyset: &Keyset) -> Result<u64, WorkError> {
        let (mut found, mut empty, mut start) = (Vec::new(), 0, 0);
        while empty < EMPTY_BATCHES {
            let mut blanks = Vec::new();
            for counter in start..start + BATCH {
                blanks.push((counter, Blank::plain(&self.seed, keyset.id(), counter, 0)?));
            }
            let batch = self.restore_batch(&self.direct, keyset, blanks)?;
            empty = if batch.is_empty() { empty + 1 } else { 0 };
            found.extend(batch);
            start += BATCH;
        }
        let Some((last, _)) = found.last() else { return Ok(0) };
        self.book.raise_counter(&keyset.id().to_string(), last + 1)?;

        let mut restored = 0;
        for part in found.chunks(BATCH as usize) {
            let proofs: Vec<Proof> = part.iter().map(|(_, proof)| proof.clone()).collect();
            let ys = proofs.ys().map_err(|_| self.book.damaged("proof"))?;
            // By the clean way: the seller has just seen these blinded, from this address.
            let states = self.clean.states(&ys)?;
            restored += self.book.write(|rows| {
                let mut sum = 0;
                for (proof, state) in proofs.iter().zip(&states) {
                    if *state == State::Unspent && insert_proof(rows, proof, "FRESH")? == 1 {
                        sum += proof.amount.to_u64();
                    }
                }
                Ok(sum)
            })?;
        }
        Ok(restored)
    }

    /// The proofs that the seller once signed on any of `blanks`.
    pub(crate) fn restore_batch(
        &self,
        seller: &Seller,
        keyset: &Keyset,
        blanks: Vec<(u32, Blank)>,
    ) -> Result<Vec<(u32, Proof)>, WorkError> {
        let outputs: Result<Vec<_>, _> = blanks.iter().map(|(_, blank)| blank.blinded()).collect();
        let outputs = outputs?;
        let signed = seller.restore(outputs.clone())?;
        let mut found = Vec::new();
        for ((index, blank), output) in blanks.into_iter().zip(outputs) {
            if let Some(signature) = signed.get(&output.blinded_secret) {
                found.push((index, blank.worth(signature.amount.to_u64()).finish(signature, keyset)?));
            }
        }
        Ok(found)
    }

    /// Restores the tickets locked to one data centre until one time, after the journal was lost.
    pub(crate) fn restore_locked(
        &self,
        till_pubkey: &str,
        locktime_unix: u64,
        host: &str,
        pal: &str,
    ) -> Result<Vec<Ticket>, RecoverError> {
        let lock = self.lock_for(till_pubkey, locktime_unix)?;
        let _turn = self.turn()?;
        let mut tickets = Vec::new();
        for keyset in self.clean.keysets().map_err(WorkError::from)? {
            for (_, proof) in self.find_locked(&keyset, &lock)? {
                tickets.push(Ticket::from_proof(&proof).map_err(|_| self.book.damaged("ticket"))?);
            }
        }
        // Handed over or not is no longer known; HANDED is the careful answer.
        self.book.write(|rows| {
            tickets.iter().try_for_each(|ticket| insert_ticket(rows, ticket, "HANDED", host, pal))
        })?;
        Ok(tickets)
    }
}
