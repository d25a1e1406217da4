//! Who belongs to a database: asking to be let in, admitting, removing, coming back.

use super::args::{Admit, Join, Members, MembersCommand, Name, Remove, Renew};
use super::room::{House, Room};
use super::told::{self, how_to_be_admitted, member_line, sub};
use crate::command::data::Desk;
use crate::command::data::args::At;
use crate::failure::{Exit, Failure};
use crate::local::failure::failed;
use crate::printable::word;
use crate::remote::databases;
use crate::terminal::{Format, Report};
use crate::told::{count, text};
use cloudpal_base::{Database, MemberError, OpenError};
use cloudpal_serve::json;
use cloudpal_serve::owner::Admission;
use jiff::Timestamp;
use serde_json::{Value, json};

/// `join`. Doing it again prints the same request.
pub fn join(desk: Desk<'_>, wanted: &Join) -> Result<(), Failure> {
    let key = told::key(&wanted.key)?;
    let about = match House::open_or_make(desk, &wanted.at)? {
        House::Folder(store) => {
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
            let about = json::about(&base);
            Room::Folder(store, base).close()?;
            about
        }
        House::Pal(pal) => databases::make(&pal, &wanted.name, Some(key))?,
    };
    desk.terminal.print(&asking(&wanted.at, about))
}

fn asking(at: &At, about: Value) -> Report {
    let name = text(&about, "name");
    let told = match text(&about, "standing") {
        "member" if at.store.is_none() => format!("The pal is a member of {} already.", word(name)),
        "member" => format!("This device is a member of {} already.", word(name)),
        _ => how_to_be_admitted(name, text(&about, "request"), at),
    };
    Report::new(told, about)
}

/// `members`, and what can be done about them.
pub fn run(desk: Desk<'_>, wanted: &Members) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    match &wanted.command {
        None => list(desk, room, wanted),
        Some(MembersCommand::Admit(admission)) => admit(desk, room, wanted, admission),
        Some(MembersCommand::Remove(removal)) => remove(desk, room, removal),
    }
}

fn list(desk: Desk<'_>, room: Room, wanted: &Members) -> Result<(), Failure> {
    let info = room.info()?;
    let mut lines: Vec<_> = members(&info).map(|one| member_line(one, room.who())).collect();
    if text(&info, "standing") == "waiting" {
        let how = how_to_be_admitted(&wanted.name, text(&info, "request"), &wanted.at);
        lines.push(format!("Not admitted yet: {}. {how}", room.who()));
    }
    let mut told = json!({ "members": info["members"] });
    for name in ["name", "key", "standing", "writer", "request"] {
        told[name] = info[name].clone();
    }
    room.finish(desk, &Report::new(lines.join("\n"), told))
}

fn members(info: &Value) -> impl Iterator<Item = &Value> {
    info["members"].as_array().into_iter().flatten()
}

fn admit(desk: Desk<'_>, room: Room, database: &Members, wanted: &Admit) -> Result<(), Failure> {
    let until_ms = match wanted.until {
        None => None,
        Some(when) => Some(when.future_ms(Timestamp::now()).ok_or_else(|| {
            Failure::new(Exit::Usage, "this time cannot be told in milliseconds since 1970")
        })?),
    };
    let admitted = room.admit(&Admission {
        request: wanted.request.clone(),
        name: wanted.device.clone(),
        role: wanted.role.name().to_owned(),
        only: wanted.only.clone(),
        until_ms,
    })?;
    let (device, name) = (word(&wanted.device), word(&database.name));
    let meet = match &room {
        Room::Folder(..) => format!("run `cloudpal db listen {name}` here and `cloudpal db sync` there"),
        Room::Pal(_) => format!("run `cloudpal db sync {name} --with pal` there"),
    };
    let text = format!(
        "{device} is admitted. It comes to know when the two meet: {meet}.\n{}",
        member_line(&admitted, room.who())
    );
    room.finish(desk, &Report::new(text, admitted))
}

/// The member of that name, log or short id.
fn find<'a>(info: &'a Value, wanted: &str) -> Result<&'a Value, Failure> {
    let is_wanted = |one: &&Value| ["name", "log", "writer"].iter().any(|name| text(one, name) == wanted);
    let found: Vec<_> = members(info).filter(is_wanted).collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(failed(MemberError::Unknown(wanted.to_owned()))),
        _ => Err(failed(MemberError::Ambiguous(wanted.to_owned()))),
    }
}

fn remove(desk: Desk<'_>, room: Room, wanted: &Remove) -> Result<(), Failure> {
    let info = room.info()?;
    let found = find(&info, &wanted.member)?;
    let writer = text(found, "writer");
    let progress = info["progress"].as_array().into_iter().flatten();
    let progress = progress.into_iter().find(|one| text(one, "writer") == writer).unwrap_or(&Value::Null);
    let number = |name: &str| progress[name].as_u64().unwrap_or_default();
    // What others have merged of it and we have not is lost too, but how much that is nobody here knows.
    let losses = losses(text(found, "name"), room.who(), number("read"), number("length"));
    if !wanted.yes {
        consent(desk, &format!("{losses}\nType `remove` to do it:"), "remove")?;
    }
    let cut = room.remove(writer, &wanted.reason)?;
    let text = format!("{losses}\nWhat is written from now on it cannot read.");
    room.finish(desk, &Report::new(text, cut))
}

fn losses(name: &str, who: &str, kept: u64, length: u64) -> String {
    let lost = length.saturating_sub(kept);
    let is = if kept == 1 { "is" } else { "are" };
    let others = match lost {
        0 => "What else it may have written, and other devices may show already, counts nowhere any more."
            .to_owned(),
        _ => format!(
            "{} that are known of besides, and whatever else other devices may show already, count nowhere any more.",
            count(lost, "block")
        ),
    };
    format!(
        "{} is cut off. Of what it has written, {} that {who} has taken in {is} kept. {others}",
        word(name),
        count(kept, "block")
    )
}

/// `renew`.
pub fn renew(desk: Desk<'_>, wanted: &Renew) -> Result<(), Failure> {
    let room = Room::open(desk, &wanted.name, &wanted.at)?;
    if text(&room.info()?, "standing") == "member" && !wanted.yes {
        let who = if wanted.at.store.is_some() { "This device" } else { "The pal" };
        let question = format!(
            "{who} is a member, and would have to be admitted again. That is needed after its folder was restored from a \
             backup, and else not.\nType `renew` to do it:"
        );
        consent(desk, &question, "renew")?;
    }
    let about = match room {
        Room::Folder(store, base) => {
            let base = base.renew().map_err(failed)?;
            let about = json::about(&base);
            Room::Folder(store, base).close()?;
            about
        }
        Room::Pal(base) => base.renew()?,
    };
    desk.terminal.print(&asking(&wanted.at, about))
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
    let info = room.info()?;
    let conflicts = info["conflicts"].as_u64().unwrap_or_default();
    let shows = if conflicts > 0 { "; `cloudpal db conflicts` shows them" } else { "" };
    let standing = match text(&info, "standing") {
        "member" => "a member",
        "removed" => "removed: `cloudpal db renew` asks to come back",
        _ => "not admitted yet: `cloudpal db members` says what to do",
    };
    let mut lines = vec![
        format!("database {}, {} is {standing}", word(&wanted.name), room.who()),
        format!("  key        {}", text(&info, "key")),
        format!("  conflicts  {conflicts}{shows}"),
    ];
    lines.extend(
        info["subs"].as_array().into_iter().flatten().map(|one| format!("  holds      {}", sub(one))),
    );
    lines.push("members".to_owned());
    lines.extend(members(&info).map(|one| format!("  {}", member_line(one, room.who()))));
    lines.push("how far their logs have come here".to_owned());
    lines.extend(super::progress::lines(&info));
    if let Some(refusals) = info["refusals"].as_array()
        && let Some(last) = refusals.last()
    {
        let (writer, why) = (text(last, "writer"), word(text(last, "why")));
        lines.push(format!("refused: {}, the last is {writer}:{}: {why}", refusals.len(), last["position"]));
    }
    room.finish(desk, &Report::new(lines.join("\n"), info))
}
