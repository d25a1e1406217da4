//! `/v1/databases`: making and joining databases, their members, past and tokens, for the owner; and beside that what apps and
//! devices with a token use, too ([`cloudpal_serve`]).

use super::body::whole;
use super::logs::{from_json, parsed};
use super::{Hyper, Problem, UPLOAD};
use axum::body::Body;
use axum::extract::{FromRef, Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use cloudpal_base::{Database, Sub};
use cloudpal_serve::owner::{self, Admission, Made, OwnerError, Search, TokenWish};
use cloudpal_serve::{Directory, Encoding, Owner, Place, Service, json as told};
use cloudpal_shelf::Key;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Batches of one answer, at most.
const BATCHES: usize = 100;
/// Bytes of the keys of one request, as JSON.
const MAX_KEYS: usize = 4 << 20;
/// The longest a request waits for a change.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Whoever has not sent all of what is to be written after so long is given up.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn router<S>(hyper: &Hyper) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Hyper: FromRef<S>,
{
    let of_owner = Router::new()
        .route("/v1/databases", get(list).post(make))
        .route("/v1/databases/{database}/info", get(info))
        .route("/v1/databases/{database}/subs", get(subs))
        .route("/v1/databases/{database}/sync", get(sync))
        .route("/v1/databases/{database}/batches", get(batches))
        .route("/v1/databases/{database}/history/{*key}", get(history))
        .route("/v1/databases/{database}/past/{*key}", get(past))
        .route("/v1/databases/{database}/values", post(values))
        .route("/v1/databases/{database}/index", post(index))
        .route("/v1/databases/{database}/find", post(find))
        .route("/v1/databases/{database}/undo", post(undo))
        .route("/v1/databases/{database}/admit", post(admit))
        .route("/v1/databases/{database}/remove", post(remove))
        .route("/v1/databases/{database}/renew", post(renew))
        .route("/v1/databases/{database}/checkpoint", post(checkpoint))
        .route("/v1/databases/{database}/forget", post(forget))
        .route("/v1/databases/{database}/tokens", get(tokens).post(add_token))
        .route("/v1/databases/{database}/tokens/{id}", delete(revoke_token))
        .layer(middleware::from_fn(only_owner));
    let of_all = cloudpal_serve::routes(hyper.clone())
        .layer(middleware::from_fn_with_state(hyper.clone(), take_turns));
    of_owner.merge(of_all)
}

async fn only_owner(request: Request, next: Next) -> Response {
    match request.extensions().get::<Owner>() {
        Some(Owner) => next.run(request).await,
        None => Problem::not_owner().into_response(),
    }
}

/// What is to be written takes memory until it is: not too many at the same time.
async fn take_turns(State(hyper): State<Hyper>, request: Request, next: Next) -> Response {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return next.run(request).await;
    }
    let Ok(_turns) = hyper.turns.clone().acquire_many_owned(UPLOAD).await else {
        return Problem::stumbled().into_response();
    };
    let answer = timeout(PATIENCE, next.run(request)).await;
    answer.unwrap_or_else(|_| Problem::cut_off().into_response())
}

impl Directory for Hyper {
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Service>, Response>> {
        let find = async move {
            match self.database(name).await {
                Ok(found) => Ok(found),
                Err(problem) => Err(problem.into_response()),
            }
        };
        find.boxed()
    }
}

impl Hyper {
    /// A database, opened if it is not.
    async fn database(&self, name: &str) -> Result<Arc<Service>, Problem> {
        let shelf = self.shelf().await?;
        if let Some(open) = shelf.bases.get(name) {
            return Ok(open);
        }
        let name = name.to_owned();
        let opened = tokio::task::spawn_blocking(move || shelf.bases.open(&name)).await;
        opened.map_err(|_| Problem::stumbled())?
    }

    /// Does something with a database, away from the loop that serves everybody else.
    async fn with<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Service) -> Result<T, OwnerError> + Send + 'static,
    ) -> Result<T, Problem> {
        let service = self.database(name).await?;
        self.run(move |_| Ok(work(&service)?)).await
    }

    async fn told(
        &self,
        name: &str,
        work: impl FnOnce(&Database) -> Result<Value, OwnerError> + Send + 'static,
    ) -> Result<Json<Value>, Problem> {
        self.with(name, |service| work(service.database())).await.map(Json)
    }
}

async fn list(State(hyper): State<Hyper>) -> Result<Json<Value>, Problem> {
    let names = hyper.run(|shelf| shelf.bases.names()).await?;
    Ok(Json(json!({ "databases": names })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    name: String,
    /// To join the database with this key; none makes one.
    key: Option<Key>,
}

async fn make(State(hyper): State<Hyper>, body: Body) -> Result<Response, Problem> {
    let Wish { name, key } = parsed(body).await?;
    hyper
        .run(move |shelf| {
            let (service, made) = match key {
                None => shelf.bases.create(&name)?,
                Some(key) => shelf.bases.join(&name, key.0)?,
            };
            let status = if made == Made::Now { StatusCode::CREATED } else { StatusCode::OK };
            let about = match key {
                None => owner::created(service.database(), made),
                Some(_) => told::about(service.database()),
            };
            Ok((status, Json(about)).into_response())
        })
        .await
}

async fn info(State(hyper): State<Hyper>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    hyper.told(&name, owner::info).await
}

async fn subs(State(hyper): State<Hyper>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let told = |base: &Database| {
        let subs = owner::subs(base)?;
        Ok(json!({ "subs": subs.iter().map(|sub| Value::from(told::sub(sub))).collect::<Vec<_>>() }))
    };
    hyper.told(&name, told).await
}

async fn sync(State(hyper): State<Hyper>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    hyper.told(&name, |base| Ok(owner::sync(base))).await
}

/// From where, how many, and how long to wait for the first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    after: Option<String>,
    limit: Option<usize>,
    wait_ms: Option<u64>,
}

async fn batches(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    Query(since): Query<Since>,
) -> Result<Json<Value>, Problem> {
    let until = Instant::now() + Duration::from_millis(since.wait_ms.unwrap_or(0)).min(MAX_WAIT);
    let limit = since.limit.unwrap_or(BATCHES).min(BATCHES);
    let mut after = since.after.unwrap_or_else(|| "start".to_owned());
    let mut versions = hyper.database(&name).await?.versions();
    loop {
        let from = after.clone();
        let read = move |base: &Database| owner::batches(base, owner::cursor(base, &from)?, limit);
        let Json(answer) = hyper.told(&name, read).await?;
        let any = answer["batches"].as_array().is_some_and(|all| !all.is_empty());
        if any || Instant::now() >= until {
            return Ok(Json(answer));
        }
        after = answer["cursor"].as_str().unwrap_or_default().to_owned();
        // Woken by a change, or at the end by nothing.
        let _ = tokio::time::timeout_at(until, versions.changed()).await;
    }
}

/// A key of a sub-database, and a time.
#[derive(Deserialize)]
struct At {
    #[serde(flatten)]
    place: Place,
    #[serde(default)]
    encoding: Encoding,
    at_ms: Option<String>,
}

impl At {
    fn read(&self, key: &str) -> Result<(Sub, Bytes), Problem> {
        Ok((self.place.sub()?, self.encoding.key(key)?))
    }
}

async fn history(
    State(hyper): State<Hyper>,
    Path((name, key)): Path<(String, String)>,
    Query(at): Query<At>,
) -> Result<Json<Value>, Problem> {
    let (sub, key) = at.read(&key)?;
    hyper.told(&name, move |base| owner::history(base, &sub, &key)).await
}

async fn past(
    State(hyper): State<Hyper>,
    Path((name, text)): Path<(String, String)>,
    Query(at): Query<At>,
) -> Result<Response, Problem> {
    let (sub, key) = at.read(&text)?;
    let ms = at.at_ms.as_deref().and_then(|ms| ms.parse().ok());
    let ms = ms.ok_or_else(|| Problem::usage("at_ms says when, in milliseconds since 1970"))?;
    let found = hyper.with(&name, move |service| owner::past(service.database(), &sub, &key, ms)).await?;
    match found {
        Some(value) => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], value).into_response()),
        None => Err(Problem::not_found(format!("there was no entry {text:?} then"))),
    }
}

/// What of a sub-database.
#[derive(Deserialize)]
struct Of<T> {
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    what: T,
}

/// Keys in base64.
#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

async fn values(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let bytes = whole(body, MAX_KEYS).await?;
    let wanted: Of<Keys> = from_json(&bytes)?;
    let sub = wanted.place.sub()?;
    let key = |text: &String| Encoding::Base64url.key(text);
    let keys = wanted.what.keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    hyper.told(&name, move |base| owner::values(base, &sub, &keys)).await
}

#[derive(Deserialize)]
struct Field {
    path: String,
}

async fn index(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let wanted: Of<Field> = parsed(body).await?;
    let (sub, path) = (wanted.place.sub()?, wanted.what.path);
    hyper.told(&name, move |base| owner::index(base, &sub, &path)).await
}

async fn find(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let wanted: Of<Search> = parsed(body).await?;
    let sub = wanted.place.sub()?;
    hyper.told(&name, move |base| owner::find(base, &sub, &wanted.what)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undo {
    batch: String,
}

async fn undo(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Undo { batch } = parsed(body).await?;
    let dot = told::dot(&batch).ok_or_else(|| Problem::usage("a batch is named as its history names it"))?;
    hyper.told(&name, move |base| owner::undo(base, dot)).await
}

async fn admit(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let wanted: Admission = parsed(body).await?;
    hyper.told(&name, move |base| owner::admit(base, &wanted)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    member: String,
    #[serde(default)]
    reason: String,
}

async fn remove(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Removal { member, reason } = parsed(body).await?;
    hyper.told(&name, move |base| owner::remove(base, &member, &reason)).await
}

async fn renew(State(hyper): State<Hyper>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    hyper.run(move |shelf| Ok(Json(told::about(shelf.bases.renew(&name)?.database())))).await
}

async fn checkpoint(State(hyper): State<Hyper>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    hyper.told(&name, owner::checkpoint).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    /// Seconds of history that stay.
    keep_s: u64,
}

async fn forget(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Forget { keep_s } = parsed(body).await?;
    hyper.told(&name, move |base| owner::forget(base, Duration::from_secs(keep_s))).await
}

async fn tokens(State(hyper): State<Hyper>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    hyper.with(&name, |service| owner::tokens(service.book())).await.map(Json)
}

async fn add_token(
    State(hyper): State<Hyper>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let wish: TokenWish = parsed(body).await?;
    let mut random = [0; 40];
    getrandom::fill(&mut random).map_err(|_| Problem::stumbled())?;
    let made = hyper.with(&name, move |service| owner::add_token(service.book(), &wish, random)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn revoke_token(
    State(hyper): State<Hyper>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    hyper.with(&name, move |service| owner::revoke_token(service.book(), &id)).await.map(Json)
}
