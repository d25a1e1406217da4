//! What of a checkpoint is readable without a key.

use crate::members::{Founder, Records};
use crate::record::SignedRecord;
use crate::{ClientId, Dot, Heads, WriterId};
use serde::{Deserialize, Serialize};

/// Writers or places, as numbers.
pub type Pairs = Vec<(u64, u64)>;

/// Who had written how much when a checkpoint was made, and what was known of members.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Standing {
    /// The checkpoint before: its log and last block.
    base: Option<([u8; 32], u64)>,
    /// Logs, and how many blocks of each had been dealt with.
    pub(super) writers: Vec<([u8; 32], u64)>,
    records: Vec<(SignedRecord, Pairs)>,
    about: Vec<u64>,
}

impl Standing {
    pub(super) fn new(
        base: Option<(WriterId, u64)>,
        writers: impl Iterator<Item = (WriterId, u64)>,
        records: &Records,
    ) -> Self {
        let records = records.clone();
        Standing {
            base: base.map(|(log, tail)| (log.0, tail)),
            writers: writers.map(|(writer, read)| (writer.0, read)).collect(),
            about: records.about().map(ClientId::get).collect(),
            records: records.into_pairs(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Nothing in it can fail to encode.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// From bytes, the pieces of it put end to end; none if they are no such thing.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// The checkpoint before: its log and last block.
    pub fn base(&self) -> Option<(WriterId, u64)> {
        self.base.map(|(log, tail)| (WriterId(log), tail))
    }

    /// How many blocks of each log lie before the checkpoint.
    pub fn heads(&self) -> Heads {
        self.writers.iter().map(|(writer, read)| (WriterId(*writer).client(), *read)).collect()
    }

    pub(super) fn records(&self, founder: &Founder) -> Records {
        let about = self.about.iter().filter_map(|client| ClientId::new(*client));
        Records::restore(founder, self.records.clone(), about)
    }

    /// The records that were known, and where they lay.
    pub fn places(&self) -> impl Iterator<Item = (&SignedRecord, Vec<Dot>)> {
        let dots = |places: &Pairs| {
            let dot = |(client, position): &(u64, u64)| {
                Some(Dot { client: ClientId::new(*client)?, position: *position })
            };
            places.iter().filter_map(dot).collect()
        };
        self.records.iter().map(move |(signed, places)| (signed, dots(places)))
    }
}
