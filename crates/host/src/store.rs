//! Desired state, journal and receipts, in SQLite. A write that returned is on disk.

use cloudpal_core::{AgreementKey, Digest, Milli, PalId, PublicKey, SignedBytes};
use cloudpal_meter::Ledger;
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::guest::{PalKeys, WakeReason};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything the host knows of one pal, but for secrets and receipts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PalRecord {
    /// Its id.
    pub id: PalId,
    /// Its name.
    pub name: String,
    /// Its owner's key.
    pub owner_sign: PublicKey,
    /// The owner's end of the encrypted channel.
    pub owner_unlock: AgreementKey,
    /// Where it is in its life.
    pub state: PalState,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Public address.
    pub public_v4: Ipv4Addr,
    /// Public address.
    pub public_v6: Option<Ipv6Addr>,
    /// Its keys, once it booted.
    pub keys: Option<PalKeys>,
    /// Its machine, to be adopted by the next agent.
    pub machine: Option<cloudpal_machine::Handle>,
    /// Counts boots and restores; part of what a memory image is bound to.
    pub generation: u64,
    /// Generation of the memory image that may be restored, once.
    pub snapshot: Option<u64>,
    /// Cold boots.
    pub boots: u64,
    /// Times it woke.
    pub wakes: u64,
    /// Why it woke last.
    pub last_wake: Option<WakeReason>,
    /// Something its owner should know.
    pub notice: Option<String>,
    /// Unpaid since, milliseconds since 1970.
    pub unpaid_since: Option<u64>,
    /// Account.
    pub account: AccountRecord,
}

/// A [`Ledger`] as it is stored.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct AccountRecord {
    paid: Milli,
    consumed: Milli,
    next: u64,
    previous: Digest,
    open_since: Option<u64>,
}

impl AccountRecord {
    /// A new account with this much in it.
    pub fn paid(paid: Milli) -> Self {
        AccountRecord { paid, ..AccountRecord::default() }
    }
}

impl PalRecord {
    /// Its account.
    pub fn ledger(&self) -> Ledger {
        let a = &self.account;
        Ledger {
            pal: self.id,
            paid: a.paid,
            consumed: a.consumed,
            next: a.next,
            previous: a.previous,
            open_since: a.open_since,
        }
    }

    /// Puts a changed account back.
    pub fn set_ledger(&mut self, ledger: &Ledger) {
        self.account = AccountRecord {
            paid: ledger.paid,
            consumed: ledger.consumed,
            next: ledger.next,
            previous: ledger.previous,
            open_since: ledger.open_since,
        };
    }
}

/// The database could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the host's database cannot {0}; check free disk space and the rights of its folder")]
    Sqlite(&'static str, #[source] rusqlite::Error),
    /// A record cannot be read.
    #[error("the host's database holds a pal that cannot be read; it may come from a newer version")]
    Record(#[source] serde_json::Error),
}

/// The database.
#[derive(Debug)]
pub struct Store {
    db: Mutex<Connection>,
}

const SCHEMA: &str = "
    create table if not exists pals (id text primary key, record text not null) strict;
    create table if not exists receipts (pal text not null, number integer not null, body text not null,
        digest blob not null, acknowledged integer not null default 0, primary key (pal, number)) strict;
    create table if not exists journal (number integer primary key autoincrement, unix_ms integer not null,
        pal text not null, what text not null) strict;";

impl Store {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let fail = |error| StoreError::Sqlite("be opened", error);
        let db = Connection::open(path).map_err(fail)?;
        db.execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000;")
            .and_then(|()| db.execute_batch(SCHEMA))
            .map_err(fail)?;
        Ok(Store { db: Mutex::new(db) })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held leaves SQLite itself whole: its transaction is rolled back.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All pals that are not gone.
    pub fn pals(&self) -> Result<Vec<PalRecord>, StoreError> {
        let db = self.db();
        let fail = |error| StoreError::Sqlite("list its pals", error);
        let mut query = db.prepare("select record from pals order by id").map_err(fail)?;
        let texts = query.query_map([], |row| row.get::<_, String>(0)).map_err(fail)?;
        texts.map(|text| serde_json::from_str(&text.map_err(fail)?).map_err(StoreError::Record)).collect()
    }

    /// Writes a pal and why, in one transaction.
    pub fn put(&self, pal: &PalRecord, what: &str, now_unix_ms: u64) -> Result<(), StoreError> {
        let text = serde_json::to_string(pal).map_err(StoreError::Record)?;
        let mut db = self.db();
        let write = |db: &mut Connection| {
            let tx = db.transaction()?;
            let id = pal.id.to_string();
            tx.execute("insert or replace into pals (id, record) values (?1, ?2)", params![id, text])?;
            tx.execute(
                "insert into journal (unix_ms, pal, what) values (?1, ?2, ?3)",
                params![now_unix_ms as i64, id, what],
            )?;
            tx.commit()
        };
        write(&mut db).map_err(|error| StoreError::Sqlite("write down what happened to a pal", error))
    }

    /// Writes a pal together with the receipt that changed its account.
    pub fn put_receipt(
        &self,
        pal: &PalRecord,
        number: u64,
        receipt: &SignedBytes,
        digest: Digest,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(pal).map_err(StoreError::Record)?;
        let body = serde_json::to_string(receipt).map_err(StoreError::Record)?;
        let mut db = self.db();
        let write = |db: &mut Connection| {
            let tx = db.transaction()?;
            let id = pal.id.to_string();
            tx.execute("insert or replace into pals (id, record) values (?1, ?2)", params![id, text])?;
            tx.execute(
                "insert into receipts (pal, number, body, digest) values (?1, ?2, ?3, ?4)",
                params![id, number as i64, body, digest.0],
            )?;
            tx.commit()
        };
        write(&mut db).map_err(|error| StoreError::Sqlite("write a receipt down", error))
    }

    /// Marks a receipt acknowledged; `false` if there is no such receipt.
    pub fn acknowledge(&self, pal: PalId, digest: Digest) -> Result<bool, StoreError> {
        let changed = self.db().execute(
            "update receipts set acknowledged = 1 where pal = ?1 and digest = ?2",
            params![pal.to_string(), digest.0],
        );
        changed.map(|rows| rows > 0).map_err(|error| StoreError::Sqlite("note an acknowledgement", error))
    }

    /// At most `limit` receipts from number `from` on.
    pub fn receipts(&self, pal: PalId, from: u64, limit: u32) -> Result<Vec<SignedBytes>, StoreError> {
        self.select_receipts(
            "select body from receipts where pal = ?1 and number >= ?2 order by number limit ?3",
            pal,
            from,
            limit,
        )
    }

    /// At most `limit` receipts that the pal has not acknowledged, in order.
    pub fn unacknowledged(&self, pal: PalId, limit: u32) -> Result<Vec<SignedBytes>, StoreError> {
        self.select_receipts(
            "select body from receipts where pal = ?1 and number >= ?2 and acknowledged = 0
                order by number limit ?3",
            pal,
            0,
            limit,
        )
    }

    fn select_receipts(
        &self,
        sql: &str,
        pal: PalId,
        from: u64,
        limit: u32,
    ) -> Result<Vec<SignedBytes>, StoreError> {
        let db = self.db();
        let fail = |error| StoreError::Sqlite("read receipts", error);
        let mut query = db.prepare_cached(sql).map_err(fail)?;
        let texts = query
            .query_map(params![pal.to_string(), from as i64, limit], |row| row.get::<_, String>(0))
            .map_err(fail)?;
        texts.map(|text| serde_json::from_str(&text.map_err(fail)?).map_err(StoreError::Record)).collect()
    }

    /// How many receipts there are, and how many of them are acknowledged.
    pub fn count_receipts(&self, pal: PalId) -> Result<(u64, u64), StoreError> {
        let sql = "select count(*), coalesce(sum(acknowledged), 0) from receipts where pal = ?1";
        let counts = self
            .db()
            .query_row(sql, params![pal.to_string()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()
            .map_err(|error| StoreError::Sqlite("count receipts", error))?;
        Ok(counts.map_or((0, 0), |(all, acknowledged)| (all as u64, acknowledged as u64)))
    }

    /// Removes a pal; its receipts are kept for settling.
    pub fn remove(&self, pal: PalId) -> Result<(), StoreError> {
        let removed = self.db().execute("delete from pals where id = ?1", params![pal.to_string()]);
        removed.map(drop).map_err(|error| StoreError::Sqlite("remove a pal", error))
    }
}
