//! Who belongs to a database: asking to be let in, admitting, removing, coming back.

use super::args::{Admit, Join, Members, MembersCommand, Name, Remove, Renew};
use super::room::{self, Room};
use super::told::{self, how_to_be_admitted, member, member_line, standing};
use crate::command::data::Desk;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::printable::word;
use crate::terminal::{Format, Report};
use crate::told::count;
use cloudpal_base::{Database, Member, OpenError, Request, Rights, Standing};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `join`. Doing it again prints the same request.
pub fn join(desk: Desk<'_>, wanted: &Join) -> Result<(), Failure> {
    let key = told::key(&wanted.key)?;
    let store = room::open_or_make(desk, &wanted.at)?;
    let base = match Database::join(&store, &wanted.name, key) {
        Ok(base) => base,
        Err(OpenError::Exists(name)) => {
            let base = Database::open(&store, &name).map_err(failed)?;
            if base.key() != key {
                return Err(failed(OpenError::Exists(name)));
            }
            base
        }
        Err(error) => return Err(failed(error)),
    };
    let report = asking(&wanted.name, &base);
    Room { store, base }.finish(desk, &report)
}

fn asking(name: &str, base: &Database) -> Report {
    let request = base.request().to_string();
    let text = match base.standing() {
        Standing::Member => format!("This device is a member of {} already.", word(name)),
        _ => how_to_be_admitted(name, &request),
    };
    Report::new(text, about(name, base, &request))
}

fn about(name: &str, base: &Database, request: &str) -> Value {
    json!({
        "name": name,
        "key": hex::encode(base.key()),
        "standing": standing(base),
        "writer": base.me().to_string(),
        "request": request,
    })
}

/// `members`, and what can be done about them.
pub fn run(desk: Desk<'_>, wanted: &Members) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    match &wanted.command {
        None => list(desk, room, &wanted.name),
        Some(MembersCommand::Admit(admission)) => admit(desk, room, &wanted.name, admission),
        Some(MembersCommand::Remove(removal)) => remove(desk, room, removal),
    }
}

fn list(desk: Desk<'_>, room: Room, name: &str) -> Result<(), Failure> {
    let members = room.base.members();
    let mut lines: Vec<_> = members.iter().map(|one| member_line(one, &room.base)).collect();
    let request = room.base.request().to_string();
    if room.base.standing() == Standing::Waiting {
        lines.push(format!("This device is not admitted yet. {}", how_to_be_admitted(name, &request)));
    }
    let mut json = about(name, &room.base, &request);
    json["members"] = members.iter().map(|one| member(one, &room.base)).collect();
    room.finish(desk, &Report::new(lines.join("\n"), json))
}

fn admit(desk: Desk<'_>, room: Room, database: &str, wanted: &Admit) -> Result<(), Failure> {
    let request: Request = wanted.request.parse().map_err(|error| Failure::lift(Exit::Usage, error))?;
    let until_ms = match wanted.until {
        None => None,
        Some(when) => Some(when.future_ms(Timestamp::now()).ok_or_else(|| {
            Failure::new(Exit::Usage, "this time cannot be told in milliseconds since 1970")
        })?),
    };
    let named = |one: &Member| {
        one.name == wanted.device && one.cut.is_none() && one.writer().client() != request.client()
    };
    if room.base.members().iter().any(named) {
        let message =
            format!("another member is called {} already; give this one another name", wanted.device);
        return Err(Failure::new(Exit::Usage, message));
    }
    let rights = Rights { role: wanted.role.into(), scope: wanted.only.clone(), until_ms };
    room.base.admit(&request, &wanted.device, rights).map_err(failed)?;
    let admitted = room.base.find_member(&request.client().to_string()).map_err(failed)?;
    let text = format!(
        "{} is admitted. It comes to know when the two meet: run `cloudpal db listen {}` here and `cloudpal db sync` there.\n{}",
        word(&wanted.device),
        word(database),
        member_line(&admitted, &room.base)
    );
    let json = member(&admitted, &room.base);
    room.finish(desk, &Report::new(text, json))
}

fn remove(desk: Desk<'_>, room: Room, wanted: &Remove) -> Result<(), Failure> {
    let found = room.base.find_member(&wanted.member).map_err(failed)?;
    let client = found.writer().client();
    if client == room.base.me() {
        let message = "this device cannot remove itself; do it on another one of the owner";
        return Err(Failure::new(Exit::Usage, message));
    }
    let progress = room.base.sync_progress().into_iter().find(|progress| progress.client == client);
    let (length, kept) = progress.map_or((0, 0), |progress| (progress.length, progress.read));
    // What others have merged of it and this device has not is lost too, but how much that is nobody here knows.
    let lost = length.saturating_sub(kept);
    let name = word(&found.name).into_owned();
    let losses = format!(
        "{name} is cut off. Of what it has written, {} that this device has taken in {} kept. {}",
        count(kept, "block"),
        if kept == 1 { "is" } else { "are" },
        if lost == 0 {
            "What else it may have written, and other devices may show already, counts nowhere any more."
                .to_owned()
        } else {
            format!(
                "{} that are known of besides, and whatever else other devices may show already, count nowhere any more.",
                count(lost, "block")
            )
        }
    );
    if !wanted.yes {
        consent(desk, &format!("{losses}\nType `remove` to do it:"), "remove")?;
    }
    room.base.remove(&found, &wanted.reason).map_err(failed)?;
    let cut = room.base.find_member(&client.to_string()).map_err(failed)?;
    let mut json = member(&cut, &room.base);
    json["kept_blocks"] = json!(kept);
    json["lost_blocks"] = json!(lost);
    let text = format!("{losses}\nWhat is written from now on it cannot read.");
    room.finish(desk, &Report::new(text, json))
}

/// `renew`.
pub fn renew(desk: Desk<'_>, wanted: &Renew) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    if room.base.standing() == Standing::Member && !wanted.yes {
        let question = "This device is a member, and would have to be admitted again. That is needed after its folder was \
                        restored from a backup, and else not.\nType `renew` to do it:";
        consent(desk, question, "renew")?;
    }
    let Room { store, base } = room;
    let base = base.renew().map_err(failed)?;
    let report = asking(&wanted.name, &base);
    Room { store, base }.finish(desk, &report)
}

fn consent(desk: Desk<'_>, question: &str, answer: &str) -> Result<(), Failure> {
    if desk.terminal.format() == Format::Text && desk.terminal.confirms(question, answer)? {
        return Ok(());
    }
    let said: Vec<_> = question.lines().filter(|line| !line.starts_with("Type ")).collect();
    let message = format!("{} Nothing was done; say --yes if it is meant", said.join(" "));
    Err(Failure::new(Exit::WouldLose, message))
}

/// `info`.
pub fn info(desk: Desk<'_>, wanted: &Name) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    let base = &room.base;
    let snapshot = base.snapshot();
    let subs = snapshot.subs().map_err(failed)?;
    let mut conflicts = 0;
    for sub in &subs {
        conflicts += base.conflicts(sub).map_err(failed)?.len() as u64;
    }
    let (members, refusals) = (base.members(), base.refusals());
    let mut json = about(&wanted.name, base, &base.request().to_string());
    json["members"] = members.iter().map(|one| member(one, base)).collect();
    json["subs"] = subs.iter().map(|sub| json!({ "sub": sub.name(), "kind": sub.kind().name() })).collect();
    json["progress"] = super::progress::json(base);
    json["conflicts"] = json!(conflicts);
    json["refusals"] = refusals
        .iter()
        .map(|one| {
            let why = one.fault.to_string();
            json!({ "writer": one.client.to_string(), "position": one.position, "why": why })
        })
        .collect();
    let mut lines = vec![
        format!("database {}, this device is {}", word(&wanted.name), standing_words(base)),
        format!("  key        {}", hex::encode(base.key())),
        format!(
            "  conflicts  {conflicts}{}",
            if conflicts > 0 { "; `cloudpal db conflicts` shows them" } else { "" }
        ),
    ];
    for sub in &subs {
        lines.push(format!("  holds      {}", word(&sub.to_string())));
    }
    lines.push("members".to_owned());
    lines.extend(members.iter().map(|one| format!("  {}", member_line(one, base))));
    lines.push("how far their logs have come here".to_owned());
    lines.extend(super::progress::lines(base));
    if let Some(last) = refusals.last() {
        lines.push(format!(
            "refused: {}, the last is {}:{}: {}",
            refusals.len(),
            last.client,
            last.position,
            word(&last.fault.to_string())
        ));
    }
    room.finish(desk, &Report::new(lines.join("\n"), json))
}

fn standing_words(base: &Database) -> &'static str {
    match base.standing() {
        Standing::Member => "a member",
        Standing::Waiting => "not admitted yet: `cloudpal db members` says what to do",
        Standing::Removed => "removed: `cloudpal db renew` asks to come back",
    }
}
