//! `GET /find`: keys by an indexed field. `POST /resolve`: settling a conflict.

use super::answer::Refusal;
use super::entries::{BYTES, ENTRIES, Wish, entries, flag};
use super::form::{self, Place, invalid};
use super::{Caller, Failure};
use crate::code::Code;
use crate::json;
use crate::wire::{Answer, Bound, Bounds, Find, MAX_MESSAGE, Request};
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Query;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cloudpal_base::limits::{MAX_KEY, MAX_PATH, MAX_VALUE};
use cloudpal_base::{Choice, Dot, Resolution};
use serde::Deserialize;
use serde_json::{Value, json};

/// What to find. Bounds are JSON, or text as it is.
#[derive(Deserialize)]
pub struct Wanted {
    #[serde(flatten)]
    place: Place,
    path: String,
    gt: Option<String>,
    gte: Option<String>,
    lt: Option<String>,
    lte: Option<String>,
    after: Option<String>,
    reverse: Option<String>,
    values: Option<String>,
    limit: Option<String>,
}

pub async fn find(caller: Caller, Query(wanted): Query<Wanted>) -> Result<Json<Value>, Refusal> {
    let after = wanted.after.map(|place| BASE64.decode(place).map(Bytes::from)).transpose();
    let find = Find {
        snapshot: 0,
        sub: wanted.place.sub()?,
        path: wanted.path,
        bounds: Bounds { lower: bound(wanted.gt, wanted.gte)?, upper: bound(wanted.lt, wanted.lte)? },
        after: after.map_err(|error| invalid(&error))?,
        reverse: flag(wanted.reverse.as_deref(), "reverse")?.unwrap_or(false),
        values: flag(wanted.values.as_deref(), "values")?.unwrap_or(true),
        limit: wanted.limit.map_or(Ok(ENTRIES), |limit| limit.parse()).map_err(|error| invalid(&error))?,
        bytes: BYTES,
    };
    let values = find.values;
    let found = caller.run(move |session| session.perform(Request::Find(find))).await?;
    let Answer::Found(found) = found else { return Err(Failure::new(Code::Failed, "nothing found").into()) };
    let mut told = json!({ "entries": entries(&found.page, values)?, "more": !found.page.last });
    if !found.place.is_empty() {
        told["after"] = json!(BASE64.encode(&found.place));
    }
    Ok(Json(told))
}

fn bound(without: Option<String>, with: Option<String>) -> Result<Bound, Failure> {
    let json = |text: String| match serde_json::from_str::<Value>(&text) {
        Ok(_) => Bytes::from(text),
        Err(_) => Bytes::from(Value::from(text).to_string()),
    };
    match (without, with) {
        (None, None) => Ok(Bound::Open),
        (Some(text), None) => Ok(Bound::Excluding(json(text))),
        (None, Some(text)) => Ok(Bound::Including(json(text))),
        (Some(_), Some(_)) => Err(Failure::new(Code::Invalid, "a range has one bound at each end")),
    }
}

/// A conflict as `GET /conflicts` told it, and what is to take its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settlement {
    #[serde(default)]
    sub: String,
    #[serde(default = "form::register")]
    kind: String,
    key: Option<String>,
    key_base64: Option<String>,
    path: Option<String>,
    path_base64: Option<String>,
    seen: Vec<String>,
    keep: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    durability: Option<Wish>,
}

impl Settlement {
    fn resolution(self) -> Result<Resolution, Failure> {
        let key = form::bytes(self.key, self.key_base64, MAX_KEY, "a key")?;
        let path = form::bytes(self.path, self.path_base64, MAX_PATH, "a path")?.unwrap_or_default();
        let value = form::bytes(self.value, self.value_base64, MAX_VALUE, "a value")?;
        let misused = || Failure::new(Code::Invalid, "resolve takes a key, seen, and either keep or a value");
        let choice = match (self.keep, value) {
            (Some(keep), None) => Choice::Keep(dot(&keep)?),
            (None, Some(value)) => Choice::Value(value),
            _ => return Err(misused()),
        };
        let seen = self.seen.iter().map(|name| dot(name)).collect::<Result<_, _>>()?;
        let sub = Place { sub: self.sub, kind: self.kind }.sub()?;
        Ok(Resolution { sub, key: key.ok_or_else(misused)?, path, seen, choice })
    }
}

fn dot(name: &str) -> Result<Dot, Failure> {
    let unknown = || Failure::new(Code::Invalid, format!("{name:?} is no batch as conflicts name it"));
    json::dot(name).ok_or_else(unknown)
}

pub async fn resolve(caller: Caller, body: Body) -> Result<Json<Value>, Refusal> {
    let body = to_bytes(body, MAX_MESSAGE).await.map_err(|_| {
        let message = format!("the request did not arrive whole, or has more than {MAX_MESSAGE} bytes");
        Failure::new(Code::TooLarge, message)
    })?;
    let wish: Settlement = serde_json::from_slice(&body).map_err(|error| invalid(&error))?;
    let durability = Wish::durability(wish.durability.as_ref());
    let resolution = wish.resolution()?;
    let written = caller.run(move |session| session.resolve_told(&resolution, durability)).await?;
    Ok(Json(json::written(&written)))
}
