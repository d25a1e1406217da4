//! To a pal, which dials the peer itself.

use super::sentence;
use crate::command::data::Desk;
use crate::command::data::args::Fetch;
use crate::command::data::things::key_in;
use crate::command::data::ticks::Ticks;
use crate::failure::{Exit, Failure};
use crate::local::stop::Stop;
use crate::remote::logs::{self, Wish};
use crate::remote::{Remote, peers};
use crate::terminal::Report;
use crate::told::text;
use cloudpal_shelf::Key;
use cloudpal_shelf::Kind;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long the pal waits for news, and we between two questions.
const LOOK: Duration = Duration::from_millis(500);

/// Has the pal bring all of it, and prints what came.
pub fn run(desk: Desk<'_>, kind: Kind, wanted: &Fetch, stop: &Stop, pal: &Remote) -> Result<(), Failure> {
    if wanted.blocks.is_some() {
        let message = "a pal keeps whole copies; --blocks goes with --store DIR";
        return Err(Failure::new(Exit::Usage, message));
    }
    let Some(from) = wanted.from.as_deref() else {
        let message = "a pal is not on the DHT; --dht goes with --store DIR";
        return Err(Failure::new(Exit::Usage, message));
    };
    let peer = peers::address(from)?;
    let name = copy(pal, kind, wanted)?;
    desk.app.progress.step(&format!("{} connects to {from}", pal.name));
    peers::dial(pal, peer)?;
    let journey = Journey { desk, kind, wanted, from, stop, pal, peer, name };
    let done = journey.all().and_then(|report| {
        desk.terminal.print(&report)?;
        if wanted.live { journey.follow(&report.json) } else { Ok(()) }
    });
    // A peer that has gone by itself is as well.
    peers::hang_up(pal, peer).ok();
    done
}

/// The name of the copy at the pal: begun before, or now.
fn copy(pal: &Remote, kind: Kind, wanted: &Fetch) -> Result<String, Failure> {
    let key: Result<Key, _> = wanted.key.parse();
    let known = key.as_ref().map_or_else(|_| wanted.key.clone(), Key::to_string);
    match logs::info(pal, kind, &known) {
        Ok(report) => return Ok(text(&report.json, "name").to_owned()),
        Err(failure) if failure.exit() != Exit::NotFound => return Err(failure),
        Err(_) => {}
    }
    let key = key.map_err(|error| Failure::lift(Exit::Usage, error))?;
    let encryption_key = wanted.encryption_key.as_deref().map(key_in).transpose()?;
    let wish = Wish {
        name: wanted.name.clone().unwrap_or_else(|| key.z32().chars().take(8).collect()),
        key: Some(key.to_string()),
        encryption_key: encryption_key.map(|key| Zeroizing::new(hex::encode(key.expose()))),
        ..Wish::default()
    };
    logs::create(pal, kind, &wish)?;
    Ok(wish.name)
}

struct Journey<'a> {
    desk: Desk<'a>,
    kind: Kind,
    wanted: &'a Fetch,
    from: &'a str,
    stop: &'a Stop,
    pal: &'a Remote,
    peer: SocketAddr,
    name: String,
}

impl Journey<'_> {
    fn look(&self) -> Result<Value, Failure> {
        Ok(logs::info_after(self.pal, self.kind, &self.name, LOOK)?)
    }

    /// Everything that there is now.
    fn all(&self) -> Result<Report, Failure> {
        let (patience, mut ticks) =
            (Duration::from_secs(self.wanted.patience), Ticks::new(self.desk.app.progress));
        let (began, mut last) = (Instant::now(), Instant::now());
        let mut about = self.look()?;
        let first = held(&about);
        while !is_whole(&about) {
            if self.stop.wait(LOOK) {
                return Err(Failure::new(Exit::Failed, "stopped; what came is kept, run it again to go on"));
            }
            if last.elapsed() > patience {
                return Err(self.stalled(&about));
            }
            ticks.tell(|| {
                format!("{} of {} blocks are at {}", held(&about)[0], length(&about), self.pal.name)
            });
            // It dials again only if the peer has gone; whether it is back shows in what comes.
            peers::dial(self.pal, self.peer).ok();
            let before = held(&about);
            about = self.look()?;
            if held(&about) != before {
                last = Instant::now();
            }
        }
        let now = held(&about);
        about["fetched_blocks"] = json!(now[0].saturating_sub(first[0]));
        about["fetched_bytes"] = json!(now[1].saturating_sub(first[1]));
        about["took_ms"] = json!(began.elapsed().as_millis() as u64);
        Ok(told(about))
    }

    fn stalled(&self, about: &Value) -> Failure {
        let (from, word) = (self.from, self.kind.word());
        let message = match length(about) {
            0 => format!(
                "{from} is there but has nothing of this {word}; ask for the right key, or whether it is served there"
            ),
            length => format!(
                "nothing came for {} s; {} of {length} blocks are at {}, run it again to go on",
                self.wanted.patience,
                held(about)[0],
                self.pal.name
            ),
        };
        Failure::new(Exit::Unreachable, message)
    }

    /// Tells of every change until Ctrl-C; one line, or one JSON object, each.
    fn follow(&self, known: &Value) -> Result<(), Failure> {
        let (mut seen, version) = (known.clone(), |about: &Value| (about["fork"].clone(), length(about)));
        while !self.stop.wait(LOOK) {
            let about = self.look()?;
            if version(&about) != version(&seen) && is_whole(&about) {
                seen = about.clone();
                self.desk.terminal.print(&told(about))?;
            }
            peers::dial(self.pal, self.peer).ok();
        }
        Ok(())
    }
}

fn told(mut about: Value) -> Report {
    about["complete"] = json!(is_whole(&about));
    Report::new(sentence(&about), about)
}

/// Whether all that peers have is at the pal. What a drive has in files is known once its first blocks are there.
fn is_whole(about: &Value) -> bool {
    let contents = &about["contents"];
    let of_contents = match about["kind"].as_str() {
        Some("drive") if about["length"].as_u64() > Some(1) => {
            contents.is_object() && contents["contiguous"] == contents["length"]
        }
        _ => true,
    };
    about["current"] == true && about["contiguous"] == about["length"] && of_contents
}

/// Blocks and bytes, those of files included.
fn held(about: &Value) -> [u64; 2] {
    let sum = |name: &str| [about, &about["contents"]].iter().filter_map(|log| log[name].as_u64()).sum();
    [sum("held"), sum("held_bytes")]
}

fn length(about: &Value) -> u64 {
    [about, &about["contents"]].iter().filter_map(|log| log["length"].as_u64()).sum()
}
