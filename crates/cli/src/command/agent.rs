//! `cloudpal agent`: unlocks pals whenever they are awake and locked.
//!
//! One thread for each pal asks the host for news and sleeps in between. Nothing is stored, so the agent
//! can end at any moment.

use crate::app::{App, check_keys, known_host};
use crate::command::pals::reason_words;
use crate::failure::{Exit, Failure};
use crate::host::{Host, PalAt};
use crate::person::{PalRecord, Person, Stage};
use crate::session::Session;
use crate::terminal::{Format, Terminal};
use cloudpal_protocol::api::PalState;
use cloudpal_protocol::guest::DataState;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Pals made while the agent runs are found after this long.
const LOOK_AROUND: Duration = Duration::from_secs(15);

/// Runs until SIGTERM or SIGINT.
pub fn run(app: App<'_>, terminal: Terminal) -> Result<(), Failure> {
    app.person.phrase()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_runtime)?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).map_err(no_runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_runtime)?;
        let mut looking = tokio::time::interval(LOOK_AROUND);
        let mut known = HashSet::new();
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = interrupt.recv() => break,
                _ = looking.tick() => {
                    for pal in app.person.pals()? {
                        if pal.stage == Stage::Ready && known.insert(pal.id) {
                            watch(app.person.clone(), pal, terminal);
                        }
                    }
                }
            }
        }
        Ok(())
    })
}

fn no_runtime(error: std::io::Error) -> Failure {
    Failure::because(Exit::Failed, "the agent could not start", error)
}

fn watch(person: Person, pal: PalRecord, terminal: Terminal) {
    tell(terminal, &pal, "watching", None);
    // The thread ends with the process: it holds nothing that would have to be put in order.
    std::thread::spawn(move || {
        let mut pause = SHORTEST;
        loop {
            match follow(&person, &pal, terminal) {
                Ok(News::Gone) => return tell(terminal, &pal, "gone", None),
                Ok(News::Unlocked) => pause = SHORTEST,
                Err(error) => {
                    tell(terminal, &pal, "not reached; trying again", Some(&error.to_string()));
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    });
}

enum News {
    Unlocked,
    Gone,
}

// Returns after each unlocking and with each fault, so that the host's key is looked at anew.
fn follow(person: &Person, pal: &PalRecord, terminal: Terminal) -> Result<News, Failure> {
    let host = Host::at(&pal.host_url)?;
    known_host(&host, Some(pal))?;
    let at = host.pal(pal.id, person.owner_sign(pal.id)?);
    let mut info = at.info()?;
    loop {
        // Deleted here, or locked by hand, meanwhile: the record on disk decides.
        let Ok(current) = person.pal(Some(&pal.id.to_string())) else { return Ok(News::Gone) };
        check_keys(&current, &info)?;
        match info.state {
            PalState::Gone => return Ok(News::Gone),
            PalState::Awake if info.data == Some(DataState::Locked) && !current.keep_locked => {
                unlock(person, &current, &at)?;
                let why = info.last_wake.map_or("its boot", reason_words);
                tell(terminal, pal, "unlocked", Some(&format!("it is awake for {why}")));
                // Until the host has heard of it from the pal, the pal still looks locked.
                at.changed_since(info.change)?;
                return Ok(News::Unlocked);
            }
            _ => info = at.changed_since(info.change)?,
        }
    }
}

fn unlock(person: &Person, pal: &PalRecord, at: &PalAt) -> Result<(), Failure> {
    let Some(keys) = pal.keys else { return Ok(()) };
    let mut session = Session::open(at, &person.owner_unlock(pal.id)?, Some(keys.channel))?;
    Ok(session.unlock(person.phrase()?.data_disk_key(pal.id))?)
}

fn tell(terminal: Terminal, pal: &PalRecord, what: &str, more: Option<&str>) {
    let line = match terminal.format() {
        Format::Json => json!({ "pal": pal.id, "name": pal.name, "event": what, "detail": more }).to_string(),
        Format::Text => match more {
            None => format!("{}: {what}", pal.name),
            Some(more) => format!("{}: {what} ({more})", pal.name),
        },
    };
    // Nobody listening to the agent's output is no reason to stop unlocking.
    terminal.line(&line).ok();
}
