//! `/v1/bees`: sorted maps.

use super::body::whole;
use super::logs::{Wait, about, all, made};
use super::{Hyper, Problem};
use axum::body::Body;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use cloudpal_bee::{Entry, History, Operation, Range, Snapshot};
use cloudpal_shelf::{Kind, json as told};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A value has at most so many bytes, and a key.
const MAX_VALUE: usize = 1 << 20;
const MAX_KEY: usize = 4 << 10;
/// Entries, and bytes beyond the first entry, in one answer.
const MAX_ENTRIES: u64 = 1000;
const MAX_ANSWER: usize = 1 << 20;

pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Hyper: FromRef<S>,
{
    Router::new()
        .route("/", get(list).post(create))
        .route("/{bee}", get(info))
        .route("/{bee}/entries", get(scan))
        .route("/{bee}/entries/{*key}", get(read).put(put).delete(del))
        .route("/{bee}/history", get(history))
}

async fn list(State(hyper): State<Hyper>) -> Result<Json<Value>, Problem> {
    all(&hyper, Kind::Bee).await
}

async fn create(State(hyper): State<Hyper>, body: Body) -> Result<Response, Problem> {
    made(&hyper, Kind::Bee, body).await
}

async fn info(
    State(hyper): State<Hyper>,
    Path(bee): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Json<Value>, Problem> {
    about(&hyper, Kind::Bee, bee, wait).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// The map as it was when its log had so many blocks.
    version: Option<u64>,
    /// The value's bytes and nothing else.
    #[serde(default)]
    raw: bool,
}

async fn read(
    State(hyper): State<Hyper>,
    Path((bee, key)): Path<(String, String)>,
    Query(Reading { version, raw }): Query<Reading>,
) -> Result<Response, Problem> {
    let wanted = key.clone();
    let found = hyper.run(move |shelf| {
        let bee = shelf.things.bee(&shelf.things.find(Kind::Bee, &bee)?)?;
        Ok(match version {
            None => bee.get(key)?,
            Some(version) => bee.checkout(version)?.get(key)?,
        })
    });
    let entry = found.await?.ok_or_else(|| Problem::not_found(format!("the map has no key `{wanted}`")))?;
    if raw {
        let value = entry.value.unwrap_or_default();
        return Ok(([(header::CONTENT_TYPE, "application/octet-stream")], value).into_response());
    }
    Ok(Json(told::entry(&entry)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Putting {
    /// Only if the key's entry is in this block; 0: only if there is none.
    if_seq: Option<u64>,
}

async fn put(
    State(hyper): State<Hyper>,
    Path((bee, key)): Path<(String, String)>,
    Query(Putting { if_seq }): Query<Putting>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    if key.len() > MAX_KEY {
        return Err(Problem::too_large(format!("a key has at most {MAX_KEY} bytes")));
    }
    let value = whole(body, MAX_VALUE).await?;
    hyper
        .run(move |shelf| {
            let bee = shelf.things.bee(&shelf.things.find(Kind::Bee, &bee)?)?;
            let Some(expected) = if_seq else {
                return Ok(Json(json!({ "seq": bee.put(key, value)?, "version": bee.version() })));
            };
            let fits = |old: Option<&Entry>, _: &Entry| old.map_or(0, |old| old.seq) == expected;
            match bee.put_if(&key, value, fits)? {
                Some(seq) => Ok(Json(json!({ "seq": seq, "version": bee.version() }))),
                None => Err(Problem::exists("the key was changed by somebody else; read it again")),
            }
        })
        .await
}

async fn del(
    State(hyper): State<Hyper>,
    Path((bee, key)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let bee = shelf.things.bee(&shelf.things.find(Kind::Bee, &bee)?)?;
            let seq = bee.del(&key)?;
            Ok(Json(json!({ "deleted": seq.is_some(), "seq": seq, "version": bee.version() })))
        })
        .await
}

/// Which entries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    prefix: Option<String>,
    gt: Option<String>,
    gte: Option<String>,
    lt: Option<String>,
    lte: Option<String>,
    #[serde(default)]
    reverse: bool,
    limit: Option<u64>,
    version: Option<u64>,
}

impl Scan {
    fn range(&self) -> Range {
        let mut range = self.prefix.as_ref().map_or_else(Range::all, Range::prefix);
        let narrowed = |range: Range, bound: &Option<String>, by: fn(Range, &str) -> Range| match bound {
            Some(key) => by(range, key),
            None => range,
        };
        range = narrowed(range, &self.gt, |range, key| range.gt(key));
        range = narrowed(range, &self.gte, |range, key| range.gte(key));
        range = narrowed(range, &self.lt, |range, key| range.lt(key));
        range = narrowed(range, &self.lte, |range, key| range.lte(key));
        if self.reverse { range.reverse() } else { range }
    }
}

async fn scan(
    State(hyper): State<Hyper>,
    Path(bee): Path<String>,
    Query(wanted): Query<Scan>,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let bee = shelf.things.bee(&shelf.things.find(Kind::Bee, &bee)?)?;
            let map: Snapshot = match wanted.version {
                None => bee.snapshot(),
                Some(version) => bee.checkout(version)?,
            };
            let limit = wanted.limit.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
            let entries = map.range(wanted.range().limit(limit + 1)).map(|entry| Ok(entry?));
            let (entries, more) =
                gathered(entries, limit, |entry: &Entry| (size(entry), told::entry(entry)))?;
            Ok(Json(json!({ "version": map.version(), "entries": entries, "more": more })))
        })
        .await
}

fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.as_ref().map_or(0, |value| value.len())
}

/// As many as fit into one answer, and whether there are more.
fn gathered<T>(
    all: impl Iterator<Item = Result<T, Problem>>,
    limit: u64,
    shown: impl Fn(&T) -> (usize, Map<String, Value>),
) -> Result<(Vec<Map<String, Value>>, bool), Problem> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    for one in all {
        let (size, one) = match one {
            Ok(one) => shown(&one),
            Err(problem) if some.is_empty() => return Err(problem),
            // What came before is answered; going on from there meets the problem again.
            Err(_) => return Ok((some, true)),
        };
        bytes += size;
        if some.len() as u64 == limit || (bytes > MAX_ANSWER && !some.is_empty()) {
            return Ok((some, true));
        }
        some.push(one);
    }
    Ok((some, false))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    from: Option<u64>,
    until: Option<u64>,
    #[serde(default)]
    reverse: bool,
    limit: Option<u64>,
}

async fn history(
    State(hyper): State<Hyper>,
    Path(bee): Path<String>,
    Query(Past { from, until, reverse, limit }): Query<Past>,
) -> Result<Json<Value>, Problem> {
    let limit = limit.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
    let mut wanted = History::all().from(from.unwrap_or(1)).until(until.unwrap_or(u64::MAX)).limit(limit + 1);
    if reverse {
        wanted = wanted.reverse();
    }
    hyper
        .run(move |shelf| {
            let bee = shelf.things.bee(&shelf.things.find(Kind::Bee, &bee)?)?;
            let operations = bee.history(wanted).map(|operation| Ok(operation?));
            let (operations, more) = gathered(operations, limit, |operation: &Operation| {
                (size(&operation.entry), told::operation(operation))
            })?;
            Ok(Json(json!({ "version": bee.version(), "operations": operations, "more": more })))
        })
        .await
}
