//! Giving back tickets that were never accepted, so that their owner need not wait for the locktime.

use cloudpal_form::{Lock, LockFormError, MAX_TICKETS, ReturnSignature};
use rusqlite::params;

use crate::store::StoreError;
use crate::till::Till;

/// Why tickets were not given back; then none of the list was.
#[derive(Debug, thiserror::Error)]
pub enum ReturnError {
    /// Too many.
    #[error("too many tickets: send at most {MAX_TICKETS} at a time")]
    TooMany,
    /// Not one of ours to give back. The till signs nothing but locks to its own key.
    #[error("ticket {number} is not locked to this data centre: it cannot be given back here")]
    ForeignLock {
        /// Which, counted from 1.
        number: usize,
    },
    /// Not a lock.
    #[error("ticket {number} is malformed")]
    Form {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: LockFormError,
    },
    /// It was accepted: it paid for service.
    #[error("ticket {number} has been spent here already: leave it out")]
    Spent {
        /// Which, counted from 1.
        number: usize,
    },
    /// Signing failed.
    #[error("the till could not sign ticket {number}")]
    Sign {
        /// Which, counted from 1.
        number: usize,
        /// What failed.
        #[source]
        source: cashu::nuts::nut01::Error,
    },
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Till {
    /// Signs the `secrets` of tickets that were never accepted here, and records that they never will
    /// be. Asking again gives signatures again.
    pub fn sign_return(&self, secrets: &[String]) -> Result<Vec<ReturnSignature>, ReturnError> {
        if secrets.len() > MAX_TICKETS {
            return Err(ReturnError::TooMany);
        }
        let mut signed = Vec::with_capacity(secrets.len());
        let mut names = Vec::with_capacity(secrets.len());
        for (place, secret) in secrets.iter().enumerate() {
            let number = place + 1;
            let lock = Lock::read(secret).map_err(|source| ReturnError::Form { number, source })?;
            if lock.to != self.point() {
                return Err(ReturnError::ForeignLock { number });
            }
            let y = cashu::dhke::hash_to_curve(secret.as_bytes())
                .map_err(|_| ReturnError::Form { number, source: LockFormError::NotALock })?;
            names.push(y.to_hex());
            let signature =
                self.key.sign(secret.as_bytes()).map_err(|source| ReturnError::Sign { number, source })?;
            signed.push(ReturnSignature { secret: secret.clone(), signature: signature.to_string() });
        }
        // Recorded before the signatures leave: a crash in between costs the till nothing.
        let sqlite = |source| ReturnError::Store(self.store.sqlite(source));
        self.store.write(|rows| {
            for (place, (y, secret)) in names.iter().zip(secrets).enumerate() {
                let accepted: bool = rows
                    .query_row("SELECT EXISTS (SELECT 1 FROM ticket WHERE y = ?1)", [y], |row| row.get(0))
                    .map_err(sqlite)?;
                if accepted {
                    return Err(ReturnError::Spent { number: place + 1 });
                }
                rows.execute(
                    "INSERT OR IGNORE INTO returned (y, secret) VALUES (?1, ?2)",
                    params![y, secret],
                )
                .map_err(sqlite)?;
            }
            Ok(())
        })?;
        Ok(signed)
    }
}
