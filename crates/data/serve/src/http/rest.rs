//! About a database as a whole: its limits, changes, conflicts and members.

use super::answer::Refusal;
use super::form::{self, Place};
use super::{Caller, told};
use crate::code::{Code, Failure};
use crate::json::{Names, conflict, member};
use crate::token::Scope;
use crate::wire::{Answer, MAX_MESSAGE, Request, Start, VERSION};
use axum::Json;
use axum::extract::{Path, Query};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cloudpal_base::limits::{MAX_KEY, MAX_VALUE};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

pub async fn about(caller: Caller, Path(database): Path<String>) -> Json<Value> {
    let scopes: &[Scope] = caller.session.access().scopes();
    let limits = caller.service.limits;
    Json(json!({
        "name": database,
        "key": hex::encode(caller.service.database.key()),
        "protocol": VERSION,
        "scopes": scopes,
        "limits": {
            "key_bytes": MAX_KEY,
            "value_bytes": MAX_VALUE,
            "message_bytes": MAX_MESSAGE,
            "snapshots": limits.snapshots,
            "subscriptions": limits.subscriptions,
            "operations_per_s": limits.rate.operations,
            "bytes_per_s": limits.rate.bytes,
        },
    }))
}

/// From where, how many, and how long to wait for the first.
#[derive(Deserialize)]
pub struct Since {
    after: Option<String>,
    sub: Option<String>,
    kind: Option<String>,
    limit: Option<usize>,
    wait_ms: Option<u64>,
}

/// Changes of one answer, at most.
const CHANGES: usize = 1000;
/// An answer waits no longer.
const WAIT: Duration = Duration::from_secs(60);

pub async fn changes(caller: Caller, Query(since): Query<Since>) -> Result<Json<Value>, Refusal> {
    let sub = match (since.sub, since.kind) {
        (None, None) => None,
        (sub, kind) => {
            Some(Place { sub: sub.unwrap_or_default(), kind: kind.unwrap_or_else(form::register) }.sub()?)
        }
    };
    let mut start = match since.after.as_deref() {
        None | Some("") => Start::Oldest,
        Some("now") => Start::Now,
        Some(text) => {
            let gone = |_| Failure::new(Code::CursorGone, "this is no cursor of this database; start anew");
            Start::After(BASE64.decode(text).map_err(gone)?.into())
        }
    };
    let until = Instant::now() + Duration::from_millis(since.wait_ms.unwrap_or(0)).min(WAIT);
    let limit = since.limit.unwrap_or(CHANGES).min(CHANGES);
    let (service, session) = (caller.service, Arc::new(caller.session));
    let mut versions = service.versions();
    loop {
        let (session, wanted, from) = (session.clone(), sub.clone(), start.clone());
        let looked =
            tokio::task::spawn_blocking(move || session.changes(&from, wanted.as_ref(), limit)).await;
        let stumbled = |_| Failure::new(Code::Failed, "the server stumbled over this; try again");
        let event = looked.map_err(stumbled)??;
        let here = Start::After(event.cursor.clone().into());
        // What was passed over was not for this caller; there may be more behind it.
        let caught_up = start == here;
        if !event.changes.is_empty() || (caught_up && Instant::now() >= until) {
            return Ok(Json(told::event(&event)));
        }
        start = here;
        if caught_up {
            let _ = timeout_at(until, versions.changed()).await;
        }
    }
}

pub async fn conflicts(caller: Caller, Query(place): Query<Place>) -> Result<Json<Value>, Refusal> {
    let (sub, names) = (place.sub()?, Names::of(&caller.service.database));
    let answer = caller.run(move |session| session.perform(Request::Conflicts(sub))).await?;
    let Answer::Conflicts(conflicts) = answer else {
        return Err(Failure::new(Code::Failed, "no conflicts").into());
    };
    let conflicts: Vec<_> = conflicts.iter().map(|one| conflict(one, &names)).collect();
    Ok(Json(json!({ "conflicts": conflicts })))
}

pub async fn members(caller: Caller) -> Result<Json<Value>, Refusal> {
    let database = caller.service.database.clone();
    let answer = caller.run(|session| session.perform(Request::Members)).await?;
    let Answer::Members(members) = answer else {
        return Err(Failure::new(Code::Failed, "no members").into());
    };
    Ok(Json(json!({ "members": members.iter().map(|one| member(one, &database)).collect::<Vec<_>>() })))
}
