//! `listen` and `sync`: two folders, or devices, that bring each other up to date.

use super::args::{Listen, Sync};
use super::room::{self, Room};
use super::told::{Names, standing};
use super::{progress, time};
use crate::command::data::Desk;
use crate::command::data::ticks::Ticks;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::local::stop::Stop;
use crate::printable::word;
use crate::terminal::Report;
use crate::told::count;
use cloudpal_base::{ClientId, Database, Progress, Standing};
use cloudpal_store::{Access, Connection, Server, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long one wait for the signal takes; another follows.
const A_WHILE: Duration = Duration::from_secs(3600);
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(50);
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

/// `listen`: until Ctrl-C. The address is printed once it can be dialled.
pub fn listen(desk: Desk<'_>, wanted: &Listen) -> Result<(), Failure> {
    // First, so that the store's threads leave the signals to us.
    let stop = Stop::catch()?;
    let store = room::open(desk, &wanted.at)?;
    let names = match &wanted.name {
        Some(name) => vec![name.clone()],
        None => Database::names(&store).map_err(failed)?,
    };
    let open = |name: &String| Database::open(&store, name).map_err(failed);
    let bases: Vec<Database> = names.iter().map(open).collect::<Result<_, _>>()?;
    let server = serve(&store, &wanted.listen)?;
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

/// `sync`: until both have everything of each other.
pub fn sync(desk: Desk<'_>, wanted: &Sync) -> Result<(), Failure> {
    let stop = Stop::catch()?;
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let before = read(&room.base);
    let began = Instant::now();
    desk.app.progress.step(&format!("Connecting to {}", wanted.with));
    let mut journey = Journey { desk, room: &room, wanted, stop, connection: None };
    journey.reconnect_or_fail()?;
    let done = journey.run();
    drop(journey);
    if let Err(failure) = done {
        room.close()?;
        return Err(failure);
    }
    let (text, mut json) = came(&room.base, &before);
    json["name"] = json!(wanted.name);
    json["standing"] = json!(standing(&room.base));
    json["took_ms"] = json!(began.elapsed().as_millis() as u64);
    let standing = room.base.standing();
    room.finish(desk, &Report::new(text, json))?;
    match standing {
        Standing::Member => Ok(()),
        Standing::Waiting => {
            let message = "this device is not admitted yet, so it reads and writes nothing; `cloudpal db members` \
                           prints the request to send to the owner";
            Err(Failure::new(Exit::Refused, message))
        }
        Standing::Removed => {
            let message = "this device was removed from the database; `cloudpal db renew` prints a request to come back";
            Err(Failure::new(Exit::Refused, message))
        }
    }
}

fn read(base: &Database) -> BTreeMap<ClientId, u64> {
    base.sync_progress().into_iter().map(|progress| (progress.client, progress.read)).collect()
}

/// What came since `before`.
fn came(base: &Database, before: &BTreeMap<ClientId, u64>) -> (String, Value) {
    let (names, me) = (Names::of(base), base.me());
    let (mut lines, mut told, mut all) = (Vec::new(), Vec::new(), 0);
    for (client, read) in read(base) {
        let new = read.saturating_sub(before.get(&client).copied().unwrap_or(0));
        if client == me {
            continue;
        }
        told.push(json!({ "writer": client.to_string(), "name": names.get(client), "blocks": new }));
        if new > 0 {
            all += new;
            lines.push(format!("  {:<16}  {}", word(&names.get(client)), count(new, "block")));
        }
    }
    let first = match all {
        0 => "Both have everything of each other. Nothing new came.".to_owned(),
        all => format!("Both have everything of each other. {} came:", count(all, "block")),
    };
    lines.insert(0, first);
    let progress = base.progress();
    if let Some(due_ms) = progress.due_ms {
        lines.push(format!(
            "Some of it was written by a clock that is ahead, and shows from {} on.",
            time::shown(due_ms)
        ));
    }
    let mut json = json!({ "came": told, "blocks": all, "progress": progress::json(base) });
    json["due_ms"] = json!(progress.due_ms);
    (lines.join("\n"), json)
}

struct Journey<'a> {
    desk: Desk<'a>,
    room: &'a Room,
    wanted: &'a Sync,
    stop: Stop,
    connection: Option<Connection>,
}

impl Journey<'_> {
    fn reconnect_or_fail(&mut self) -> Result<(), Failure> {
        self.connection = Some(connect(&self.room.store, &self.wanted.with)?);
        Ok(())
    }

    /// Connects again if the other has gone.
    fn reconnect(&mut self) {
        if self.connection.as_ref().is_some_and(Connection::is_closed)
            && let Err(error) = self.reconnect_or_fail()
        {
            tracing::debug!(%error, "the other device is not back yet");
            self.stop.wait(AGAIN);
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        let patience = Duration::from_secs(self.wanted.patience);
        let mut ticks = Ticks::new(self.desk.app.progress);
        let (mut last, mut state) = (Instant::now(), Vec::new());
        loop {
            let now = self.room.base.sync_progress();
            let missing = missing(&self.room.base, &now);
            if missing.is_empty() {
                return Ok(());
            }
            if now != state {
                (state, last) = (now, Instant::now());
            }
            if last.elapsed() > patience {
                return Err(self.give_up(&missing));
            }
            let held: u64 = state.iter().map(|progress| progress.held).sum();
            let length: u64 = state.iter().map(|progress| progress.length).sum();
            ticks.tell(|| format!("{held} of {length} blocks are here, {}", missing.join(", ")));
            if self.stop.wait(LOOK) {
                return Err(Failure::new(Exit::Failed, "stopped; what came is kept, run it again to go on"));
            }
            self.reconnect();
        }
    }

    fn give_up(&self, missing: &[String]) -> Failure {
        let message = format!(
            "nothing came from {} for {} s: {}. What came is kept; is the database open there, and does it know this \
             device? Run it again to go on",
            self.wanted.with,
            self.wanted.patience,
            missing.join(", ")
        );
        Failure::new(Exit::Unreachable, message)
    }
}

/// What keeps two devices from having everything of each other, in words.
fn missing(base: &Database, all: &[Progress]) -> Vec<String> {
    let (names, me, last) = (Names::of(base), base.me(), base.progress());
    let halted: Vec<ClientId> =
        last.locked.iter().chain(&last.behind).map(|writer| writer.client()).collect();
    let is_member = base.standing() != Standing::Waiting;
    let cut: Vec<ClientId> = base
        .members()
        .iter()
        .filter(|member| member.cut.is_some())
        .map(|member| member.writer().client())
        .collect();
    let one = |progress: &Progress| {
        let Progress { client, length, held, read, peers, holders, current, forked } = *progress;
        // Nobody else follows the log of a device that is not admitted, or takes more of one that signed two histories.
        if forked || (client == me && !is_member) {
            return None;
        }
        let name = word(&names.get(client)).into_owned();
        // Entries that wait for a key, a cut or a clock are here, though they are not read.
        let waits = cut.contains(&client) || halted.contains(&client) || last.due_ms.is_some();
        if peers == 0 || !current {
            Some(format!("the other device has not said what it has of {name}"))
        } else if held < length {
            Some(format!("{held} of {length} blocks of {name} are here"))
        } else if read < length && !waits {
            Some(format!("{read} of {length} blocks of {name} are read"))
        } else if length > 0 && holders == 0 {
            Some(format!("the other device has not all of {name}"))
        } else {
            None
        }
    };
    all.iter().filter_map(one).collect()
}
