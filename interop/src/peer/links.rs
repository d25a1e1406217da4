//! Connections on plain TCP, by the driver's names for them.

use anyhow::{Context as _, Result};
use cloudpal_store::{Access, Connection, Server, Store};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Where we listen, and whom we dialled.
#[derive(Default)]
pub struct Links {
    server: Option<Server>,
    dialled: HashMap<String, Connection>,
}

#[derive(Deserialize)]
pub struct Connect {
    name: String,
    port: u16,
}

#[derive(Deserialize)]
pub struct Disconnect {
    name: String,
}

impl Links {
    pub fn listen(&mut self, store: &Store) -> Result<Value> {
        let server = match self.server.take() {
            Some(server) => server,
            None => store.serve("127.0.0.1:0", Access::Anyone).context("cannot listen")?,
        };
        let port = server.address().port();
        self.server = Some(server);
        Ok(json!({ "port": port }))
    }

    pub fn connect(&mut self, store: &Store, wanted: Connect) -> Result<Value> {
        let connection = store.connect(("127.0.0.1", wanted.port), &Access::Anyone)?;
        self.dialled.insert(wanted.name, connection);
        Ok(json!({}))
    }

    /// Cuts a connection that we dialled, without a goodbye.
    pub fn disconnect(&mut self, wanted: &Disconnect) -> Value {
        if let Some(connection) = self.dialled.remove(&wanted.name) {
            connection.close();
        }
        json!({})
    }
}
