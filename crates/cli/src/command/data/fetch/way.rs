//! The way to whoever has it: an address, or whom the distributed hash table names.

use crate::command::data::args::Fetch;
use crate::command::data::{Desk, table};
use crate::failure::{Exit, Failure};
use crate::local::stop::Stop;
use cloudpal_shelf::Kind;
use cloudpal_store::{Access, Connection, Session, Store};
use cloudpal_swarm::{Part, Swarm};
use std::time::Duration;

/// Between two tries to reach a peer that was there before.
const AGAIN: Duration = Duration::from_secs(1);

/// How peers are reached.
pub enum Way<'a> {
    /// One peer, dialled again when it goes away.
    Address { from: &'a str, connection: Connection },
    /// Whoever announced the log; the swarm dials again by itself.
    Table { swarm: Swarm, topic: [u8; 32] },
}

impl<'a> Way<'a> {
    /// Connects, or begins to look.
    pub fn find(desk: Desk<'_>, store: &Store, wanted: &'a Fetch, log: &Session) -> Result<Self, Failure> {
        if let Some(from) = wanted.from.as_deref() {
            desk.app.progress.step(&format!("Connecting to {from}"));
            return Ok(Way::Address { from, connection: connect(store, from)? });
        }
        desk.app.progress.step("Looking on the DHT for whoever has it");
        let (swarm, topic) = (table::enter(store, &wanted.table)?, log.info().discovery_key);
        swarm.join(topic, Part::Find);
        Ok(Way::Table { swarm, topic })
    }

    /// Connects again if the peer has gone.
    pub fn keep(&mut self, store: &Store, stop: &Stop) {
        let Way::Address { from, connection } = self else { return };
        if !connection.is_closed() {
            return;
        }
        match connect(store, from) {
            Ok(again) => *connection = again,
            Err(error) => {
                tracing::debug!(%error, "the peer is not back yet");
                stop.wait(AGAIN);
            }
        }
    }

    /// Why nothing came.
    pub fn led_nowhere(&self, kind: Kind) -> Failure {
        let word = kind.word();
        let message = match self {
            Way::Address { from, .. } => format!(
                "{from} is there but has nothing of this {word}; ask for the right key, or whether it is served there"
            ),
            Way::Table { swarm, topic } => {
                let standing = swarm.wait(topic, Duration::ZERO, |_| true);
                match (standing.found, standing.connected, standing.trouble) {
                    (0, _, None) => format!(
                        "nobody has announced this {word} on the DHT; ask for the right key, or whether it is served with --dht"
                    ),
                    (0, _, Some(trouble)) => format!("the DHT could not be asked for this {word}: {trouble}"),
                    (found, 0, trouble) => {
                        let why = trouble.unwrap_or_else(|| "they do not answer yet".into());
                        format!("{found} on the DHT announced this {word}, but none was reached: {why}")
                    }
                    _ => format!("who announced this {word} on the DHT has nothing of it"),
                }
            }
        };
        Failure::new(Exit::Unreachable, message)
    }
}

fn connect(store: &Store, from: &str) -> Result<Connection, Failure> {
    store
        .connect(from, &Access::Anyone)
        .map_err(|error| Failure::because(Exit::Unreachable, format!("{from} cannot be reached"), error))
}
