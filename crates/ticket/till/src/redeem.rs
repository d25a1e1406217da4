//! Turning held tickets into the data centre's own, at the seller.
//!
//! The outputs' secrets are stored before anything is sent, so a lost reply costs nothing: the next
//! call sends the same again, and the seller gives the same signatures.

use cashu::{Proof, ProofsMethods};
use cloudpal_form::{
    Blank, BlankError, ExchangeError, Keyset, MAX_TICKETS, Seller, SellerError, Ticket, exchange,
};
use rusqlite::{OptionalExtension, params};
use zeroize::Zeroizing;

use crate::store::StoreError;
use crate::till::Till;

/// What redeeming brought, in whole cpm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Redeemed {
    /// Ours now.
    pub amount: u64,
    /// Found taken back by their owners: redeem sooner.
    pub expired: u64,
}

/// Why redeeming did not finish. What was held is still recorded; call again.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The seller could not be asked for its keysets.
    #[error("cannot redeem now")]
    Seller(#[from] SellerError),
    /// The seller has no keyset in use.
    #[error("the seller at {0} signs nothing at present: ask its operator")]
    NoActiveKeyset(String),
    /// The exchange is unfinished or was refused.
    #[error("redeeming did not finish")]
    Exchange(#[source] ExchangeError),
    /// No randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
    /// A secret could not be made.
    #[error(transparent)]
    Blank(#[from] BlankError),
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Open {
    id: i64,
    blanks: Vec<Blank>,
    inputs: Vec<(String, Ticket)>,
}

impl Till {
    /// Redeems everything held of `seller`, in batches; first finishes what was cut short. Blocks on
    /// the network. Call it again after any error: nothing is redeemed twice, nothing is lost.
    pub fn redeem(&self, seller: &Seller) -> Result<Redeemed, RedeemError> {
        let _turn = self.turn()?;
        let keysets = seller.keysets()?;
        let mut redeemed = Redeemed::default();
        loop {
            let open = match self.unfinished(seller.url())? {
                Some(open) => open,
                None => match self.begin(seller.url(), &keysets)? {
                    Some(open) => open,
                    None => return Ok(redeemed),
                },
            };
            self.finish(seller, &keysets, &open, &mut redeemed)?;
        }
    }

    fn unfinished(&self, seller: &str) -> Result<Option<Open>, RedeemError> {
        let found: Option<(i64, String)> = self.store.read(|rows| {
            rows.query_row("SELECT id, blanks FROM exchange WHERE seller = ?1 ORDER BY id", [seller], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
        })?;
        let Some((id, blanks)) = found else { return Ok(None) };
        let blanks = serde_json::from_str(&blanks).map_err(|_| self.store.damaged("exchange"))?;
        let rows: Vec<(String, String)> = self.store.read(|rows| {
            rows.prepare("SELECT y, json FROM ticket WHERE exchange = ?1 ORDER BY y")?
                .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        Ok(Some(Open { id, blanks, inputs: self.tickets(rows)? }))
    }

    /// Picks held tickets and stores the blanks for them, before anything is sent.
    fn begin(&self, seller: &str, keysets: &[Keyset]) -> Result<Option<Open>, RedeemError> {
        let rows: Vec<(String, String)> = self.store.read(|rows| {
            rows.prepare(
                "SELECT y, json FROM ticket WHERE state = 'HELD' AND seller = ?1 AND exchange IS NULL
                 ORDER BY locktime_unix, y LIMIT ?2",
            )?
            .query_map(params![seller, MAX_TICKETS as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })?;
        let inputs = self.tickets(rows)?;
        if inputs.is_empty() {
            return Ok(None);
        }
        let total = inputs.iter().map(|(_, ticket)| ticket.amount).sum();
        let none = || RedeemError::NoActiveKeyset(seller.to_owned());
        let keyset = keysets.iter().find(|keyset| keyset.is_active()).ok_or_else(none)?;
        let mut blanks = Vec::new();
        for amount in keyset.split(total).ok_or_else(none)? {
            let mut entropy = Zeroizing::new([0; 64]);
            getrandom::fill(entropy.as_mut()).map_err(|error| RedeemError::Random(error.to_string()))?;
            blanks.push(Blank::from_entropy(keyset.id(), amount, &entropy)?);
        }
        let stored = Zeroizing::new(serde_json::json!(blanks).to_string());
        let id = self.store.write(|rows| {
            let id = rows
                .query_row(
                    "INSERT INTO exchange (seller, blanks) VALUES (?1, ?2) RETURNING id",
                    params![seller, stored.as_str()],
                    |row| row.get(0),
                )
                .map_err(|source| self.store.sqlite(source))?;
            for (y, _) in &inputs {
                rows.execute("UPDATE ticket SET exchange = ?2 WHERE y = ?1", params![y, id])
                    .map_err(|source| self.store.sqlite(source))?;
            }
            Ok::<_, StoreError>(id)
        })?;
        Ok(Some(Open { id, blanks, inputs }))
    }

    fn finish(
        &self,
        seller: &Seller,
        keysets: &[Keyset],
        open: &Open,
        redeemed: &mut Redeemed,
    ) -> Result<(), RedeemError> {
        let mut inputs = Vec::with_capacity(open.inputs.len());
        for (_, ticket) in &open.inputs {
            let mut proof = ticket.to_proof().map_err(|_| self.store.damaged("ticket"))?;
            proof.sign_p2pk(self.key.clone()).map_err(|_| self.store.damaged("ticket"))?;
            inputs.push(proof);
        }
        match exchange(seller, keysets, &inputs, &open.blanks) {
            Ok(proofs) => {
                self.keep(seller.url(), open.id, &proofs)?;
                redeemed.amount += open.inputs.iter().map(|(_, ticket)| ticket.amount).sum::<u64>();
                Ok(())
            }
            Err(ExchangeError::Spent(spent)) => {
                self.give_up(open.id, &spent)?;
                let lost = open.inputs.iter().filter(|(y, _)| spent.contains(y));
                redeemed.expired += lost.map(|(_, ticket)| ticket.amount).sum::<u64>();
                Ok(())
            }
            Err(error @ (ExchangeError::Refused(_) | ExchangeError::BlanksUsed)) => {
                self.give_up(open.id, &[])?;
                Err(RedeemError::Exchange(error))
            }
            Err(error) => Err(RedeemError::Exchange(error)),
        }
    }

    fn keep(&self, seller: &str, exchange: i64, proofs: &[Proof]) -> Result<(), StoreError> {
        let names = proofs.to_vec().ys().map_err(|_| self.store.damaged("exchange"))?;
        let sqlite = |source| self.store.sqlite(source);
        self.store.write(|rows| {
            for (y, proof) in names.iter().zip(proofs) {
                rows.execute(
                    "INSERT OR IGNORE INTO own (y, seller, amount, proof) VALUES (?1, ?2, ?3, ?4)",
                    params![
                        y.to_hex(),
                        seller,
                        proof.amount.to_u64() as i64,
                        serde_json::json!(proof).to_string()
                    ],
                )
                .map_err(sqlite)?;
            }
            rows.execute("UPDATE ticket SET state = 'REDEEMED' WHERE exchange = ?1", [exchange])
                .map_err(sqlite)?;
            rows.execute("DELETE FROM exchange WHERE id = ?1", [exchange]).map_err(sqlite)?;
            Ok(())
        })
    }

    /// Lets go of an exchange that will not happen: `spent` are lost, the others are held as before.
    fn give_up(&self, exchange: i64, spent: &[String]) -> Result<(), StoreError> {
        let sqlite = |source| self.store.sqlite(source);
        self.store.write(|rows| {
            for y in spent {
                rows.execute("UPDATE ticket SET state = 'EXPIRED' WHERE y = ?1", [y]).map_err(sqlite)?;
            }
            rows.execute("UPDATE ticket SET exchange = NULL WHERE exchange = ?1", [exchange])
                .map_err(sqlite)?;
            rows.execute("DELETE FROM exchange WHERE id = ?1", [exchange]).map_err(sqlite)?;
            Ok(())
        })
    }

    fn tickets(&self, rows: Vec<(String, String)>) -> Result<Vec<(String, Ticket)>, StoreError> {
        rows.into_iter()
            .map(|(y, json)| {
                let ticket = serde_json::from_str(&json).map_err(|_| self.store.damaged("ticket"))?;
                Ok((y, ticket))
            })
            .collect()
    }
}
