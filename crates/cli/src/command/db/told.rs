//! What people and programs read of batches, members and conflicts.

use super::bytes::{shown, tell};
use super::entries::of_sub;
use super::time;
use crate::failure::{Exit, Failure};
use crate::printable::word;
use cloudpal_base::{ClientId, Conflict, Database, Did, Dot, Edited, Member, Role, Standing, Version};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::str::FromStr;

/// A batch as the program prints it and takes it: `WRITER:POSITION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId(pub Dot);

impl std::fmt::Display for BatchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.client, self.0.position)
    }
}

impl FromStr for BatchId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |text: &str| {
            let (client, position) = text.split_once(':')?;
            let client = ClientId::new(u64::from_str_radix(client, 16).ok()?)?;
            Some(BatchId(Dot { client, position: position.parse().ok()? }))
        };
        read(text).ok_or("a batch is named as `db history` and `db watch` print it, such as 1a2b3c4d5e6f:7")
    }
}

/// What members are called.
pub struct Names(BTreeMap<ClientId, String>);

impl Names {
    pub fn of(base: &Database) -> Self {
        let named = |member: Member| (member.writer().client(), member.name);
        Names(base.members().into_iter().map(named).collect())
    }

    /// Its name; its short id if it has none.
    pub fn get(&self, client: ClientId) -> String {
        self.0.get(&client).cloned().unwrap_or_else(|| client.to_string())
    }
}

/// What a batch did, for programs.
pub fn did(did: &Did) -> Value {
    json!({
        "batch": BatchId(did.dot).to_string(),
        "writer": did.dot.client.to_string(),
        "by": did.by,
        "time_ms": did.stamp.wall_ms,
        "edits": did.edits.iter().map(edit).collect::<Vec<_>>(),
    })
}

fn edit(edit: &Edited) -> Value {
    let mut told = of_sub(&edit.sub);
    told.insert("type".into(), json!(edit.what));
    if let Some(key) = &edit.key {
        tell(&mut told, "key", key);
    }
    if let Some(value) = &edit.value {
        tell(&mut told, "value", value);
    }
    told.into()
}

/// What a batch did, for people: a line for each change.
pub fn did_lines(did: &Did) -> Vec<String> {
    let head = format!("{}  {:<12}  {}", time::shown(did.stamp.wall_ms), word(&did.by), BatchId(did.dot));
    let line = |edit: &Edited| {
        let key = edit.key.as_deref().map(shown).unwrap_or_default();
        let value = edit.value.as_deref().map(|value| format!("\t{}", shown(value))).unwrap_or_default();
        let place = match edit.sub.name() {
            "" => String::new(),
            name => format!("{}: ", word(name)),
        };
        format!("{head}  {:<6}  {place}{key}{value}", edit.what)
    };
    did.edits.iter().map(line).collect()
}

/// A conflict for programs; its versions are numbered from 1, the one that is shown first.
pub fn conflict(conflict: &Conflict, names: &Names) -> Value {
    let mut told = of_sub(&conflict.sub);
    tell(&mut told, "key", &conflict.key);
    if !conflict.path.is_empty() {
        told.insert("field".into(), json!(field(conflict)));
    }
    let version = |(at, version): (usize, &Version)| {
        let mut told = serde_json::Map::new();
        told.insert("number".into(), json!(at + 1));
        tell(&mut told, "value", &conflict.says(version));
        told.insert("writer".into(), json!(version.dot.client.to_string()));
        told.insert("by".into(), json!(names.get(version.dot.client)));
        told.insert("batch".into(), json!(BatchId(version.dot).to_string()));
        told.insert("time_ms".into(), json!(version.stamp.wall_ms));
        Value::from(told)
    };
    told.insert("versions".into(), versions(conflict).enumerate().map(version).collect());
    told.into()
}

/// A conflict for people.
pub fn conflict_lines(conflict: &Conflict, names: &Names) -> Vec<String> {
    let within =
        if conflict.path.is_empty() { String::new() } else { format!(", field {}", word(&field(conflict))) };
    let head = format!("{} in {}{within}:", shown(&conflict.key), word(&conflict.sub.to_string()));
    let line = |(at, version): (usize, &Version)| {
        let mark = if at == 0 { "shown" } else { "lost " };
        let (by, when) = (names.get(version.dot.client), time::shown(version.stamp.wall_ms));
        format!("  {}  {mark}  {}\t{}, {when}", at + 1, shown(&conflict.says(version)), word(&by))
    };
    std::iter::once(head).chain(versions(conflict).enumerate().map(line)).collect()
}

/// The version that is shown, then those that lost.
pub fn versions(conflict: &Conflict) -> impl Iterator<Item = &Version> {
    std::iter::once(&conflict.shown).chain(&conflict.lost)
}

/// The field that a conflict is about: names joined by dots.
pub fn field(conflict: &Conflict) -> String {
    conflict.fields().map_or_else(|| "within an array".to_owned(), |names| names.join("."))
}

/// A member for programs.
pub fn member(member: &Member, base: &Database) -> Value {
    let client = member.writer().client();
    json!({
        "name": member.name,
        "writer": client.to_string(),
        "log": member.writer().to_string(),
        "role": role(member),
        "only": member.rights.scope,
        "until_ms": member.rights.until_ms,
        "this_device": client == base.me(),
        "removed": member.cut.as_ref().map(|cut| json!({ "length": cut.length, "reason": cut.reason })),
    })
}

/// A member for people.
pub fn member_line(member: &Member, base: &Database) -> String {
    let client = member.writer().client();
    let mut line = format!("{client}  {:<16}  {:<8}", word(&member.name), role(member));
    if !member.rights.scope.is_empty() {
        line.push_str(&format!("  writes only to {}", word(&member.rights.scope.join(", "))));
    }
    if let Some(until) = member.rights.until_ms {
        line.push_str(&format!("  until {}", time::shown(until)));
    }
    if client == base.me() {
        line.push_str("  this device");
    }
    if let Some(cut) = member.cut.as_ref().filter(|cut| !cut.reason.is_empty()) {
        line.push_str(&format!("  {}", word(&cut.reason)));
    }
    line.trim_end().to_owned()
}

/// What a member may do, in a word.
fn role(member: &Member) -> &'static str {
    match (member.cut.is_some(), member.rights.role) {
        (true, _) => "removed",
        (false, Role::Reader) => "reader",
        (false, Role::Writer) => "writer",
        (false, Role::Manager) => "manager",
    }
}

/// How this device stands, in a word.
pub fn standing(base: &Database) -> &'static str {
    match base.standing() {
        Standing::Member => "member",
        Standing::Waiting => "waiting",
        Standing::Removed => "removed",
    }
}

/// What to do to be admitted.
pub fn how_to_be_admitted(name: &str, request: &str) -> String {
    let name = word(name);
    format!(
        "Send this request to the owner of the database, or to a manager:\n\n  {request}\n\n\
         They let this device in, and wait for it, on theirs:\n\n  \
         cloudpal db members {name} admit REQUEST --name THIS-DEVICE --store DIR\n  \
         cloudpal db listen {name} --listen 0.0.0.0:4000 --store DIR\n\n\
         Then, here:\n\n  cloudpal db sync {name} --with THEIR-ADDRESS:4000 --store DIR"
    )
}

/// A key of a database, from 64 hexadecimal digits.
pub fn key(text: &str) -> Result<[u8; 32], Failure> {
    let key: cloudpal_shelf::Key = text.parse().map_err(|error| Failure::lift(Exit::Usage, error))?;
    Ok(key.0)
}
