//! `listen` and `sync`: two folders, or devices, that bring each other up to date.

use super::args::{Listen, Sync};
use super::room::{House, Room};
use super::time;
use crate::command::data::Desk;
use crate::command::data::ticks::Ticks;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::local::stop::Stop;
use crate::printable::word;
use crate::remote::{Remote, Tunnel, peers};
use crate::terminal::Report;
use crate::told::{count, text};
use cloudpal_base::Database;
use cloudpal_store::{Access, Connection, Server, Store};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long one wait for the signal takes; another follows.
const A_WHILE: Duration = Duration::from_secs(3600);
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(50);
/// The same at a pal.
const ASK: Duration = Duration::from_millis(500);
/// Between two tries to reach a device that was there before.
const AGAIN: Duration = Duration::from_secs(1);

/// Opens an address for peers.
pub fn serve(store: &Store, listen: &str) -> Result<Server, Failure> {
    store.serve(listen, Access::Anyone).map_err(|error| {
        let message =
            format!("cannot listen on {listen}; is the address one of this machine, and the port free?");
        Failure::because(Exit::Failed, message, error)
    })
}

/// Connects to a device that listens.
pub fn connect(store: &Store, address: &str) -> Result<Connection, Failure> {
    store.connect(address, &Access::Anyone).map_err(|error| {
        let message = format!("{address} cannot be reached; does `cloudpal db listen` run there?");
        Failure::because(Exit::Unreachable, message, error)
    })
}

/// `listen`: until Ctrl-C. The address is printed once it can be dialled. A pal listens by itself.
pub fn listen(desk: Desk<'_>, wanted: &Listen) -> Result<(), Failure> {
    // First, so that the store's threads leave the signals to us.
    let stop = Stop::catch()?;
    match (House::open(desk, &wanted.at)?, &wanted.listen) {
        (House::Folder(store), Some(listen)) => folder(desk, wanted, &stop, &store, listen),
        (House::Folder(_), None) => {
            let message = "say where to wait for other devices with --listen ADDR, such as 0.0.0.0:4000";
            Err(Failure::new(Exit::Usage, message))
        }
        (House::Pal(_), Some(_)) => {
            let message = "a pal waits for its devices by itself; without --listen this says where";
            Err(Failure::new(Exit::Usage, message))
        }
        (House::Pal(pal), None) => at_the_pal(desk, &pal),
    }
}

fn folder(desk: Desk<'_>, wanted: &Listen, stop: &Stop, store: &Store, listen: &str) -> Result<(), Failure> {
    let names = match &wanted.name {
        Some(name) => vec![name.clone()],
        None => Database::names(store).map_err(failed)?,
    };
    let open = |name: &String| Database::open(store, name).map_err(failed);
    let bases: Vec<Database> = names.iter().map(open).collect::<Result<_, _>>()?;
    let server = serve(store, listen)?;
    let address = server.address();
    let mut lines = vec![format!("Other devices can connect to {address} until Ctrl-C.")];
    lines.extend(bases.iter().map(|base| format!("  {:<24} {}", word(base.name()), hex::encode(base.key()))));
    let one = |base: &Database| json!({ "name": base.name(), "key": hex::encode(base.key()) });
    let databases: Vec<_> = bases.iter().map(one).collect();
    let json = json!({ "address": address.to_string(), "port": address.port(), "databases": databases });
    desk.terminal.print(&Report::new(lines.join("\n"), json))?;
    while !stop.wait(A_WHILE) {}
    drop(server);
    for base in bases {
        base.close().map_err(failed)?;
    }
    store.close().map_err(failed)
}

fn at_the_pal(desk: Desk<'_>, pal: &Remote) -> Result<(), Failure> {
    let about = peers::about(pal)?;
    let addresses = about["replicate"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let addresses: Vec<_> = addresses.collect();
    let text = format!(
        "{} waits for the devices of its network, whenever it is awake and unlocked, at {}. From here, without its network: \
         cloudpal db sync NAME --with pal --store DIR",
        word(&pal.name),
        addresses.join(" and ")
    );
    desk.terminal.print(&Report::new(text, json!({ "address": addresses.first(), "addresses": addresses })))
}

/// `sync`: until both have everything of each other.
pub fn sync(desk: Desk<'_>, wanted: &Sync) -> Result<(), Failure> {
    let stop = Stop::catch()?;
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let before = room.sync()?;
    let began = Instant::now();
    desk.app.progress.step(&format!("Connecting to {}", wanted.with));
    let mut journey = Journey { desk, wanted, stop, line: Line::lay(desk, &room, wanted)?, room: &room };
    let done = journey.run();
    journey.end();
    let now = match done {
        Ok(now) => now,
        Err(failure) => {
            room.close()?;
            return Err(failure);
        }
    };
    let (text, mut json) = came(&before, &now);
    json["name"] = json!(wanted.name);
    json["standing"] = now["standing"].clone();
    json["took_ms"] = json!(began.elapsed().as_millis() as u64);
    let who = room.who();
    room.finish(desk, &Report::new(text, json))?;
    match now["standing"].as_str() {
        Some("waiting") => {
            let message = format!(
                "{who} is not admitted yet, so it reads and writes nothing; `cloudpal db members` prints the request to \
                 send to the owner"
            );
            Err(Failure::new(Exit::Refused, message))
        }
        Some("removed") => {
            let message = format!(
                "{who} was removed from the database; `cloudpal db renew` prints a request to come back"
            );
            Err(Failure::new(Exit::Refused, message))
        }
        _ => Ok(()),
    }
}

fn logs(told: &Value) -> impl Iterator<Item = &Value> {
    told["progress"].as_array().into_iter().flatten()
}

/// What came since `before`.
fn came(before: &Value, now: &Value) -> (String, Value) {
    let read = |log: &Value| log["read"].as_u64().unwrap_or_default();
    let (mut lines, mut told, mut all) = (Vec::new(), Vec::new(), 0);
    for log in logs(now).filter(|log| log["writer"] != now["writer"]) {
        let seen = logs(before).find(|old| old["writer"] == log["writer"]).map_or(0, read);
        let new = read(log).saturating_sub(seen);
        told.push(json!({ "writer": log["writer"], "name": log["name"], "blocks": new }));
        if new > 0 {
            all += new;
            lines.push(format!("  {:<16}  {}", word(text(log, "name")), count(new, "block")));
        }
    }
    let first = match all {
        0 => "Both have everything of each other. Nothing new came.".to_owned(),
        all => format!("Both have everything of each other. {} came:", count(all, "block")),
    };
    lines.insert(0, first);
    if let Some(due_ms) = now["due_ms"].as_u64() {
        let when = time::shown(due_ms);
        lines.push(format!("Some of it was written by a clock that is ahead, and shows from {when} on."));
    }
    let json = json!({ "came": told, "blocks": all, "progress": now["progress"], "due_ms": now["due_ms"] });
    (lines.join("\n"), json)
}

/// The way to the other.
enum Line {
    /// From a folder to a device that listens.
    Device(Connection),
    /// From a folder to a pal, through a tunnel.
    Pal(Connection, Tunnel),
    /// From a pal to a device, which the pal dials.
    FromPal(SocketAddr),
}

impl Line {
    fn lay(desk: Desk<'_>, room: &Room, wanted: &Sync) -> Result<Self, Failure> {
        let name = match wanted.with.split_once(':') {
            Some(("pal", name)) => Some(Some(name)),
            _ if wanted.with == "pal" => Some(None),
            _ => None,
        };
        match (room, name) {
            (Room::Folder(store, _), None) => Ok(Line::Device(connect(store, &wanted.with)?)),
            (Room::Folder(store, _), Some(name)) => {
                let tunnel = Tunnel::to_peers(desk.app, name)?;
                let connection = connect_to_pal(store, tunnel.address())?;
                Ok(Line::Pal(connection, tunnel))
            }
            (Room::Pal(base), None) => {
                let address = peers::address(&wanted.with)?;
                peers::dial(&base.pal, address)?;
                Ok(Line::FromPal(address))
            }
            (Room::Pal(_), Some(_)) => {
                let message = "a folder of this machine and a pal meet with: cloudpal db sync NAME --with pal --store DIR";
                Err(Failure::new(Exit::Usage, message))
            }
        }
    }

    /// Connects again if the other has gone.
    fn mend(&mut self, room: &Room, wanted: &Sync) -> Result<(), Failure> {
        match (self, room) {
            (Line::Device(line), Room::Folder(store, _)) if line.is_closed() => {
                *line = connect(store, &wanted.with)?;
            }
            (Line::Pal(line, tunnel), Room::Folder(store, _)) if line.is_closed() => {
                *line = connect_to_pal(store, tunnel.address())?;
            }
            // It dials again only if the peer has gone.
            (Line::FromPal(address), Room::Pal(base)) => drop(peers::dial(&base.pal, *address)?),
            _ => {}
        }
        Ok(())
    }
}

fn connect_to_pal(store: &Store, tunnel: SocketAddr) -> Result<Connection, Failure> {
    store.connect(tunnel, &Access::Anyone).map_err(|error| {
        let message = "the pal does not take part: is it unlocked, and this device on its network? See `cloudpal status`";
        Failure::because(Exit::Unreachable, message, error)
    })
}

struct Journey<'a> {
    desk: Desk<'a>,
    room: &'a Room,
    wanted: &'a Sync,
    stop: Stop,
    line: Line,
}

impl Journey<'_> {
    /// Ends when nothing is missing; how it stands then.
    fn run(&mut self) -> Result<Value, Failure> {
        let patience = Duration::from_secs(self.wanted.patience);
        let mut ticks = Ticks::new(self.desk.app.progress);
        let (mut last, mut state) = (Instant::now(), Value::Null);
        let look = match self.room {
            Room::Folder(..) => LOOK,
            Room::Pal(_) => ASK,
        };
        loop {
            let now = self.room.sync()?;
            let missing: Vec<_> =
                now["missing"].as_array().into_iter().flatten().filter_map(Value::as_str).map(word).collect();
            let missing = missing.join(", ");
            if missing.is_empty() {
                return Ok(now);
            }
            if now != state {
                (state, last) = (now, Instant::now());
            }
            if last.elapsed() > patience {
                return Err(self.give_up(&missing));
            }
            let sum = |name: &str| logs(&state).filter_map(|log| log[name].as_u64()).sum::<u64>();
            ticks.tell(|| format!("{} of {} blocks are here, {missing}", sum("held"), sum("length")));
            if self.stop.wait(look) {
                return Err(Failure::new(Exit::Failed, "stopped; what came is kept, run it again to go on"));
            }
            if let Err(error) = self.line.mend(self.room, self.wanted) {
                tracing::debug!(%error, "the other device is not back yet");
                self.stop.wait(AGAIN);
            }
        }
    }

    fn give_up(&self, missing: &str) -> Failure {
        let message = format!(
            "nothing came from {} for {} s: {missing}. What came is kept; is the database open there, and does it know {}? \
             Run it again to go on",
            self.wanted.with,
            self.wanted.patience,
            self.room.who()
        );
        Failure::new(Exit::Unreachable, message)
    }

    fn end(self) {
        if let (Line::FromPal(address), Room::Pal(base)) = (&self.line, self.room) {
            // A peer that has gone by itself is as well.
            peers::hang_up(&base.pal, *address).ok();
        }
    }
}
