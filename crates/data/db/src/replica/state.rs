//! What a replica keeps beside the view, flushed with it as one.

use super::{Replica, Writer};
use crate::clock::Clock;
use crate::members::{Founder, Records};
use crate::merge::Tally;
use crate::record::{Candidate, SignedRecord};
use crate::sub::Kind;
use crate::{ClientId, Dot, Heads, Stamp, Sub, WriterId};
use bytes::Bytes;
use cloudpal_core::PublicKey;
use cloudpal_sorted::Pages;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 2;

type Pairs = Vec<(u64, u64)>;

#[derive(Serialize, Deserialize)]
pub(super) struct State {
    founder: Option<(Candidate, PublicKey)>,
    records: Vec<(SignedRecord, Pairs)>,
    writers: Vec<([u8; 32], u64, Pairs)>,
    latest: Pairs,
    clock: (u64, u64),
    conflicts: u64,
    indexes: Vec<(String, u8, String)>,
    feed: u64,
    generation: u64,
}

impl State {
    pub fn of<P: Pages>(replica: &Replica<P>) -> Self {
        let Stamp { wall_ms, counter } = replica.clock.0;
        State {
            founder: replica.founder.map(|founder| (founder.candidate, founder.owner)),
            records: replica
                .records
                .iter()
                .map(|held| {
                    let places = held.places.iter().map(|dot| (dot.client.get(), dot.position));
                    (held.signed.clone(), places.collect())
                })
                .collect(),
            writers: replica
                .writers
                .values()
                .map(|writer| (writer.id.0, writer.read, pairs(&writer.seen)))
                .collect(),
            latest: pairs(&replica.latest),
            clock: (wall_ms, counter),
            conflicts: replica.tally.conflicts,
            indexes: replica
                .tally
                .indexes
                .iter()
                .map(|(sub, path)| (sub.name().to_owned(), sub.kind() as u8, path.to_owned()))
                .collect(),
            feed: replica.feed,
            generation: replica.generation,
        }
    }

    pub fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        // Nothing in it can fail to encode.
        bytes.extend(postcard::to_stdvec(self).unwrap_or_default());
        bytes.into()
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&VERSION, rest) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }

    pub fn restore<P: Pages>(self, replica: &mut Replica<P>) {
        replica.founder = self.founder.map(|(candidate, owner)| Founder { candidate, owner });
        let mut records = Records::default();
        let owner = replica.founder.map(|founder| founder.owner);
        // The owner's word first: it says whose else counts.
        let (first, then): (Vec<_>, Vec<_>) =
            self.records.into_iter().partition(|(signed, _)| Some(signed.signer()) == owner);
        for (signed, places) in first.into_iter().chain(then) {
            for (client, position) in places {
                if let (Some(client), Some(founder)) = (ClientId::new(client), &replica.founder) {
                    let _ = records.insert(founder, signed.clone(), Dot { client, position }, u64::MAX);
                }
            }
        }
        replica.records = records;
        for (id, read, seen) in self.writers {
            let id = WriterId(id);
            let writer = Writer { read, scanned: read, seen: heads(seen), ..Writer::new(id) };
            replica.writers.insert(id.client(), writer);
        }
        replica.latest = heads(self.latest);
        replica.clock = Clock(Stamp { wall_ms: self.clock.0, counter: self.clock.1 });
        let mut tally = Tally { conflicts: self.conflicts, ..Tally::default() };
        for (name, kind, path) in self.indexes {
            if let (Some(kind), path) = (Kind::from_byte(kind), path)
                && let Ok(sub) = Sub::new(name, kind)
            {
                tally.indexes.declare(&sub, &path);
            }
        }
        replica.tally = tally;
        replica.feed = self.feed;
        replica.generation = self.generation;
    }
}

fn pairs(heads: &Heads) -> Pairs {
    heads.iter().map(|(client, length)| (client.get(), length)).collect()
}

fn heads(pairs: Pairs) -> Heads {
    pairs.into_iter().filter_map(|(client, length)| Some((ClientId::new(client)?, length))).collect()
}
