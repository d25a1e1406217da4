//! What a replica keeps beside the view, flushed with it as one.

use super::checkpoint::{Checkpoint, Pairs};
use super::{Replica, Writer};
use crate::clock::Clock;
use crate::members::{Founder, Records};
use crate::merge::Tally;
use crate::record::{Candidate, SignedRecord};
use crate::sub::Kind;
use crate::{ClientId, Heads, Stamp, Sub, WriterId};
use bytes::Bytes;
use cloudpal_core::PublicKey;
use cloudpal_sorted::Pages;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 3;

#[derive(Serialize, Deserialize)]
pub(super) struct State {
    founder: Option<(Candidate, PublicKey)>,
    records: Vec<(SignedRecord, Pairs)>,
    writers: Vec<([u8; 32], u64, Pairs)>,
    latest: Pairs,
    untold: Pairs,
    clock: (u64, u64),
    conflicts: u64,
    indexes: Vec<(String, u8, String)>,
    feed: u64,
    generation: u64,
    about: Vec<u64>,
    /// Log, last block, when it was made, and what lies before it.
    base: Option<([u8; 32], u64, u64, Pairs)>,
    stale: bool,
}

impl State {
    pub fn of<P: Pages>(replica: &Replica<P>) -> Self {
        let Stamp { wall_ms, counter } = replica.clock.0;
        State {
            founder: replica.founder.map(|founder| (founder.candidate, founder.owner)),
            records: replica.records.clone().into_pairs(),
            writers: replica
                .writers
                .values()
                .map(|writer| (writer.id.0, writer.read, pairs(&writer.seen)))
                .collect(),
            latest: pairs(&replica.latest),
            untold: pairs(&replica.untold),
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
            about: replica.records.about().map(ClientId::get).collect(),
            base: replica.base.as_ref().map(|base| (base.log.0, base.tail, base.made_ms, pairs(&base.heads))),
            stale: replica.stale,
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
        if let Some(founder) = &replica.founder {
            let about = self.about.into_iter().filter_map(ClientId::new);
            replica.records = Records::restore(founder, self.records, about);
        }
        replica.base = self.base.map(|(log, tail, made_ms, before)| Checkpoint {
            log: WriterId(log),
            tail,
            made_ms,
            heads: heads(before),
        });
        replica.stale = self.stale;
        for (id, read, seen) in self.writers {
            let id = WriterId(id);
            let writer = Writer { read, scanned: read, seen: heads(seen), ..Writer::new(id) };
            replica.writers.insert(id.client(), writer);
        }
        replica.latest = heads(self.latest);
        replica.untold = heads(self.untold);
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
