//! `serve`: waiting for peers until Ctrl-C, or saying where a pal waits for them.

use super::args::Serve;
use super::things::about;
use super::{Desk, Place, table};
use crate::failure::{Exit, Failure};
use crate::local::stop::Stop;
use crate::remote::{Remote, logs, peers};
use crate::terminal::Report;
use crate::told::{keys, row, text};
use cloudpal_shelf::json::listed;
use cloudpal_shelf::{Item, Kind, Shelf};
use cloudpal_store::{Access, Server};
use cloudpal_swarm::{Part, Swarm};
use serde_json::{Value, json};
use std::time::Duration;

/// How long one wait for the signal takes; another follows.
const A_WHILE: Duration = Duration::from_secs(3600);
/// How long the first announcement may take; later ones are repeated until they are made.
const ANNOUNCE: Duration = Duration::from_secs(60);

/// Serves everything in a folder, or says where a pal does.
pub fn run(desk: Desk<'_>, kind: Kind, wanted: &Serve) -> Result<(), Failure> {
    // First, so that the store's threads leave the signals to us.
    let stop = Stop::catch()?;
    if wanted.at.store.is_some() && wanted.listen.is_none() && !wanted.dht {
        let message = "say where to wait for peers with --listen ADDR, such as 0.0.0.0:4000; or let them find it \
                       with --dht";
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

/// Addresses are printed once they can be dialled, announcements once they were made.
fn folder(desk: Desk<'_>, kind: Kind, wanted: &Serve, stop: &Stop, shelf: Shelf) -> Result<(), Failure> {
    let item = wanted.name.as_ref().map(|name| shelf.find(kind, name)).transpose()?;
    let named = item.as_ref().map(|item| about(&shelf, item)).transpose()?;
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
    let mut lines = Vec::new();
    let mut json = named.clone().unwrap_or_else(|| json!({}));
    let server = wanted.listen.as_deref().map(|address| listen(&shelf, address)).transpose()?;
    if let Some(server) = &server {
        let address = server.address();
        lines.push(format!("Peers can connect to {address} until Ctrl-C."));
        json["address"] = json!(address.to_string());
        json["port"] = json!(address.port());
    }
    let swarm = match &item {
        Some(item) if wanted.dht => Some(announce(desk, &shelf, item, wanted)?),
        _ => None,
    };
    if swarm.is_some() {
        lines.push("Whoever has the key finds it on the DHT until Ctrl-C.".into());
    }
    json["announced"] = json!(swarm.is_some());
    match &named {
        Some(one) => lines.push(keys(one)),
        None => lines.extend(all.iter().map(|one| format!("  {:<6} {}", text(one, "kind"), row(one)))),
    }
    json["network_key"] = json!(hex::encode(shelf.store().network_key()));
    json["things"] = json!(all);
    desk.terminal.print(&Report::new(lines.join("\n"), json))?;
    while !stop.wait(A_WHILE) {}
    drop(swarm);
    drop(server);
    drop(sessions);
    Ok(shelf.close()?)
}

fn listen(shelf: &Shelf, address: &str) -> Result<Server, Failure> {
    shelf.store().serve(address, Access::Anyone).map_err(|error| {
        let message =
            format!("cannot listen on {address}; is the address one of this machine, and the port free?");
        Failure::because(Exit::Failed, message, error)
    })
}

fn announce(desk: Desk<'_>, shelf: &Shelf, item: &Item, wanted: &Serve) -> Result<Swarm, Failure> {
    desk.app.progress.step("Announcing it on the DHT");
    let topic = shelf.log(item)?.info().discovery_key;
    let swarm = table::enter(shelf.store(), &wanted.table)?;
    swarm.join(topic, Part::Serve);
    let standing = swarm.wait(&topic, ANNOUNCE, |standing| standing.announced);
    match standing.announced {
        true => Ok(swarm),
        false => {
            let why = standing.trouble.unwrap_or_else(|| "no node answers".into());
            let message = format!("it could not be announced on the DHT: {why}");
            Err(Failure::new(Exit::Unreachable, message))
        }
    }
}
