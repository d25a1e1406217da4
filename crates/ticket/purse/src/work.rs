//! Noted work: what was begun and must be finished or undone, whatever happens in between.

use cashu::Proof;
use cloudpal_form::{Blank, ExchangeError, Keyset, Ticket, exchange};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::book::{BookError, insert_proof, name_of};
use crate::core::{Core, WorkError};

/// A piece of work as stored.
#[derive(Serialize, Deserialize)]
pub(crate) enum Work {
    Buy(Purchase),
    Exchange(Exchange),
}

/// A purchase; which fields are filled says how far it got.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Purchase {
    pub(crate) voucher: String,
    pub(crate) quote: Option<String>,
    pub(crate) blanks: Option<Vec<Blank>>,
}

impl Drop for Purchase {
    fn drop(&mut self) {
        self.voucher.zeroize();
    }
}

/// A swap of `inputs` for proofs on `blanks`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) inputs: Vec<Proof>,
    pub(crate) blanks: Vec<(Blank, Role)>,
    pub(crate) host: String,
    pub(crate) pal: String,
}

/// What becomes of an output.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Kept as balance.
    Keep,
    /// Locked, to be handed over.
    Ticket,
}

impl Core {
    pub(crate) fn works(&self) -> Result<Vec<(i64, Work)>, BookError> {
        let rows: Vec<(i64, String)> = self.book.read(|rows| {
            rows.prepare("SELECT id, data FROM work ORDER BY id")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter()
            .map(|(id, data)| {
                let data = Zeroizing::new(data);
                Ok((id, serde_json::from_str(&data).map_err(|_| self.book.damaged("piece of work"))?))
            })
            .collect()
    }

    /// Notes work and ties `inputs` to it, so that nothing else spends them.
    pub(crate) fn note(&self, work: &Work) -> Result<i64, BookError> {
        let data = Zeroizing::new(serde_json::json!(work).to_string());
        let names: Vec<String> = match work {
            Work::Buy(_) => Vec::new(),
            Work::Exchange(exchange) => self.names(&exchange.inputs)?,
        };
        self.book.write(|rows| {
            let id =
                rows.query_row("INSERT INTO work (data) VALUES (?1) RETURNING id", [data.as_str()], |row| {
                    row.get(0)
                })?;
            for y in &names {
                rows.execute("UPDATE proof SET work = ?2 WHERE y = ?1", params![y, id])?;
            }
            Ok(id)
        })
    }

    pub(crate) fn update(&self, id: i64, work: &Work) -> Result<(), BookError> {
        let data = Zeroizing::new(serde_json::json!(work).to_string());
        self.book.write(|rows| {
            rows.execute("UPDATE work SET data = ?2 WHERE id = ?1", params![id, data.as_str()])
        })?;
        Ok(())
    }

    pub(crate) fn forget(&self, id: i64) -> Result<(), BookError> {
        self.book.write(|rows| forget(rows, id))
    }

    /// Swaps `inputs` into the fewest tickets to keep, noted first. Returns their worth.
    pub(crate) fn swap_to_keep(&self, inputs: Vec<Proof>) -> Result<u64, WorkError> {
        let total = inputs.iter().map(|proof| proof.amount.to_u64()).sum();
        let (keysets, active) = self.keysets()?;
        let blanks = self.plain_blanks(&active, total)?;
        let blanks = blanks.into_iter().map(|blank| (blank, Role::Keep)).collect();
        let exchange = Exchange { inputs, blanks, host: String::new(), pal: String::new() };
        self.begin(exchange, &keysets)?;
        Ok(total)
    }

    /// Notes an exchange and runs it.
    pub(crate) fn begin(&self, exchange: Exchange, keysets: &[Keyset]) -> Result<Vec<Ticket>, WorkError> {
        let work = Work::Exchange(exchange);
        let id = self.note(&work)?;
        match &work {
            Work::Exchange(exchange) => self.run(id, exchange, keysets),
            Work::Buy(_) => Ok(Vec::new()),
        }
    }

    /// Runs a noted exchange to its end: done, undone, or still unfinished. Returns the tickets made.
    pub(crate) fn run(&self, id: i64, work: &Exchange, keysets: &[Keyset]) -> Result<Vec<Ticket>, WorkError> {
        let blanks: Vec<Blank> = work.blanks.iter().map(|(blank, _)| blank.clone()).collect();
        match exchange(&self.clean, keysets, &work.inputs, &blanks) {
            Ok(proofs) => Ok(self.conclude(id, work, &proofs)?),
            Err(error @ ExchangeError::Spent(_)) => {
                if let ExchangeError::Spent(spent) = &error {
                    self.undo(id, spent)?;
                }
                Err(error.into())
            }
            Err(error @ (ExchangeError::Refused(_) | ExchangeError::BlanksUsed)) => {
                self.undo(id, &[])?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn conclude(&self, id: i64, work: &Exchange, proofs: &[Proof]) -> Result<Vec<Ticket>, BookError> {
        let inputs = self.names(&work.inputs)?;
        let mut tickets = Vec::new();
        for (proof, (_, role)) in proofs.iter().zip(&work.blanks) {
            if *role == Role::Ticket {
                tickets.push(Ticket::from_proof(proof).map_err(|_| self.book.damaged("piece of work"))?);
            }
        }
        self.book.write(|rows| {
            for y in &inputs {
                rows.execute("UPDATE proof SET state = 'SPENT', work = NULL WHERE y = ?1", [y])?;
                rows.execute("UPDATE ticket SET state = 'RECLAIMED' WHERE y = ?1", [y])?;
            }
            for (proof, (_, role)) in proofs.iter().zip(&work.blanks) {
                if *role == Role::Keep {
                    insert_proof(rows, proof, "CLEAN")?;
                }
            }
            for ticket in &tickets {
                insert_ticket(rows, ticket, "LOCKED", &work.host, &work.pal)?;
            }
            forget(rows, id)
        })?;
        Ok(tickets)
    }

    /// Lets go of work that will not happen; what others spent is marked so.
    fn undo(&self, id: i64, spent: &[String]) -> Result<(), BookError> {
        self.book.write(|rows| {
            for y in spent {
                rows.execute("UPDATE proof SET state = 'SPENT' WHERE y = ?1", [y])?;
                rows.execute("UPDATE ticket SET state = 'GONE' WHERE y = ?1", [y])?;
            }
            rows.execute("UPDATE proof SET work = NULL WHERE work = ?1", [id])?;
            forget(rows, id)
        })
    }

    /// The free proofs in `state`, largest first.
    pub(crate) fn proofs(&self, state: &str) -> Result<Vec<Proof>, BookError> {
        let rows: Vec<String> = self.book.read(|rows| {
            rows.prepare("SELECT proof FROM proof WHERE state = ?1 AND work IS NULL ORDER BY amount DESC, y")?
                .query_map([state], |row| row.get(0))?
                .collect()
        })?;
        rows.iter().map(|row| serde_json::from_str(row).map_err(|_| self.book.damaged("proof"))).collect()
    }

    pub(crate) fn names(&self, proofs: &[Proof]) -> Result<Vec<String>, BookError> {
        proofs.iter().map(|proof| name_of(proof).map_err(|_| self.book.damaged("proof"))).collect()
    }

    pub(crate) fn ticket_state(&self, y: &str) -> Result<Option<String>, BookError> {
        self.book.read(|rows| {
            rows.query_row("SELECT state FROM ticket WHERE y = ?1", [y], |row| row.get(0)).optional()
        })
    }
}

pub(crate) fn insert_ticket(
    rows: &Transaction<'_>,
    ticket: &Ticket,
    state: &str,
    host: &str,
    pal: &str,
) -> Result<(), rusqlite::Error> {
    let unfit =
        |error: Box<dyn std::error::Error + Send + Sync>| rusqlite::Error::ToSqlConversionFailure(error);
    let y = ticket.y().map_err(|error| unfit(error.into()))?;
    let lock = ticket.lock().map_err(|error| unfit(error.into()))?;
    rows.execute(
        "INSERT OR IGNORE INTO ticket (y, amount, ticket, locktime_unix, host, pal, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            y,
            ticket.amount as i64,
            serde_json::json!(ticket).to_string(),
            i64::try_from(lock.locktime_unix).unwrap_or(i64::MAX),
            host,
            pal,
            state
        ],
    )?;
    Ok(())
}

pub(crate) fn forget(rows: &Transaction<'_>, id: i64) -> Result<(), rusqlite::Error> {
    rows.execute("DELETE FROM work WHERE id = ?1", [id])?;
    Ok(())
}
