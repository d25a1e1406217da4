//! Our data crates as a peer: the same JSON commands as `peers/*.mjs`, answered in order.

mod bees;
mod drives;
mod links;
mod logs;
mod swarms;

use anyhow::{Context as _, Result, bail};
use bees::Bees;
use cloudpal_store::{Options, PrimaryKey, Store, StoreKey};
use drives::Drives;
use links::Links;
use logs::Logs;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use swarms::Swarms;

/// The store's key: nothing that this peer holds is worth more than a test.
const STORE_KEY: [u8; 32] = [9; 32];

/// Answers commands until standard input ends.
pub fn serve() -> Result<()> {
    let mut peer: Option<Peer> = None;
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?).context("a command is not JSON")?;
        let name = command["do"].as_str().context("a command has no name")?;
        let answer = match name {
            "init" => Peer::start(&command).map(|started| {
                peer = Some(started);
                json!({ "name": "cloudpal" })
            }),
            _ => peer.as_mut().context("no init before").and_then(|peer| peer.answer(name, &command)),
        };
        let mut answer = match answer {
            Ok(mut answer) => {
                answer["ok"] = json!(true);
                answer
            }
            Err(error) => json!({ "ok": false, "error": format!("{name}: {error:#}") }),
        };
        answer["id"] = command["id"].clone();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}").and_then(|()| out.flush()).context("nobody hears the answer")?;
    }
    Ok(())
}

struct Peer {
    store: Store,
    logs: Logs,
    bees: Bees,
    drives: Drives,
    links: Links,
    swarms: Swarms,
}

#[derive(Deserialize)]
struct Init {
    dir: PathBuf,
    primary: String,
}

impl Peer {
    fn start(command: &Value) -> Result<Peer> {
        let Init { dir, primary } = read(command)?;
        let options = Options { primary_key: Some(PrimaryKey::new(key(&primary)?)), ..Options::default() };
        let store = Store::open(&dir.join("cloudpal"), &StoreKey::new(STORE_KEY), options)?;
        Ok(Peer {
            store,
            logs: Logs::default(),
            bees: Bees::default(),
            drives: Drives::default(),
            links: Links::default(),
            swarms: Swarms::default(),
        })
    }

    fn answer(&mut self, name: &str, command: &Value) -> Result<Value> {
        match name {
            "openLog" => self.logs.open(&self.store, &read(command)?),
            "append" => self.logs.append(&read(command)?),
            "truncate" => self.logs.truncate(&read(command)?),
            "wait" => self.logs.wait(&read(command)?),
            "download" => self.logs.download(&read(command)?),
            "fetch" => self.logs.fetch(&read(command)?),
            "live" => self.logs.live(&read(command)?),
            "clear" => self.logs.clear(&read(command)?),
            "seek" => self.logs.seek(&read(command)?),
            "dump" => self.logs.dump(&read(command)?),
            "openBee" => self.bees.open(&self.logs, &read(command)?),
            "batch" => self.bees.batch(&read(command)?),
            "scan" => self.bees.scan(&read(command)?),
            "history" => self.bees.history(&read(command)?),
            "diff" => self.bees.diff(&read(command)?),
            "getKeys" => self.bees.get_keys(&read(command)?),
            "openDrive" => self.drives.open(&self.store, &read(command)?),
            "change" => self.drives.change(&read(command)?),
            "waitDrive" => self.drives.wait(&read(command)?),
            "files" => self.drives.files(&read(command)?),
            "readPart" => self.drives.read_part(&read(command)?),
            "driveDiff" => self.drives.diff(&read(command)?),
            "heads" => self.drives.heads(&read(command)?),
            "coreKey" => drives::core_key(&self.store, &read(command)?),
            "listen" => self.links.listen(&self.store),
            "connect" => self.links.connect(&self.store, read(command)?),
            "disconnect" => Ok(self.links.disconnect(&read(command)?)),
            // Our own end of a connection breaks only by what the other side does.
            "broken" => Ok(json!({ "broken": [] })),
            "table" => self.swarms.table(&read(command)?),
            "swarm" => self.swarms.start(&self.store, read(command)?),
            "joinSwarm" => self.swarms.join(&self.logs, &read(command)?),
            "met" => self.swarms.met(),
            "close" => {
                self.swarms = Swarms::default();
                self.store.close()?;
                Ok(json!({}))
            }
            _ => bail!("no such command"),
        }
    }
}

/// A command's arguments.
fn read<T: DeserializeOwned>(command: &Value) -> Result<T> {
    T::deserialize(command).with_context(|| format!("cannot read {command}"))
}

/// 32 bytes out of hex.
fn key(text: &str) -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).with_context(|| format!("{text} is no key"))?;
    Ok(bytes)
}
