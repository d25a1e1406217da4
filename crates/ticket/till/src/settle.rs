//! Settling: redeemed proofs go to the seller, a signed credit note comes back.
//!
//! ```text
//!   proofs set aside -> quote noted -> brought -> note kept, proofs gone
//! ```
//!
//! Cut anywhere, the next call goes on from what was noted: the seller takes one set of proofs a quote and
//! writes one note a quote.

use std::thread::sleep;
use std::time::{Duration, Instant};

use cashu::Proof;
use cloudpal_form::{CreditNote, MAX_TICKETS, Seller, SellerError, Settlement, SettlementState, SignedNote};
use rusqlite::{OptionalExtension, params};

use crate::store::StoreError;
use crate::till::Till;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// What was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// In whole cpm.
    pub amount: u64,
    /// The seller's note, signature checked. Compare its key with the one you know of the seller.
    pub note: SignedNote,
}

/// Why settling did not finish. The proofs are kept; call again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The seller.
    #[error("cannot settle now")]
    Seller(#[from] SellerError),
    /// The seller took the proofs and has not written the note yet.
    #[error("the seller has not signed the note yet: settle again later")]
    Pending,
    /// The seller did not take the proofs.
    #[error(
        "the seller did not take the proofs: redeem again, then settle; if it stays so, ask its operator"
    )]
    NotTaken,
    /// The note does not say what was settled, or its signature does not hold.
    #[error("the seller's note is not right: keep the till's records and ask its operator")]
    BadNote,
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Open {
    id: i64,
    account: String,
    amount: u64,
    quote: Option<String>,
}

impl Till {
    /// Settles everything redeemed of `seller` for `account`, by which the seller knows this data centre.
    /// Returns one note a batch; none if there was nothing. Blocks on the network.
    pub fn settle(&self, seller: &Seller, account: &str) -> Result<Vec<Settled>, SettleError> {
        let _turn = self.turn()?;
        let mut notes = Vec::new();
        loop {
            let open = match self.open_settlement(seller.url())? {
                Some(open) => open,
                None if self.set_aside(seller.url(), account)? == 0 => return Ok(notes),
                None => continue,
            };
            notes.push(self.finish_settlement(seller, open)?);
        }
    }

    fn open_settlement(&self, seller: &str) -> Result<Option<Open>, StoreError> {
        self.store.read(|rows| {
            rows.query_row(
                "SELECT id, account, amount, quote FROM settlement WHERE seller = ?1 AND note IS NULL
                 ORDER BY id LIMIT 1",
                [seller],
                |row| {
                    let amount: i64 = row.get(2)?;
                    let (id, account, quote) = (row.get(0)?, row.get(1)?, row.get(3)?);
                    Ok(Open { id, account, amount: amount as u64, quote })
                },
            )
            .optional()
        })
    }

    /// Sets proofs aside for a new settlement; returns their worth.
    fn set_aside(&self, seller: &str, account: &str) -> Result<u64, StoreError> {
        let sqlite = |source| self.store.sqlite(source);
        self.store.write(|rows| {
            let chosen: Vec<(String, i64)> = rows
                .prepare("SELECT y, amount FROM own WHERE seller = ?1 ORDER BY amount DESC, y LIMIT ?2")
                .and_then(|mut find| {
                    find.query_map(params![seller, MAX_TICKETS as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                        .collect()
                })
                .map_err(sqlite)?;
            let amount: i64 = chosen.iter().map(|(_, amount)| amount).sum();
            if amount == 0 {
                return Ok(0);
            }
            let id: i64 = rows
                .query_row(
                    "INSERT INTO settlement (seller, account, amount) VALUES (?1, ?2, ?3) RETURNING id",
                    params![seller, account, amount],
                    |row| row.get(0),
                )
                .map_err(sqlite)?;
            for (y, _) in &chosen {
                rows.execute("INSERT INTO settling (y, settlement) VALUES (?1, ?2)", params![y, id])
                    .map_err(sqlite)?;
            }
            Ok(amount as u64)
        })
    }

    fn finish_settlement(&self, seller: &Seller, open: Open) -> Result<Settled, SettleError> {
        let quote = match &open.quote {
            Some(quote) => quote.clone(),
            None => {
                let quote = seller.settlement(&open.account, open.amount)?.quote;
                self.store.write(|rows| {
                    rows.execute("UPDATE settlement SET quote = ?2 WHERE id = ?1", params![open.id, quote])
                        .map_err(|source| self.store.sqlite(source))
                })?;
                quote
            }
        };
        let mut last = seller.settlement_state(&quote)?;
        if last.state == SettlementState::Unpaid {
            last = match seller.settle(&quote, &self.aside(open.id)?) {
                Ok(answer) => answer,
                // Perhaps it was brought by a call that was cut short; the state says.
                Err(SellerError::Refused { .. }) => seller.settlement_state(&quote)?,
                Err(error) => return Err(error.into()),
            };
        }
        let note = self.await_note(seller, &quote, last, open.id)?;
        let signed: SignedNote = serde_json::from_str(&note).map_err(|_| SettleError::BadNote)?;
        let right = |note: CreditNote| {
            note.amount == open.amount && note.account == open.account && note.quote == quote
        };
        if !signed.open().is_some_and(right) {
            return Err(SettleError::BadNote);
        }
        let sqlite = |source| self.store.sqlite(source);
        self.store.write::<_, StoreError>(|rows| {
            rows.execute("UPDATE settlement SET note = ?2 WHERE id = ?1", params![open.id, note])
                .map_err(sqlite)?;
            rows.execute(
                "DELETE FROM own WHERE y IN (SELECT y FROM settling WHERE settlement = ?1)",
                [open.id],
            )
            .map_err(sqlite)?;
            rows.execute("DELETE FROM settling WHERE settlement = ?1", [open.id]).map_err(sqlite)?;
            Ok(())
        })?;
        Ok(Settled { amount: open.amount, note: signed })
    }

    fn await_note(
        &self,
        seller: &Seller,
        quote: &str,
        mut last: Settlement,
        id: i64,
    ) -> Result<String, SettleError> {
        let start = Instant::now();
        loop {
            match (last.state, last.note) {
                (SettlementState::Paid, Some(note)) => return Ok(note),
                (SettlementState::Unpaid | SettlementState::Failed, _) => {
                    self.abandon(id)?;
                    return Err(SettleError::NotTaken);
                }
                _ if start.elapsed() > PATIENCE => return Err(SettleError::Pending),
                _ => sleep(POLL),
            }
            last = seller.settlement_state(quote)?;
        }
    }

    /// Lets go of a settlement that the seller refused: its proofs are free for another.
    fn abandon(&self, id: i64) -> Result<(), StoreError> {
        let sqlite = |source| self.store.sqlite(source);
        self.store.write(|rows| {
            rows.execute("DELETE FROM settling WHERE settlement = ?1", [id]).map_err(sqlite)?;
            rows.execute("DELETE FROM settlement WHERE id = ?1", [id]).map_err(sqlite)?;
            Ok(())
        })
    }

    fn aside(&self, id: i64) -> Result<Vec<Proof>, StoreError> {
        let rows: Vec<String> = self.store.read(|rows| {
            rows.prepare("SELECT proof FROM own JOIN settling USING (y) WHERE settlement = ?1 ORDER BY y")?
                .query_map([id], |row| row.get(0))?
                .collect()
        })?;
        rows.iter().map(|row| serde_json::from_str(row).map_err(|_| self.store.damaged("proof"))).collect()
    }
}
