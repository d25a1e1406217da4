//! `/v1/drives`: files.

use super::body::{incoming, outgoing};
use super::logs::{Wait, about, all, made};
use super::range::{Wanted, parse};
use super::shelf::Shelf;
use super::{Hyper, Problem};
use axum::body::Body;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use cloudpal_drive::blobs::BlobReader;
use cloudpal_drive::{About, Checkout, Child, Drive, DrivePath, Folder};
use cloudpal_shelf::{Kind, json as told};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Entries in one answer.
const MAX_ENTRIES: usize = 1000;
/// Bytes that one request has hashed at most.
const MAX_DIGEST: u64 = 64 << 20;
/// Entries that cannot be read and are told of one by one; more are counted.
const MAX_ERRORS: usize = 100;

pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Hyper: FromRef<S>,
{
    Router::new()
        .route("/", get(list).post(create))
        .route("/{drive}", get(info))
        .route("/{drive}/list", get(ls))
        .route("/{drive}/digest/{*path}", get(digest))
        .route("/{drive}/files/{*path}", get(read).put(put).delete(remove))
}

async fn list(State(hyper): State<Hyper>) -> Result<Json<Value>, Problem> {
    all(&hyper, Kind::Drive).await
}

async fn create(State(hyper): State<Hyper>, body: Body) -> Result<Response, Problem> {
    made(&hyper, Kind::Drive, body).await
}

async fn info(
    State(hyper): State<Hyper>,
    Path(drive): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Json<Value>, Problem> {
    about(&hyper, Kind::Drive, drive, wait).await
}

fn open(shelf: &Shelf, wanted: &str) -> Result<Arc<Drive>, Problem> {
    Ok(shelf.things.drive(&shelf.things.find(Kind::Drive, wanted)?)?)
}

fn at(drive: &Drive, version: Option<u64>) -> Result<Checkout, Problem> {
    Ok(match version {
        None => drive.now(),
        Some(version) => drive.checkout(version)?,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    folder: Option<String>,
    /// Everything below the folder; else only what is directly in it.
    #[serde(default)]
    recursive: bool,
    /// Only what comes after this path, to go on with a long list.
    after: Option<String>,
    version: Option<u64>,
}

async fn ls(
    State(hyper): State<Hyper>,
    Path(drive): Path<String>,
    Query(Listing { folder, recursive, after, version }): Query<Listing>,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let drive = at(open(shelf, &drive)?.as_ref(), version)?;
            let folder = Folder::new(folder.as_deref().unwrap_or("/"))?;
            let children: Box<dyn Iterator<Item = Result<Child, _>>> = match recursive {
                true => Box::new(drive.list(&folder).map(|file| file.map(Child::File))),
                false => Box::new(drive.children(&folder)),
            };
            let (mut entries, mut more, mut faulty, mut errors) = (Vec::new(), false, 0u64, Vec::new());
            for child in children {
                let entry = match child {
                    Ok(Child::File(file)) => told::file(&drive, &file),
                    Ok(Child::Folder(folder)) => json!({ "folder": folder.as_str() }),
                    // One entry that its writer got wrong; the list goes on after it.
                    Err(error) if error.is_of_one_file() => {
                        faulty += 1;
                        if errors.len() < MAX_ERRORS {
                            errors.push(Problem::from(error).message);
                        }
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let place = entry["path"].as_str().or(entry["folder"].as_str()).unwrap_or_default();
                if after.as_deref().is_some_and(|after| place <= after) {
                    continue;
                }
                if entries.len() == MAX_ENTRIES {
                    more = true;
                    break;
                }
                entries.push(entry);
            }
            Ok(Json(json!({
                "version": drive.version(), "folder": folder.as_str(), "entries": entries, "more": more,
                "faulty": faulty, "errors": errors,
            })))
        })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    from: u64,
    to: Option<u64>,
    version: Option<u64>,
}

/// The SHA-256 of a part of a file, for those who have a file and want to know whether it is the same. Links are not
/// followed.
async fn digest(
    State(hyper): State<Hyper>,
    Path((drive, path)): Path<(String, String)>,
    Query(Part { from, to, version }): Query<Part>,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let drive = at(open(shelf, &drive)?.as_ref(), version)?;
            let path = DrivePath::new(&path)?;
            let file = drive.entry(&path)?.filter(|file| file.entry.linkname.is_none());
            let file = file.ok_or_else(|| Problem::not_found(format!("the drive has no file `{path}`")))?;
            let length = drive.byte_length(&file)?;
            let from = from.min(length);
            let to = to.unwrap_or(length).min(length).clamp(from, from.saturating_add(MAX_DIGEST));
            let (mut reader, mut hasher) = (drive.read(&file, from..to)?, Sha256::new());
            while let Some(block) = reader.next_block()? {
                hasher.update(&block);
            }
            let sha256 = hex::encode(hasher.finalize());
            Ok(Json(json!({
                "path": path.as_str(), "bytes": length, "from": from, "to": to, "sha256": sha256,
            })))
        })
        .await
}

/// What stands before a file's bytes.
struct Head {
    length: u64,
    part: Option<Range<u64>>,
    seq: u64,
    executable: bool,
}

async fn read(
    State(hyper): State<Hyper>,
    Path((drive, path)): Path<(String, String)>,
    Query(Reading { version }): Query<Reading>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(str::to_owned);
    let (turn, shelf) = (hyper.turn().await?, hyper.shelf().await?);
    let (tell, told) = oneshot::channel();
    let (to, body) = outgoing();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let (head, mut reader, mut piece) = match begin(&shelf, &drive, &path, version, wanted.as_deref()) {
            Ok(begun) => begun,
            Err(problem) => return drop(tell.send(Err(problem))),
        };
        if tell.send(Ok(head)).is_err() {
            return;
        }
        while let Some(bytes) = piece.take() {
            if !to.send(Ok(bytes)) {
                return;
            }
            piece = match reader.next_block() {
                Ok(next) => next,
                Err(error) => {
                    to.send(Err(io::Error::other(error)));
                    return;
                }
            };
        }
    });
    let head = told.await.map_err(|_| Problem::stumbled())??;
    Ok(answered(&head, body))
}

/// Finds a file and its first bytes, so that what goes wrong until then has a status of its own.
fn begin(
    shelf: &Shelf,
    drive: &str,
    path: &str,
    version: Option<u64>,
    range: Option<&str>,
) -> Result<(Head, BlobReader, Option<bytes::Bytes>), Problem> {
    let drive = at(open(shelf, drive)?.as_ref(), version)?;
    let path = DrivePath::new(path)?;
    let file =
        drive.follow(&path)?.ok_or_else(|| Problem::not_found(format!("the drive has no file `{path}`")))?;
    let length = drive.byte_length(&file)?;
    let (part, bytes) = match parse(range, length) {
        Wanted::Whole => (None, 0..u64::MAX),
        Wanted::Part(part) => (Some(part.clone()), part),
        Wanted::Nothing => return Err(Problem::no_range(length)),
    };
    let mut reader = drive.read(&file, bytes)?;
    let first = reader.next_block()?;
    Ok((Head { length, part, seq: file.seq, executable: file.entry.executable }, reader, first))
}

fn answered(head: &Head, body: Body) -> Response {
    let Head { length, part, seq, executable } = head;
    let sent = part.as_ref().map_or(*length, |part| part.end - part.start);
    let mut headers = vec![
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, "attachment".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_LENGTH, sent.to_string()),
        (header::ETAG, format!("\"{seq}\"")),
        (header::HeaderName::from_static("x-cloudpal-executable"), executable.to_string()),
    ];
    let status = match part {
        None => StatusCode::OK,
        Some(part) => {
            let range = format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1));
            headers.push((header::CONTENT_RANGE, range));
            StatusCode::PARTIAL_CONTENT
        }
    };
    let headers: HeaderMap =
        headers.into_iter().filter_map(|(name, value)| Some((name, value.try_into().ok()?))).collect();
    (status, headers, body).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Putting {
    #[serde(default)]
    executable: bool,
    /// Makes a symbolic link to this path instead of a file.
    link: Option<String>,
}

async fn put(
    State(hyper): State<Hyper>,
    Path((drive, path)): Path<(String, String)>,
    Query(Putting { executable, link }): Query<Putting>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let path = DrivePath::new(&path)?;
    // Before the first byte is asked for: whoever waits for "100 Continue" need not send it in vain.
    let drive = hyper.run(move |shelf| open(shelf, &drive)).await?;
    let (feeder, mut reader) = incoming();
    let stored = hyper.run_large(move |shelf| {
        let seq = match link {
            Some(target) => drive.symlink(&path, &target, None)?,
            None => drive.put_stream(&path, &mut reader, About { executable, metadata: None })?,
        };
        shelf.sync()?;
        let now = drive.now();
        let bytes = now.entry(&path)?.map(|file| now.byte_length(&file)).transpose()?;
        Ok(Json(json!({ "path": path.as_str(), "seq": seq, "bytes": bytes, "version": drive.version() })))
    });
    // Whoever sends is listened to while the disk works.
    let fed = feeder.feed(body);
    tokio::pin!(stored, fed);
    tokio::select! {
        done = &mut stored => done,
        () = &mut fed => stored.await,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removing {
    /// Leaves the content for older versions to read.
    #[serde(default)]
    keep: bool,
}

async fn remove(
    State(hyper): State<Hyper>,
    Path((drive, path)): Path<(String, String)>,
    Query(Removing { keep }): Query<Removing>,
) -> Result<Json<Value>, Problem> {
    hyper
        .run(move |shelf| {
            let drive = open(shelf, &drive)?;
            let path = DrivePath::new(&path)?;
            if !drive.now().exists(&path)? {
                return Err(Problem::not_found(format!("the drive has no file `{path}`")));
            }
            let freed = match keep {
                true => drive.del(&path).map(|_| 0)?,
                false => drive.discard(&path)?.blocks,
            };
            shelf.sync()?;
            Ok(Json(json!({ "path": path.as_str(), "freed_blocks": freed, "version": drive.version() })))
        })
        .await
}
