//! The peers of one program, and the connections between them.

use super::{Child, Kind, Site};
use anyhow::{Context as _, Result};
use blake2::digest::consts::U32;
use blake2::digest::{Digest as _, Mac as _};
use blake2::{Blake2b, Blake2bMac};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The primary key of every store: named logs of two peers are then the same, which twins need.
const PRIMARY: [u8; 32] = [7; 32];

/// The seed of the key pair of the log `name` in a store with that key, as npm corestore derives it.
pub fn seed_of(name: &str) -> [u8; 32] {
    let namespace = Blake2b::<U32>::digest([Blake2b::<U32>::digest("corestore").as_slice(), &[0]].concat());
    let mut keyed =
        Blake2bMac::<U32>::new_with_salt_and_personal(&PRIMARY, &[], &[]).expect("a key of 32 bytes");
    for part in [namespace.as_slice(), &[0; 32], name.as_bytes()] {
        keyed.update(part);
    }
    keyed.finalize().into_bytes().into()
}

/// Peers by number, and edges by number: who dials whom.
pub struct Cast<'a> {
    site: &'a Site,
    kinds: &'a [Kind],
    edges: &'a [(usize, usize)],
    dir: PathBuf,
    children: Vec<Child>,
}

impl<'a> Cast<'a> {
    /// Starts every peer. Nobody is connected yet.
    pub fn start(site: &'a Site, kinds: &'a [Kind], edges: &'a [(usize, usize)], dir: &Path) -> Result<Self> {
        let mut cast = Cast { site, kinds, edges, dir: dir.to_owned(), children: Vec::new() };
        for number in 0..kinds.len() {
            let child = cast.child(number)?;
            cast.children.push(child);
        }
        Ok(cast)
    }

    fn child(&self, number: usize) -> Result<Child> {
        let dir = self.dir.join(number.to_string());
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let primary = hex::encode(PRIMARY);
        Child::start(self.site, self.kinds[number], &format!("peer {number}"), &dir, &primary)
    }

    /// How many peers.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// What a peer is called in reports.
    pub fn name(&self, number: usize) -> &str {
        &self.children[number].name
    }

    /// Tells one peer something.
    pub fn ask(&mut self, number: usize, command: Value) -> Result<Value> {
        self.children[number].ask(command)
    }

    /// Tells several peers the same at once, and gives their answers in order.
    pub fn ask_all(&mut self, numbers: std::ops::Range<usize>, command: &Value) -> Result<Vec<Value>> {
        let mut said = Vec::new();
        for number in numbers.clone() {
            said.push(self.children[number].say(command.clone())?);
        }
        // All are heard even if one failed: an answer that nobody takes would be taken for the next one.
        let heard: Vec<_> =
            said.into_iter().zip(numbers).map(|(said, number)| self.children[number].hear(said)).collect();
        heard.into_iter().collect()
    }

    /// Connects everybody who is to be connected.
    pub fn join_all(&mut self) -> Result<()> {
        (0..self.edges.len()).try_for_each(|edge| self.join(edge))
    }

    /// Connects an edge.
    pub fn join(&mut self, edge: usize) -> Result<()> {
        let (dialler, listener) = self.edges[edge];
        let port = self.ask(listener, json!({ "do": "listen" }))?["port"].clone();
        self.ask(dialler, json!({ "do": "connect", "name": format!("edge {edge}"), "port": port }))?;
        Ok(())
    }

    /// Cuts every edge and connects it again.
    pub fn rejoin_all(&mut self) -> Result<()> {
        (0..self.edges.len()).try_for_each(|edge| self.rejoin(edge))
    }

    /// Cuts an edge and connects it again.
    pub fn rejoin(&mut self, edge: usize) -> Result<()> {
        let (dialler, _) = self.edges[edge];
        self.ask(dialler, json!({ "do": "disconnect", "name": format!("edge {edge}") }))?;
        self.join(edge)
    }

    /// How many connections npm's peers have broken by themselves, each told once.
    pub fn broken(&mut self) -> Result<usize> {
        let told = self.ask_all(0..self.len(), &json!({ "do": "broken" }))?;
        Ok(told.iter().filter_map(|told| told["broken"].as_array()).map(Vec::len).sum())
    }

    /// Ends a peer's process and starts it again on the same files; `reopen` opens there what was open.
    pub fn restart(&mut self, number: usize, reopen: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.children[number].close()?;
        self.children[number] = self.child(number)?;
        reopen(self)?;
        for (edge, &(dialler, listener)) in self.edges.iter().enumerate() {
            if dialler == number || listener == number {
                self.join(edge)?;
            }
        }
        Ok(())
    }

    /// Lets everybody close their files and end.
    pub fn end(mut self) -> Result<()> {
        self.children.iter_mut().try_for_each(Child::close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_store::{Namespace, PrimaryKey};

    #[test]
    fn a_stores_named_log_has_the_key_pair_of_that_seed() {
        let ours = PrimaryKey::new(PRIMARY).key_pair(&Namespace::ROOT, "first");
        assert_eq!(cloudpal_log::KeyPair::from_seed(&seed_of("first")).public_key(), ours.public_key());
    }
}
