//! `/v1/logs`: blocks one after the other.

use super::body::whole;
use super::shelf::{Shelf, WAIT};
use super::{Hyper, Problem};
use axum::body::Body;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use cloudpal_core::Secret;
use cloudpal_log::{Durability, Feed};
use cloudpal_shelf::{Item, Key, Kind, Made, json as told};
use cloudpal_store::Session;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Bytes that one request appends at most.
pub const MAX_APPEND: usize = 4 << 20;
/// Blocks that one request appends at most.
const MAX_BLOCKS: usize = 100_000;
/// Bytes of blocks in one answer, beyond the first block.
const MAX_ANSWER: usize = 1 << 20;
/// How long one request checks blocks before it says how far it came.
const CHECKING: Duration = Duration::from_secs(5);
/// The longest a request waits for a peer.
const MAX_WAIT: Duration = Duration::from_secs(60);

pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Hyper: FromRef<S>,
{
    Router::new()
        .route("/", get(list).post(create))
        .route("/{log}", get(info))
        .route("/{log}/blocks", get(read).post(append))
        .route("/{log}/blocks/{index}", get(block))
        .route("/{log}/truncate", post(truncate))
        .route("/{log}/clear", post(clear))
        .route("/{log}/verify", post(verify))
}

async fn list(State(hyper): State<Hyper>) -> Result<Json<Value>, Problem> {
    all(&hyper, Kind::Log).await
}

/// All things of a kind.
pub async fn all(hyper: &Hyper, kind: Kind) -> Result<Json<Value>, Problem> {
    let items = hyper.run(move |shelf| Ok(shelf.things.list(kind)?)).await?;
    let items: Vec<_> = items.iter().map(told::listed).collect();
    Ok(Json(json!({ kind.plural(): items })))
}

async fn create(State(hyper): State<Hyper>, body: Body) -> Result<Response, Problem> {
    made(&hyper, Kind::Log, body).await
}

/// What somebody wants to have made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    name: String,
    /// As npm hypercore 10 signs.
    #[serde(default)]
    compat: bool,
    /// With a new encryption key.
    #[serde(default)]
    encrypt: bool,
    /// A copy of the one with this key.
    key: Option<Key>,
    /// With this encryption key, in hex.
    encryption_key: Option<Zeroizing<String>>,
}

impl Wish {
    fn encryption(&self) -> Result<Option<Secret<32>>, Problem> {
        let mut key = Zeroizing::new([0; 32]);
        match (&self.encryption_key, self.encrypt) {
            (Some(text), _) => hex::decode_to_slice(text.as_bytes(), &mut *key)
                .map_err(|_| Problem::usage("an encryption key has 64 hexadecimal digits"))?,
            (None, true) => getrandom::fill(&mut *key).map_err(|_| Problem::stumbled())?,
            (None, false) => return Ok(None),
        }
        Ok(Some(Secret::new(*key)))
    }
}

/// Makes what the body wishes for.
pub async fn made(hyper: &Hyper, kind: Kind, body: Body) -> Result<Response, Problem> {
    let wish: Wish = parsed(body).await?;
    let encryption = wish.encryption()?;
    let Wish { name, compat, key: copy_of, .. } = wish;
    let wish = cloudpal_shelf::Wish { name, compat, encryption, copy_of };
    hyper
        .run(move |shelf| {
            let made = shelf.create(kind, &wish)?;
            let status = if matches!(made, Made::New(_)) { StatusCode::CREATED } else { StatusCode::OK };
            let item = made.into_item();
            let mut about = told::described(&item, &shelf.things.log(&item)?.info());
            // Told once, to whoever made it: others need it to read.
            if let (StatusCode::CREATED, Some(key)) = (status, item.encryption_key()) {
                about["encryption_key"] = hex::encode(key.expose()).into();
            }
            Ok((status, Json(about)).into_response())
        })
        .await
}

/// A small JSON body.
pub async fn parsed<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, Problem> {
    from_json(&whole(body, 64 << 10).await?)
}

/// What JSON says.
pub fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::usage(format!("the request's JSON is not understood: {error}")))
}

async fn info(
    State(hyper): State<Hyper>,
    Path(log): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Json<Value>, Problem> {
    about(&hyper, Kind::Log, log, wait).await
}

/// A thing in numbers; after a wait, also whether it is as long as it is at the connected peers.
pub async fn about(hyper: &Hyper, kind: Kind, wanted: String, wait: Wait) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let item = shelf.things.find(kind, &wanted)?;
            let log = shelf.things.log(&item)?;
            let until = wait.wait_ms.map(|_| Instant::now() + wait.or(Duration::ZERO));
            let mut current = until.map(|until| is_current(&log, until));
            let mut contents = Value::Null;
            if kind == Kind::Drive
                && let Ok(log) = shelf.things.contents(&item)
            {
                current = until.map(|until| current == Some(true) && is_current(&log, until));
                contents = told::numbers(&log.info());
            }
            let mut about = told::described(&item, &log.info());
            if kind == Kind::Drive {
                about["contents"] = contents;
            }
            if let Some(current) = current {
                about["current"] = current.into();
            }
            Ok(Json(about))
        })
        .await
}

fn is_current(log: &Session, until: Instant) -> bool {
    log.writable() || log.wait_current(until.saturating_duration_since(Instant::now()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cut {
    /// `lines`, or a number of bytes; none makes one block of the whole body.
    cut: Option<String>,
}

async fn append(
    State(hyper): State<Hyper>,
    Path(log): Path<String>,
    Query(Cut { cut }): Query<Cut>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let bytes = whole(body, MAX_APPEND).await?;
    let blocks = cut_up(&bytes, cut.as_deref())?;
    hyper
        .run(move |shelf| {
            let log =
                shelf.things.log(&shelf.things.find(Kind::Log, &log)?)?.with_durability(Durability::Durable);
            let first = log.append(&blocks)?;
            Ok(Json(json!({ "first": first, "count": blocks.len(), "length": log.length() })))
        })
        .await
}

fn cut_up(bytes: &Bytes, cut: Option<&str>) -> Result<Vec<Bytes>, Problem> {
    let blocks: Vec<Bytes> = match cut {
        None => vec![bytes.clone()],
        Some("lines") => {
            let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            let lines = if bytes.is_empty() { None } else { Some(text.split(|&byte| byte == b'\n')) };
            lines.into_iter().flatten().map(|line| bytes.slice_ref(line)).take(MAX_BLOCKS + 1).collect()
        }
        Some(number) => {
            let size: usize = number
                .parse()
                .ok()
                .filter(|size| *size > 0)
                .ok_or_else(|| Problem::usage("cut takes `lines` or a number of bytes greater than 0"))?;
            let starts = (0..bytes.len()).step_by(size).take(MAX_BLOCKS + 1);
            starts.map(|at| bytes.slice(at..bytes.len().min(at.saturating_add(size)))).collect()
        }
    };
    match blocks.len() {
        ..=MAX_BLOCKS => Ok(blocks),
        _ => Err(Problem::too_large(format!(
            "one request appends at most {MAX_BLOCKS} blocks; send it in parts"
        ))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Milliseconds that what is not here is waited for.
    wait_ms: Option<u64>,
}

impl Wait {
    fn or(&self, default: Duration) -> Duration {
        self.wait_ms.map_or(default, Duration::from_millis).min(MAX_WAIT)
    }
}

async fn block(
    State(hyper): State<Hyper>,
    Path((log, index)): Path<(String, u64)>,
    Query(wait): Query<Wait>,
) -> Result<Response, Problem> {
    let wait = wait.or(WAIT);
    let block = hyper
        .run(move |shelf| {
            let log = shelf.things.log(&shelf.things.find(Kind::Log, &log)?)?.with_get_timeout(wait);
            reach(&log, index, wait);
            Ok(log.get(index)?)
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], block).into_response())
}

/// Waits until a copy is as long as its writer's log was said to be. A log that is written here has all it will get.
fn reach(log: &impl Feed, index: u64, wait: Duration) {
    let until = Instant::now() + wait;
    while !log.writable() && log.length() <= index {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        log.wait_change((log.fork(), log.length()), left);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    #[serde(default)]
    from: u64,
    to: Option<u64>,
}

/// Blocks that are held here, as many as fit.
async fn read(
    State(hyper): State<Hyper>,
    Path(log): Path<String>,
    Query(Span { from, to }): Query<Span>,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let log = shelf.things.log(&shelf.things.find(Kind::Log, &log)?)?;
            let end = to.unwrap_or(u64::MAX).min(log.length());
            let (mut blocks, mut bytes, mut next) = (Vec::new(), 0, from);
            while next < end && bytes < MAX_ANSWER && blocks.len() < 1000 {
                let block = log.get(next)?;
                blocks.push(told::block(next, &block));
                bytes += block.len();
                next += 1;
            }
            Ok(Json(json!({ "blocks": blocks, "next": (next < end).then_some(next) })))
        })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Length {
    length: u64,
}

async fn truncate(
    State(hyper): State<Hyper>,
    Path(log): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Length { length } = parsed(body).await?;
    changed(&hyper, log, move |log| {
        if length > log.length() {
            return Err(Problem::usage(format!("the log has {} blocks, fewer than that", log.length())));
        }
        Ok(log.truncate(length)?)
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    from: u64,
    to: u64,
}

async fn clear(
    State(hyper): State<Hyper>,
    Path(log): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let Blocks { from, to } = parsed(body).await?;
    changed(&hyper, log, move |log| {
        let end = to.min(log.length());
        if from < end { Ok(log.clear(from..end)?) } else { Ok(()) }
    })
    .await
}

async fn changed(
    hyper: &Hyper,
    wanted: String,
    change: impl FnOnce(&dyn Feed) -> Result<(), Problem> + Send + 'static,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf: &Shelf| {
            let item: Item = shelf.things.find(Kind::Log, &wanted)?;
            let log = shelf.things.log(&item)?.with_durability(Durability::Durable);
            change(&log)?;
            Ok(Json(told::described(&item, &log.info())))
        })
        .await
}

/// Reads blocks back and says which of them cannot be. Blocks that are not held here are counted, not fetched.
async fn verify(
    State(hyper): State<Hyper>,
    Path(log): Path<String>,
    Query(Span { from, to }): Query<Span>,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let log = shelf.things.log(&shelf.things.find(Kind::Log, &log)?)?;
            let (end, began) = (to.unwrap_or(u64::MAX).min(log.length()), Instant::now());
            let (mut next, mut sound, mut absent, mut damaged) = (from, 0u64, 0u64, Vec::new());
            while next < end && began.elapsed() < CHECKING && damaged.len() < 1000 {
                match log.get_local(next) {
                    Ok(Some(_)) => sound += 1,
                    Ok(None) => absent += 1,
                    Err(cloudpal_log::FeedError::Closed) => return Err(Problem::locked()),
                    Err(_) => damaged.push(next),
                }
                next += 1;
            }
            Ok(Json(json!({
                "ok": damaged.is_empty(),
                "checked": sound,
                "absent": absent,
                "damaged": damaged,
                "next": (next < end).then_some(next),
                "length": log.length(),
                "tree_hash": hex::encode(log.info().tree_hash),
            })))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_into_blocks() {
        let cut = |text: &'static str, how| {
            cut_up(&Bytes::from(text), how).map(|blocks| blocks.concat().len() * 100 + blocks.len())
        };
        assert_eq!(cut("", None).unwrap(), 1);
        assert_eq!(cut("", Some("lines")).unwrap(), 0);
        assert_eq!(cut("\n", Some("lines")).unwrap(), 1);
        assert_eq!(cut("a\n\nb", Some("lines")).unwrap(), 203);
        assert_eq!(cut("a\nb\n", Some("lines")).unwrap(), 202);
        assert_eq!(cut("abcde", Some("2")).unwrap(), 503);
        assert!(cut("a", Some("0")).is_err() && cut("a", Some("x")).is_err());
        let many = Bytes::from(vec![b'\n'; MAX_BLOCKS + 1]);
        assert_eq!(cut_up(&many, Some("lines")).unwrap_err().code, "too_large");
    }
}
