//! `/entries`: one entry's value as it is, and scans as JSON.

use super::Caller;
use super::answer::Refusal;
use super::form::{Encoding, Place, bounds, invalid, within};
use crate::code::{Code, Failure};
use crate::json::tell;
use crate::session::Session;
use crate::wire::{Answer, Page, Request, Step, Write};
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cloudpal_base::Durability;
use cloudpal_base::limits::MAX_VALUE;
use cloudpal_log::codec::Reader;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    Relaxed,
    Durable,
}

impl Wish {
    /// A script that asks for nothing gets what it would expect of a database.
    pub fn durability(wish: Option<&Wish>) -> Durability {
        match wish {
            Some(Wish::Relaxed) => Durability::Relaxed,
            Some(Wish::Durable) | None => Durability::Durable,
        }
    }
}

/// Which entry, and how to write it.
#[derive(Deserialize)]
pub struct One {
    #[serde(flatten)]
    place: Place,
    #[serde(default)]
    encoding: Encoding,
    durability: Option<Wish>,
}

impl One {
    fn step(&self, key: &str, value: Option<Bytes>) -> Result<Write, Failure> {
        let (sub, key) = (self.place.sub()?, self.encoding.key(key)?);
        let step = match value {
            Some(value) => Step::Put(sub, key, value),
            None => Step::Del(sub, key),
        };
        let durability = Wish::durability(self.durability.as_ref());
        Ok(Write { origin: None, durability, steps: vec![step] })
    }
}

pub async fn read(
    caller: Caller,
    Path((_, key)): Path<(String, String)>,
    Query(one): Query<One>,
) -> Result<Response, Refusal> {
    let (sub, bytes) = (one.place.sub()?, one.encoding.key(&key)?);
    let values = caller
        .run(move |session| session.perform(Request::Get { snapshot: 0, sub, keys: vec![bytes] }))
        .await?;
    let Answer::Values(values) = values else { return Err(Failure::new(Code::Failed, "no values").into()) };
    match values.into_iter().next().flatten() {
        Some(value) => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], value).into_response()),
        None => Err(Failure::new(Code::NotFound, format!("there is no entry {key:?}")).into()),
    }
}

pub async fn put(
    caller: Caller,
    Path((_, key)): Path<(String, String)>,
    Query(one): Query<One>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let value = to_bytes(body, MAX_VALUE + 1).await.map_err(|_| {
        Failure::new(
            Code::TooLarge,
            format!("the value did not arrive whole, or has more than {MAX_VALUE} bytes"),
        )
    })?;
    let write = one.step(&key, Some(within(value, MAX_VALUE, "a value")?))?;
    caller.run(move |session| session.perform(Request::Write(write))).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn del(
    caller: Caller,
    Path((_, key)): Path<(String, String)>,
    Query(one): Query<One>,
) -> Result<StatusCode, Refusal> {
    let write = one.step(&key, None)?;
    caller.run(move |session| session.perform(Request::Write(write))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which entries.
#[derive(Deserialize)]
pub struct Scan {
    #[serde(flatten)]
    place: Place,
    #[serde(default)]
    encoding: Encoding,
    gt: Option<String>,
    gte: Option<String>,
    lt: Option<String>,
    lte: Option<String>,
    reverse: Option<String>,
    values: Option<String>,
    limit: Option<String>,
}

/// Entries of an answer that did not say how many.
pub const ENTRIES: u64 = 1000;
/// Bytes of keys and values after which an answer ends.
pub const BYTES: u64 = 1 << 20;

pub async fn scan(caller: Caller, Query(scan): Query<Scan>) -> Result<Json<Value>, Refusal> {
    let sub = scan.place.sub()?;
    let [gt, gte, lt, lte] = [&scan.gt, &scan.gte, &scan.lt, &scan.lte].map(Option::as_deref);
    let request = Request::Scan {
        snapshot: 0,
        sub,
        bounds: bounds(gt, gte, lt, lte, scan.encoding)?,
        reverse: flag(scan.reverse.as_deref(), "reverse")?.unwrap_or(false),
        keys: true,
        values: flag(scan.values.as_deref(), "values")?.unwrap_or(true),
        limit: scan.limit.map_or(Ok(ENTRIES), |limit| limit.parse()).map_err(|error| invalid(&error))?,
        bytes: BYTES,
    };
    let Request::Scan { values, .. } = request else {
        return Err(Failure::new(Code::Failed, "no scan").into());
    };
    let page = caller.run(move |session| told(session, request, values)).await?;
    Ok(Json(page))
}

fn told(session: &mut Session, request: Request, values: bool) -> Result<Value, Failure> {
    let Answer::Page(page) = session.perform(request)? else {
        return Err(Failure::new(Code::Failed, "no page"));
    };
    Ok(json!({ "entries": entries(&page, values)?, "more": !page.last }))
}

/// The entries of a page, with values if they are in it.
pub fn entries(page: &Page, values: bool) -> Result<Vec<Value>, Failure> {
    let damaged = |_| Failure::new(Code::Failed, "a page could not be read");
    let mut reader = Reader::new(&page.entries);
    let entries = (0..page.count).map(|_| {
        let mut entry = Map::new();
        tell(&mut entry, "key", reader.buffer("a key").map_err(damaged)?);
        if values {
            tell(&mut entry, "value", reader.buffer("a value").map_err(damaged)?);
        }
        Ok(Value::Object(entry))
    });
    entries.collect()
}

/// `true` or `false`, if it is there.
pub fn flag(text: Option<&str>, name: &str) -> Result<Option<bool>, Failure> {
    let wrong = || Failure::new(Code::Invalid, format!("{name} is true or false"));
    text.map(|text| text.parse().map_err(|_| wrong())).transpose()
}
