use crate::{ClientId, Dot};
use cloudpal_log::codec::{CodecError, Reader, Write};
use std::collections::BTreeMap;

/// What was seen of each writer: the first so many blocks of its log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Heads(BTreeMap<ClientId, u64>);

impl Heads {
    /// Nothing seen.
    pub fn new() -> Self {
        Heads::default()
    }

    /// How many blocks of `client` were seen.
    pub fn get(&self, client: ClientId) -> u64 {
        self.0.get(&client).copied().unwrap_or(0)
    }

    /// Whether what lies at `dot` was seen.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.position < self.get(dot.client)
    }

    /// Notes that the first `length` blocks of `client` were seen.
    pub fn see(&mut self, client: ClientId, length: u64) {
        if length > 0 {
            let seen = self.0.entry(client).or_insert(0);
            *seen = length.max(*seen);
        }
    }

    /// Notes everything that `other` has seen.
    pub fn merge(&mut self, other: &Heads) {
        other.iter().for_each(|(client, length)| self.see(client, length));
    }

    /// Whether everything in `other` was seen here too.
    pub fn covers(&self, other: &Heads) -> bool {
        other.iter().all(|(client, length)| self.get(client) >= length)
    }

    /// What `self` has seen more than `older`, leaving out `except`.
    pub(crate) fn since(&self, older: &Heads, except: ClientId) -> Heads {
        let newer = self.iter().filter(|(client, length)| *client != except && older.get(*client) < *length);
        Heads(newer.collect())
    }

    /// All writers of whom something was seen, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, u64)> + '_ {
        self.0.iter().map(|(client, length)| (*client, *length))
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In bytes: count, then writer and length of each, in the writers' order.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(self.0.len() as u64);
        for (client, length) in self.iter() {
            client.write(out);
            out.uint(length);
        }
    }

    /// From bytes; writers out of order are refused, so that equal heads have equal bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let items = reader
            .array(ClientId::LEN + 1, "heads", |reader| Ok((ClientId::read(reader)?, reader.uint()?)))?;
        let sorted = items.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let filled = items.iter().all(|(_, length)| *length > 0);
        if sorted && filled {
            Ok(Heads(items.into_iter().collect()))
        } else {
            Err(CodecError::Value("heads"))
        }
    }
}

impl FromIterator<(ClientId, u64)> for Heads {
    fn from_iter<I: IntoIterator<Item = (ClientId, u64)>>(items: I) -> Self {
        let mut heads = Heads::new();
        items.into_iter().for_each(|(client, length)| heads.see(client, length));
        heads
    }
}
