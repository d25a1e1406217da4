//! `serve`: waiting for peers until Ctrl-C, or saying where a pal waits for them.

use super::args::Serve;
use super::things::about;
use super::{Desk, Place};
use crate::failure::{Exit, Failure};
use crate::local::stop::Stop;
use crate::remote::{Remote, logs, peers};
use crate::terminal::Report;
use crate::told::{keys, row, text};
use cloudpal_shelf::json::listed;
use cloudpal_shelf::{Kind, Shelf};
use cloudpal_store::Access;
use serde_json::{Value, json};
use std::time::Duration;

/// How long one wait for the signal takes; another follows.
const A_WHILE: Duration = Duration::from_secs(3600);

/// Serves everything in a folder, or says where a pal does.
pub fn run(desk: Desk<'_>, kind: Kind, wanted: &Serve) -> Result<(), Failure> {
    // First, so that the store's threads leave the signals to us.
    let stop = Stop::catch()?;
    if wanted.at.store.is_some() && wanted.listen.is_none() {
        let message = "say where to wait for peers with --listen ADDR, such as 0.0.0.0:4000";
        return Err(Failure::new(Exit::Usage, message));
    }
    match desk.open(&wanted.at)? {
        Place::Folder(shelf) => folder(desk, kind, wanted, &stop, shelf),
        Place::Pal(pal) => desk.terminal.print(&at_the_pal(kind, wanted.name.as_deref(), &pal)?),
    }
}

/// A pal serves as long as it is awake; there is nothing to start.
fn at_the_pal(kind: Kind, name: Option<&str>, pal: &Remote) -> Result<Report, Failure> {
    let about = peers::about(pal)?;
    let addresses = about["replicate"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let addresses: Vec<_> = addresses.collect();
    let mut lines = vec![format!(
        "{} serves all it holds to the devices of its network, whenever it is awake and unlocked, at {}.",
        pal.name,
        addresses.join(" and ")
    )];
    let mut json = json!({});
    if let Some(name) = name {
        json = logs::info(pal, kind, name)?.json;
        lines.push(keys(&json));
    }
    json["address"] = json!(addresses.first());
    json["addresses"] = json!(addresses);
    json["network_key"] = about["network_key"].clone();
    Ok(Report::new(lines.join("\n"), json))
}

/// The address is printed once it can be dialled.
fn folder(desk: Desk<'_>, kind: Kind, wanted: &Serve, stop: &Stop, shelf: Shelf) -> Result<(), Failure> {
    let listen = wanted.listen.as_deref().unwrap_or_default();
    let named = match &wanted.name {
        Some(name) => Some(about(&shelf, &shelf.find(kind, name)?)?),
        None => None,
    };
    let mut all = Vec::new();
    // Held while serving, so that peers find them at once.
    let mut sessions = Vec::new();
    for kind in Kind::ALL {
        for item in shelf.list(kind)? {
            all.push(listed(&item));
            sessions.push(shelf.log(&item)?);
            if kind == Kind::Drive {
                // A copy may not know yet where its contents are.
                sessions.extend(shelf.contents(&item).ok());
            }
        }
    }
    let server = shelf.store().serve(listen, Access::Anyone).map_err(|error| {
        let message =
            format!("cannot listen on {listen}; is the address one of this machine, and the port free?");
        Failure::because(Exit::Failed, message, error)
    })?;
    let address = server.address();
    let mut lines = vec![format!("Peers can connect to {address} until Ctrl-C.")];
    match &named {
        Some(one) => lines.push(keys(one)),
        None => lines.extend(all.iter().map(|one| format!("  {:<6} {}", text(one, "kind"), row(one)))),
    }
    let mut json = named.unwrap_or_else(|| json!({}));
    json["address"] = json!(address.to_string());
    json["port"] = json!(address.port());
    json["network_key"] = json!(hex::encode(shelf.store().network_key()));
    json["things"] = json!(all);
    desk.terminal.print(&Report::new(lines.join("\n"), json))?;
    while !stop.wait(A_WHILE) {}
    drop(server);
    drop(sessions);
    Ok(shelf.close()?)
}
