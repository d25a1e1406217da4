//! `serve`: waiting for peers until Ctrl-C.

use super::Desk;
use super::args::Serve;
use super::things::{about, keys, text};
use crate::failure::{Exit, Failure};
use crate::local::stop::Stop;
use crate::local::{Kind, Shelf};
use crate::terminal::Report;
use cloudpal_store::Access;
use serde_json::json;
use std::time::Duration;

/// How long one wait for the signal takes; another follows.
const A_WHILE: Duration = Duration::from_secs(3600);

/// Serves everything in a folder. The address is printed once it can be dialled.
pub fn run(desk: Desk<'_>, kind: Kind, wanted: &Serve) -> Result<(), Failure> {
    // First, so that the store's threads leave the signals to us.
    let stop = Stop::catch()?;
    let shelf = Shelf::open(desk.app.person, &wanted.store)?;
    let named = match &wanted.name {
        Some(name) => Some(about(&shelf, &shelf.find(kind, name)?)?),
        None => None,
    };
    let mut all = Vec::new();
    // Held while serving, so that peers find them at once.
    let mut sessions = Vec::new();
    for kind in [Kind::Log, Kind::Bee, Kind::Drive] {
        for item in shelf.list(kind)? {
            let key = item.key()?;
            all.push(
                json!({ "kind": kind, "name": item.name, "key": key.to_string(), "key_z32": key.z32() }),
            );
            sessions.push(shelf.log(&item)?);
            if kind == Kind::Drive {
                sessions.extend(shelf.contents(&item)?);
            }
        }
    }
    let server = shelf.store.serve(wanted.listen.as_str(), Access::Anyone).map_err(|error| {
        let message = format!(
            "cannot listen on {}; is the address one of this machine, and the port free?",
            wanted.listen
        );
        Failure::because(Exit::Failed, message, error)
    })?;
    let address = server.address();
    let mut lines = vec![format!("Peers can connect to {address} until Ctrl-C.")];
    match &named {
        Some(one) => lines.push(keys(one)),
        None => lines.extend(all.iter().map(|one| {
            format!("  {:<6} {:<20} {}", text(one, "kind"), text(one, "name"), text(one, "key_z32"))
        })),
    }
    let mut json = named.unwrap_or_else(|| json!({}));
    json["address"] = json!(address.to_string());
    json["port"] = json!(address.port());
    json["network_key"] = json!(hex::encode(shelf.store.network_key()));
    json["things"] = json!(all);
    desk.terminal.print(&Report::new(lines.join("\n"), json))?;
    while !stop.wait(A_WHILE) {}
    drop(server);
    drop(sessions);
    shelf.close()
}
