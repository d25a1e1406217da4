//! Commands for finding one another.

use super::logs::Logs;
use anyhow::{Context as _, Result, ensure};
use cloudpal_store::Store;
use cloudpal_swarm::{Bootstrap, Node, Part, Swarm, SwarmOptions};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// How long an announcement may take.
const ANNOUNCE: Duration = Duration::from_secs(30);

/// The table that we keep, and the one that we are on. Dropping it leaves both.
#[derive(Default)]
pub struct Swarms {
    swarm: Option<Swarm>,
    table: Vec<Node>,
}

#[derive(Deserialize)]
pub struct Table {
    nodes: usize,
}

#[derive(Deserialize)]
pub struct Start {
    bootstrap: Vec<String>,
}

#[derive(Deserialize)]
pub struct Join {
    log: String,
    serve: bool,
}

impl Swarms {
    pub fn table(&mut self, wanted: &Table) -> Result<Value> {
        while self.table.len() < wanted.nodes {
            let others: Vec<_> = self.table.iter().map(|node| node.address().to_string()).collect();
            self.table.push(Node::start(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), &others)?);
        }
        let first = self.table.first().context("a table of no nodes")?;
        Ok(json!({ "bootstrap": [first.address().to_string()] }))
    }

    pub fn start(&mut self, store: &Store, wanted: Start) -> Result<Value> {
        let bootstrap = Bootstrap::Nodes(wanted.bootstrap);
        self.swarm = Some(Swarm::start(store, SwarmOptions { bootstrap, ..SwarmOptions::default() })?);
        Ok(json!({}))
    }

    /// Announces an open log, which is done then, or begins to look for it.
    pub fn join(&self, logs: &Logs, wanted: &Join) -> Result<Value> {
        let swarm = self.swarm()?;
        let topic = logs.session(&wanted.log)?.info().discovery_key;
        if wanted.serve {
            swarm.join(topic, Part::Serve);
            let standing = swarm.wait(&topic, ANNOUNCE, |standing| standing.announced);
            ensure!(standing.announced, "not announced: {standing:?}");
        } else {
            swarm.join(topic, Part::Find);
        }
        Ok(json!({}))
    }

    /// How many peers are connected.
    pub fn met(&self) -> Result<Value> {
        Ok(json!({ "met": self.swarm()?.connections().len() }))
    }

    fn swarm(&self) -> Result<&Swarm> {
        self.swarm.as_ref().context("not on a table")
    }
}
