//! Databases as JSON: batches, conflicts, members, and how far each log has come. The same wherever it is told.

use crate::told::{role, versions};
use crate::wire::{Bound, Step};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudpal_base::{
    Choice, ClientId, Conflict, Database, Did, Dot, Edited, Member, Progress, Resolution, Standing, Sub,
    Unit, Version, Written,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Bytes under `name` if they are text, else in base64 under `name_base64`.
pub fn tell(into: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => into.insert(name.to_owned(), json!(text)),
        Err(_) => into.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes))),
    };
}

/// A sub-database.
pub fn sub(sub: &Sub) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("sub".into(), json!(sub.name()));
    told.insert("kind".into(), json!(sub.kind().name()));
    told
}

/// A key of a sub-database.
pub fn key(of: &Sub, key: &[u8]) -> Map<String, Value> {
    let mut told = sub(of);
    tell(&mut told, "key", key);
    told
}

/// Where a batch lies, as it is named: `WRITER:POSITION`.
pub fn batch(dot: Dot) -> String {
    format!("{}:{}", dot.client, dot.position)
}

/// Where the batch of that name lies.
pub fn dot(name: &str) -> Option<Dot> {
    let (client, position) = name.split_once(':')?;
    let client = ClientId::new(u64::from_str_radix(client, 16).ok()?)?;
    Some(Dot { client, position: position.parse().ok()? })
}

/// A batch that was just written.
pub fn written(written: &Written) -> Value {
    json!({ "batch": batch(written.dot), "time_ms": written.stamp.wall_ms })
}

/// One part of a batch, as `POST /batch` takes it.
pub fn step(step: &Step) -> Value {
    let mut told = sub(step.sub());
    let mut about = |what: &str, key: &[u8], value: Option<&[u8]>| {
        told.insert("type".into(), json!(what));
        tell(&mut told, "key", key);
        if let Some(value) = value {
            tell(&mut told, "value", value);
        }
    };
    match step {
        Step::Put(_, key, value) => about("put", key, Some(value)),
        Step::Del(_, key) => about("del", key, None),
        Step::Patch(_, key, patch) => about("patch", key, Some(patch)),
        Step::Include(_, key, member) => about("include", key, Some(member)),
        Step::Exclude(_, key, member) => about("exclude", key, Some(member)),
        Step::Expect(_, key, value) => about("expect", key, value.as_deref()),
        Step::Add(_, key, delta) => {
            about("add", key, None);
            told.insert("delta".into(), json!(delta));
        }
        Step::Splice(_, key, span, insert) => {
            about("splice", key, Some(insert.as_bytes()));
            told.insert("at".into(), json!(span.at));
            told.insert("remove".into(), json!(span.length));
            let unit = if span.unit == Unit::Utf16 { "utf16" } else { "utf8" };
            told.insert("unit".into(), json!(unit));
        }
        Step::Index(_, path) => {
            told.insert("type".into(), json!("index"));
            told.insert("path".into(), json!(path));
        }
        Step::Clear(_, bounds) => {
            told.insert("type".into(), json!("clear"));
            for (bound, without, with) in [(&bounds.lower, "gt", "gte"), (&bounds.upper, "lt", "lte")] {
                match bound {
                    Bound::Open => {}
                    Bound::Excluding(key) => tell(&mut told, without, key),
                    Bound::Including(key) => tell(&mut told, with, key),
                }
            }
        }
    }
    told.into()
}

/// How a conflict is to end, as `POST /resolve` takes it.
pub fn resolution(wanted: &Resolution) -> Value {
    let mut told = key(&wanted.sub, &wanted.key);
    tell(&mut told, "path", &wanted.path);
    told.insert("seen".into(), wanted.seen.iter().copied().map(batch).collect());
    match &wanted.choice {
        Choice::Keep(dot) => drop(told.insert("keep".into(), json!(batch(*dot)))),
        Choice::Value(value) => tell(&mut told, "value", value),
    }
    told.into()
}

/// What a batch did.
pub fn did(did: &Did) -> Value {
    json!({
        "batch": batch(did.dot),
        "writer": did.dot.client.to_string(),
        "by": did.by,
        "time_ms": did.stamp.wall_ms,
        "edits": did.edits.iter().map(edit).collect::<Vec<_>>(),
    })
}

fn edit(edit: &Edited) -> Value {
    let mut told = sub(&edit.sub);
    told.insert("type".into(), json!(edit.what));
    if let Some(key) = &edit.key {
        tell(&mut told, "key", key);
    }
    if let Some(value) = &edit.value {
        tell(&mut told, "value", value);
    }
    told.into()
}

/// What members are called.
pub struct Names(BTreeMap<ClientId, String>);

impl Names {
    /// In this database.
    pub fn of(base: &Database) -> Self {
        let named = |member: Member| (member.writer().client(), member.name);
        Names(base.members().into_iter().map(named).collect())
    }

    /// Its name; its short id if it has none.
    pub fn get(&self, client: ClientId) -> String {
        self.0.get(&client).cloned().unwrap_or_else(|| client.to_string())
    }
}

/// A conflict; its versions are numbered from 1, the one that is shown first. `field` is what of a document it is about, and
/// `fields` are the names that lead there, null for what lies in an array.
pub fn conflict(conflict: &Conflict, names: &Names) -> Value {
    let mut told = key(&conflict.sub, &conflict.key);
    if !conflict.path.is_empty() {
        tell(&mut told, "path", &conflict.path);
        let fields = conflict.fields();
        let field = fields.as_ref().map_or_else(|| "within an array".to_owned(), |names| names.join("."));
        told.insert("field".into(), json!(field));
        told.insert("fields".into(), json!(fields));
    }
    let version = |(at, version): (usize, &Version)| {
        let mut told = Map::new();
        told.insert("number".into(), json!(at + 1));
        tell(&mut told, "value", &conflict.says(version));
        told.insert("writer".into(), json!(version.dot.client.to_string()));
        told.insert("by".into(), json!(names.get(version.dot.client)));
        told.insert("batch".into(), json!(batch(version.dot)));
        told.insert("time_ms".into(), json!(version.stamp.wall_ms));
        Value::from(told)
    };
    told.insert("versions".into(), versions(conflict).enumerate().map(version).collect());
    told.into()
}

/// A member.
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

/// How this device stands, in a word.
pub fn standing(base: &Database) -> &'static str {
    match base.standing() {
        Standing::Member => "member",
        Standing::Waiting => "waiting",
        Standing::Removed => "removed",
    }
}

/// A database, and this device's request to be admitted to it.
pub fn about(base: &Database) -> Value {
    json!({
        "name": base.name(),
        "key": hex::encode(base.key()),
        "standing": standing(base),
        "writer": base.me().to_string(),
        "request": base.request().to_string(),
    })
}

/// How far each member's log has come here.
pub fn progress(base: &Database) -> Value {
    let names = Names::of(base);
    let locked: Vec<_> = base.progress().locked.iter().map(|writer| writer.client()).collect();
    let one = |progress: Progress| {
        json!({
            "writer": progress.client.to_string(),
            "name": names.get(progress.client),
            "length": progress.length,
            "held": progress.held,
            "read": progress.read,
            "peers": progress.peers,
            "forked": progress.forked,
            "locked": locked.contains(&progress.client),
        })
    };
    base.sync_progress().into_iter().map(one).collect()
}

/// What keeps this device and the peers that are connected from having everything of each other, in words; empty when they have.
pub fn missing(base: &Database) -> Vec<String> {
    let (names, me, last) = (Names::of(base), base.me(), base.progress());
    let halted: Vec<ClientId> =
        last.locked.iter().chain(&last.behind).map(|writer| writer.client()).collect();
    let is_member = base.standing() != Standing::Waiting;
    let members = base.members();
    let cut =
        |client| members.iter().any(|member| member.cut.is_some() && member.writer().client() == client);
    let one = |progress: &Progress| {
        let Progress { client, length, held, read, peers, holders, current, forked } = *progress;
        // Nobody else follows the log of a device that is not admitted, or takes more of one that signed two histories.
        if forked || (client == me && !is_member) {
            return None;
        }
        let name = names.get(client);
        // Entries that wait for a key, a cut or a clock are here, though they are not read.
        let waits = cut(client) || halted.contains(&client) || last.due_ms.is_some();
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
    base.sync_progress().iter().filter_map(one).collect()
}
