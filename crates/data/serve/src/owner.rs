//! What only the owner does with a database, and how it is told: the same for a folder of the person's machine as for a pal.

use crate::json;
use crate::token::{Book, BookError, Record, Right, Scope};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use cloudpal_base::{
    Batch, CheckpointError, Cursor, Database, Dot, Durability, HistoryError, Member, MemberError, OpenError,
    ReadError, Request, Resolution, ResolveError, Rights, Role, Sub, Undone, WriteFault,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Making, joining or opening a database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading the view.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing.
    #[error(transparent)]
    Write(#[from] WriteFault),
    /// Settling a conflict.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Admitting or removing a member.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The past.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Checkpoints, and forgetting history.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Tokens.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Whether this device founded the database: to create it again changes nothing then.
pub fn is_founder(base: &Database) -> bool {
    base.find_member(&base.me().to_string()).is_ok_and(|me| me.writer().0 == base.key())
}

/// A database that this device founded.
pub fn created(base: &Database, made: Made) -> Value {
    json!({
        "name": base.name(),
        "key": hex::encode(base.key()),
        "created": made == Made::Now,
        "writer": base.me().to_string(),
    })
}

/// When something was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// By this request.
    Now,
    /// It was there.
    Before,
}

/// The sub-databases that hold anything, without the server's own.
pub fn subs(base: &Database) -> Result<Vec<Sub>, OwnerError> {
    let mut subs = base.snapshot().subs()?;
    subs.retain(|sub| !sub.lies_under(crate::token::RESERVED));
    Ok(subs)
}

/// How a database stands: members, how far their logs have come, conflicts, what was refused.
pub fn info(base: &Database) -> Result<Value, OwnerError> {
    let subs = subs(base)?;
    let mut conflicts = 0;
    for sub in &subs {
        conflicts += base.conflicts(sub)?.len() as u64;
    }
    let mut told = json::about(base);
    told["members"] = base.members().iter().map(|one| json::member(one, base)).collect();
    told["subs"] = subs.iter().map(|sub| Value::from(json::sub(sub))).collect();
    told["progress"] = json::progress(base);
    told["conflicts"] = json!(conflicts);
    told["due_ms"] = json!(base.progress().due_ms);
    let refusals = base.refusals();
    told["refusals"] = refusals
        .iter()
        .map(|one| {
            let why = one.fault.to_string();
            json!({ "writer": one.client.to_string(), "position": one.position, "why": why })
        })
        .collect();
    Ok(told)
}

/// How far a database is with the peers that are connected: like [`info`], and `missing` says what is not here or there yet.
pub fn sync(base: &Database) -> Value {
    let mut told = json::about(base);
    // Before the rest, which is not older then.
    told["missing"] = json!(json::missing(base));
    told["progress"] = json::progress(base);
    told["due_ms"] = json!(base.progress().due_ms);
    told
}

/// Whom to let in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// What `join` printed there.
    pub request: String,
    /// What to call the device.
    pub name: String,
    /// `reader`, `writer` or `manager`.
    #[serde(default = "writer")]
    pub role: String,
    /// It may write to these sub-databases and those below them only; none: everywhere.
    #[serde(default)]
    pub only: Vec<String>,
    /// Until then, in milliseconds since 1970.
    #[serde(default)]
    pub until_ms: Option<u64>,
}

fn writer() -> String {
    "writer".to_owned()
}

/// Lets a device in.
pub fn admit(base: &Database, wanted: &Admission) -> Result<Value, OwnerError> {
    let usage = |why: String| OwnerError::Usage(why);
    let request: Request =
        wanted.request.parse().map_err(|error: cloudpal_base::ParseRequestError| usage(error.to_string()))?;
    let role = match wanted.role.as_str() {
        "reader" => Role::Reader,
        "writer" => Role::Writer,
        "manager" => Role::Manager,
        other => return Err(usage(format!("{other:?} is no role: reader, writer or manager"))),
    };
    let named = |one: &Member| {
        one.name == wanted.name && one.cut.is_none() && one.writer().client() != request.client()
    };
    if base.members().iter().any(named) {
        let why = format!("another member is called {} already; give this one another name", wanted.name);
        return Err(usage(why));
    }
    let rights = Rights { role, scope: wanted.only.clone(), until_ms: wanted.until_ms };
    base.admit(&request, &wanted.name, rights)?;
    Ok(json::member(&base.find_member(&request.client().to_string())?, base))
}

/// Cuts a member off; tells how much of what it wrote is kept, and how much that is known of is lost.
pub fn remove(base: &Database, member: &str, reason: &str) -> Result<Value, OwnerError> {
    let found = base.find_member(member)?;
    let client = found.writer().client();
    if client == base.me() {
        let why = "this device cannot remove itself; do it on another one of the owner";
        return Err(OwnerError::Usage(why.to_owned()));
    }
    let progress = base.sync_progress().into_iter().find(|progress| progress.client == client);
    let (length, kept) = progress.map_or((0, 0), |progress| (progress.length, progress.read));
    base.remove(&found, reason)?;
    let mut told = json::member(&base.find_member(&client.to_string())?, base);
    told["kept_blocks"] = json!(kept);
    told["lost_blocks"] = json!(length.saturating_sub(kept));
    Ok(told)
}

/// At most `limit` batches behind a cursor, each with the cursor behind it.
pub fn batches(base: &Database, after: Cursor, limit: usize) -> Result<Value, OwnerError> {
    let (mut cursor, mut batches, mut more) = (after, Vec::new(), true);
    while more && batches.len() < limit {
        let changes = base.changes(&cursor, 1)?;
        (cursor, more) = (changes.next, changes.more);
        for change in &changes.changes {
            let mut told = json::did(change);
            told["cursor"] = json!(BASE64.encode(cursor.encode()));
            batches.push(told);
        }
    }
    Ok(json!({ "batches": batches, "cursor": BASE64.encode(cursor.encode()), "more": more }))
}

/// A cursor as it is told: `start`, `now`, or what came with a batch.
pub fn cursor(base: &Database, text: &str) -> Result<Cursor, OwnerError> {
    let wrong =
        || OwnerError::Usage("this is no cursor; give one that came with a batch, `start` or `now`".into());
    match text {
        "start" => Ok(Cursor::default()),
        "now" => Ok(base.cursor()),
        text => {
            let bytes = BASE64.decode(text).map_err(|_| wrong())?;
            Cursor::decode(&bytes).map_err(|_| wrong())
        }
    }
}

/// Everything that was done to a key, the oldest first.
pub fn history(base: &Database, sub: &Sub, key: &[u8]) -> Result<Value, OwnerError> {
    let mut told = json::key(sub, key);
    told.insert("batches".into(), base.history(sub, key)?.iter().map(json::did).collect());
    Ok(told.into())
}

/// What a key showed at a time, in milliseconds since 1970. All of the logs are read for it.
pub fn past(base: &Database, sub: &Sub, key: &[u8], at_ms: u64) -> Result<Option<Bytes>, OwnerError> {
    Ok(base.at_time(at_ms)?.get(sub, key)?)
}

/// Makes the keys of a batch show again what they did before it.
pub fn undo(base: &Database, dot: Dot) -> Result<Value, OwnerError> {
    let Undone { restored, left } = base.undo(dot)?;
    let list = |keys: &[(Sub, Bytes)]| -> Value {
        keys.iter().map(|(sub, key)| Value::from(json::key(sub, key))).collect()
    };
    Ok(json!({ "batch": json::batch(dot), "restored": list(&restored), "left": list(&left) }))
}

/// Settles a conflict, unless it has other versions by now than those that were seen.
pub fn resolve(base: &Database, wanted: &Resolution, durability: Durability) -> Result<Value, OwnerError> {
    Ok(json::written(&base.resolve(wanted, durability)?))
}

/// Makes a checkpoint, with which new devices begin.
pub fn checkpoint(base: &Database) -> Result<Value, OwnerError> {
    let made = base.checkpoint()?;
    Ok(json!({ "name": base.name(), "made_ms": made.made_ms, "logs": made.heads.iter().count() }))
}

/// Forgets what lies before the checkpoint and was written longer ago than `keep`.
pub fn forget(base: &Database, keep: Duration) -> Result<Value, OwnerError> {
    let forgotten = base.forget(keep)?;
    Ok(json!({ "name": base.name(), "blocks": forgotten.blocks, "batches": forgotten.entries }))
}

/// What keys show, in their order; null for those that are not there.
pub fn values(base: &Database, sub: &Sub, keys: &[Bytes]) -> Result<Value, OwnerError> {
    let view = base.snapshot();
    let mut values = Vec::new();
    for key in keys {
        let mut told = serde_json::Map::new();
        if let Some(value) = view.get(sub, key)? {
            json::tell(&mut told, "value", &value);
        }
        values.push(if told.is_empty() { Value::Null } else { told.into() });
    }
    Ok(json!({ "values": values }))
}

/// Indexes a field of documents: names joined by dots.
pub fn index(base: &Database, sub: &Sub, path: &str) -> Result<Value, OwnerError> {
    let mut batch = Batch::new();
    batch.index(sub, path.to_owned());
    base.write(batch, Durability::Durable)?;
    let mut told = json::sub(sub);
    told.insert("path".into(), json!(path));
    Ok(told.into())
}

/// Documents by an indexed field, from one scalar to another, both ends included.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Search {
    /// The field: names joined by dots.
    pub path: String,
    /// Text, a number, true, false or null; missing: from the first.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Missing: to the last.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
    /// Documents at most.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// Null is a value, too.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Finds documents by an indexed field.
pub fn find(base: &Database, sub: &Sub, wanted: &Search) -> Result<Value, OwnerError> {
    let scalars = [&wanted.from, &wanted.to];
    if let Some(other) = scalars.into_iter().flatten().find(|one| one.is_object() || one.is_array()) {
        let why = format!("`{other}` is no text, number, true, false or null, and only those are indexed");
        return Err(OwnerError::Usage(why));
    }
    let bound = |value: &'_ Option<Value>| value.clone().map_or(Bound::Unbounded, Bound::Included);
    let (from, to) = (bound(&wanted.from), bound(&wanted.to));
    let (view, limit) = (base.snapshot(), wanted.limit.unwrap_or(u64::MAX));
    let mut keys = Vec::new();
    view.find(sub, &wanted.path, (from.as_ref(), to.as_ref()), &mut |key| {
        if keys.len() as u64 >= limit {
            return ControlFlow::Break(());
        }
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    let mut entries = Vec::new();
    for key in keys {
        let Some(value) = view.get(sub, &key)? else { continue };
        let mut entry = serde_json::Map::new();
        json::tell(&mut entry, "key", &key);
        json::tell(&mut entry, "value", &value);
        entries.push(Value::from(entry));
    }
    let mut told = json::sub(sub);
    told.insert("path".into(), json!(wanted.path));
    told.insert("entries".into(), entries.into());
    Ok(told.into())
}

/// A token to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenWish {
    /// For whom or what it is.
    pub label: String,
    /// What it may read: sub-databases and those below them; the empty name is all.
    #[serde(default)]
    pub read: Vec<String>,
    /// What it may read and write.
    #[serde(default)]
    pub write: Vec<String>,
    /// Seconds since 1970 from which it is worth nothing.
    #[serde(default)]
    pub expires: Option<u64>,
}

/// Makes a token, which is told this once.
pub fn add_token(book: &Book, wish: &TokenWish, random: [u8; 40]) -> Result<Value, OwnerError> {
    let scope = |right| move |path: &String| Scope { path: path.clone(), kind: None, right };
    let reads = wish.read.iter().map(scope(Right::Read));
    let scopes: Vec<_> = reads.chain(wish.write.iter().map(scope(Right::Write))).collect();
    if scopes.is_empty() {
        return Err(OwnerError::Usage("say what the token may read or write".to_owned()));
    }
    Ok(json!({ "token": book.add(&wish.label, scopes, wish.expires, random)?.reveal() }))
}

/// All tokens, without their secrets.
pub fn tokens(book: &Book) -> Result<Value, OwnerError> {
    Ok(json!({ "tokens": book.list()?.iter().map(token).collect::<Vec<_>>() }))
}

/// Makes the token whose id begins so worthless.
pub fn revoke_token(book: &Book, id: &str) -> Result<Value, OwnerError> {
    Ok(json!({ "revoked": token(&book.revoke(id)?) }))
}

/// Without the hash, which is nobody's business.
fn token(record: &Record) -> Value {
    json!({ "id": record.id, "label": record.label, "scopes": record.scopes, "expires": record.expires })
}
