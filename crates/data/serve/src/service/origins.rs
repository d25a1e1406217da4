//! Which batches of which clients were done: one that is sent again after its answer was lost is not done twice.
//!
//! A client numbers its batches and sends them in order. The highest number done is written in the same atomic batch
//! as the changes, below the name that no token reaches, so it is there exactly when they are.

use super::{lock, seconds};
use crate::code::Failure;
use crate::token::RESERVED;
use crate::wire::Origin;
use bytes::Bytes;
use cloudpal_base::{Batch, Database, Durability, Kind, Range, Sub};
use cloudpal_log::codec::{Reader, Write as _};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// What is remembered of a client that has not written for so long is dropped: 90 days, in seconds.
const KEPT: u64 = 90 * 24 * 60 * 60;

type Client = [u8; 16];

/// The highest number done for a client; none: not looked up yet.
type Slot = Arc<Mutex<Option<u64>>>;

/// Clients that are writing now. Two connections of one client take turns.
#[derive(Default)]
pub struct Origins {
    slots: Mutex<HashMap<Client, Slot>>,
}

impl Origins {
    /// The client's slot. Slots that nobody uses are dropped on the way.
    pub fn slot(&self, client: Client) -> Slot {
        let mut slots = lock(&self.slots);
        if slots.len() > 1024 {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(client).or_default().clone()
    }
}

/// The highest number done for a client, from the database. Zero: none.
pub fn done(database: &Database, client: &Client) -> Result<u64, Failure> {
    let found = database.snapshot().get(&applied(), client);
    let found = found.map_err(|error| Failure::of_database(&error))?;
    Ok(found.and_then(|bytes| Reader::new(&bytes).uint().ok()).unwrap_or(0))
}

/// Adds to a batch that `origin` is done with it.
pub fn note(batch: &mut Batch, origin: Origin) {
    let mut record = Vec::new();
    record.uint(origin.sequence);
    record.uint(seconds());
    batch.put(&applied(), Bytes::copy_from_slice(&origin.client), record);
}

/// Forgets clients that have been silent for long.
pub fn sweep(database: &Database) -> Result<(), Failure> {
    let (mut batch, mut old) = (Batch::new(), 0);
    let before = seconds().saturating_sub(KEPT);
    let scanned = database.snapshot().scan(&applied(), &Range::default(), &mut |client, record| {
        let mut reader = Reader::new(record);
        let noted = reader.uint().and_then(|_| reader.uint());
        if noted.is_ok_and(|noted| noted < before) {
            batch.del(&applied(), Bytes::copy_from_slice(client));
            old += 1;
        }
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| Failure::of_database(&error))?;
    if old > 0 {
        database.write(batch, Durability::Relaxed).map_err(|error| Failure::of_database(&error))?;
    }
    Ok(())
}

fn applied() -> Sub {
    Sub::new(format!("{RESERVED}/applied"), Kind::Register).expect("a short name without NUL")
}
