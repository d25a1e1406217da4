//! `POST /batch`: an atomic batch as JSON.

use super::Caller;
use super::answer::Refusal;
use super::entries::Wish;
use super::form::{self, Encoding, Place};
use crate::code::{Code, Failure};
use crate::json;
use crate::wire::{MAX_MESSAGE, Step, Write};
use axum::Json;
use axum::body::{Body, to_bytes};
use cloudpal_base::limits::{MAX_KEY, MAX_VALUE};
use cloudpal_base::{Span, Unit};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    durability: Option<Wish>,
    operations: Vec<Operation>,
}

/// One change, as JSON has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    #[serde(rename = "type")]
    what: What,
    #[serde(default)]
    sub: String,
    #[serde(default = "form::register")]
    kind: String,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    delta: Option<i64>,
    at: Option<usize>,
    #[serde(default)]
    remove: usize,
    unit: Option<UnitName>,
    path: Option<String>,
    gt: Option<String>,
    gte: Option<String>,
    lt: Option<String>,
    lte: Option<String>,
}

#[derive(Debug, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum What {
    Put,
    Del,
    Clear,
    Patch,
    Include,
    Exclude,
    Add,
    Splice,
    Index,
    Expect,
}

/// In what a place in a text is counted.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum UnitName {
    Utf8,
    Utf16,
}

impl Operation {
    fn step(self) -> Result<Step, Failure> {
        let sub = Place { sub: self.sub, kind: self.kind }.sub()?;
        let key = form::bytes(self.key, self.key_base64, MAX_KEY, "a key")?;
        let value = form::bytes(self.value, self.value_base64, MAX_VALUE, "a value")?;
        let ends = [&self.gt, &self.gte, &self.lt, &self.lte].map(Option::as_deref);
        let is_ranged = ends.iter().any(Option::is_some);
        match (self.what, self.at, self.path) {
            (What::Splice, Some(at), None) => {
                let (Some(key), false, None) = (key, is_ranged, self.delta) else {
                    return Err(self.what.misused());
                };
                let unit = if let Some(UnitName::Utf16) = self.unit { Unit::Utf16 } else { Unit::Utf8 };
                let insert = String::from_utf8(value.unwrap_or_default().to_vec());
                let insert = insert.map_err(|error| form::invalid(&error))?;
                return Ok(Step::Splice(sub, key, Span { at, length: self.remove, unit }, insert));
            }
            (What::Index, None, Some(path)) if key.is_none() && value.is_none() && !is_ranged => {
                return Ok(Step::Index(sub, path));
            }
            (_, None, None) if self.remove == 0 && self.unit.is_none() => {}
            (what, ..) => return Err(what.misused()),
        }
        match (self.what, key, value, self.delta) {
            (What::Clear, None, None, None) => {
                let [gt, gte, lt, lte] = ends;
                Ok(Step::Clear(sub, form::bounds(gt, gte, lt, lte, Encoding::Text)?))
            }
            _ if is_ranged => Err(self.what.misused()),
            (What::Put, Some(key), Some(value), None) => Ok(Step::Put(sub, key, value)),
            (What::Patch, Some(key), Some(value), None) => Ok(Step::Patch(sub, key, value)),
            (What::Include, Some(key), Some(value), None) => Ok(Step::Include(sub, key, value)),
            (What::Exclude, Some(key), Some(value), None) => Ok(Step::Exclude(sub, key, value)),
            (What::Add, Some(key), None, Some(delta)) => Ok(Step::Add(sub, key, delta)),
            (What::Del, Some(key), None, None) => Ok(Step::Del(sub, key)),
            (What::Expect, Some(key), value, None) => Ok(Step::Expect(sub, key, value)),
            (what, ..) => Err(what.misused()),
        }
    }
}

impl What {
    fn misused(self) -> Failure {
        let takes = match self {
            What::Put | What::Patch | What::Include | What::Exclude => "a key and a value",
            What::Add => "a key and a delta",
            What::Del => "a key",
            What::Expect => "a key and, unless there should be none, a value",
            What::Splice => "a key, at, and if wanted remove, unit and a value to insert",
            What::Index => "a path",
            What::Clear => "bounds",
        };
        Failure::new(Code::Invalid, format!("{self:?} takes {takes}").to_lowercase())
    }
}

pub async fn batch(caller: Caller, body: Body) -> Result<Json<Value>, Refusal> {
    let body = to_bytes(body, MAX_MESSAGE).await.map_err(|_| {
        Failure::new(
            Code::TooLarge,
            format!("the batch did not arrive whole, or has more than {MAX_MESSAGE} bytes"),
        )
    })?;
    let batch: Batch = serde_json::from_slice(&body).map_err(|error| form::invalid(&error))?;
    let steps = batch.operations.into_iter().map(Operation::step).collect::<Result<Vec<_>, _>>()?;
    let write = Write { origin: None, durability: Wish::durability(batch.durability.as_ref()), steps };
    let written = caller.run(move |session| session.write_told(&write)).await?;
    Ok(Json(json::written(&written)))
}
