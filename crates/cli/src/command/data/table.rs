//! Getting onto the distributed hash table. Nothing does unless it is asked to with `--dht`.

use super::args::Table;
use crate::failure::Failure;
use crate::local::failure::failed;
use cloudpal_store::Store;
use cloudpal_swarm::{Bootstrap, Swarm, SwarmOptions};

/// Gets onto the table that was named, or the public one.
pub fn enter(store: &Store, wanted: &Table) -> Result<Swarm, Failure> {
    let bootstrap = match wanted.bootstrap.is_empty() {
        true => Bootstrap::Public,
        false => Bootstrap::Nodes(wanted.bootstrap.clone()),
    };
    Swarm::start(store, SwarmOptions { bootstrap, ..SwarmOptions::default() }).map_err(failed)
}
