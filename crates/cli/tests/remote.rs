//! Data commands against an interface that answers as a pal's does: what is long goes in parts, and refusals become
//! exit codes.

// Helpers of tests, too, fail by panicking.
#![allow(clippy::unwrap_used)]

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use cloudpal_cli::failure::{Exit, Failure};
use cloudpal_cli::remote::Remote;
use cloudpal_cli::remote::bees::{self, Scan};
use cloudpal_cli::remote::drives::{self, Mode};
use cloudpal_cli::remote::logs::{self, Cut};
use cloudpal_cli::remote::mirror::{Mirror, Target};
use cloudpal_cli::terminal::Progress;
use cloudpal_drive::folder::LocalFolder;
use cloudpal_drive::mirror::{self, Mirrored, Run, Surplus};
use cloudpal_shelf::Kind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// The blocks of one log, and how large requests were.
#[derive(Clone, Default)]
struct Pal(Arc<Mutex<(Vec<Vec<u8>>, usize)>>);

type Pairs = Query<HashMap<String, String>>;

async fn append(State(pal): State<Pal>, Query(pairs): Pairs, body: Bytes) -> Json<Value> {
    let (blocks, largest) = &mut *pal.0.lock().unwrap();
    *largest = (*largest).max(body.len());
    let first = blocks.len();
    match pairs.get("cut").map(String::as_str) {
        None => blocks.push(body.to_vec()),
        Some("lines") => {
            let lines = body.strip_suffix(b"\n").unwrap_or(&body);
            blocks.extend(lines.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
        }
        Some(size) => blocks.extend(body.chunks(size.parse().unwrap()).map(<[u8]>::to_vec)),
    }
    Json(json!({ "first": first, "count": blocks.len() - first, "length": blocks.len() }))
}

/// Two at a time.
async fn read(State(pal): State<Pal>, Query(pairs): Pairs) -> Json<Value> {
    let blocks = &pal.0.lock().unwrap().0;
    let number = |name: &str| pairs[name].parse::<usize>().unwrap();
    let (from, end) = (number("from"), number("to").min(blocks.len()));
    let next = end.min(from + 2);
    let some: Vec<_> = (from..next)
        .map(|at| json!({ "index": at, "block": String::from_utf8_lossy(&blocks[at]) }))
        .collect();
    Json(json!({ "blocks": some, "next": (next < end).then_some(next) }))
}

/// Keys a to e, two at a time.
async fn scan(Query(pairs): Pairs) -> Json<Value> {
    let after = pairs.get("gt").map_or("", String::as_str);
    assert!(after.is_empty() || pairs["version"] == "9", "later parts are of the same version");
    let limit = pairs.get("limit").map_or(2, |limit| limit.parse::<usize>().unwrap().min(2));
    let left: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().filter(|key| *key > after).collect();
    let entries: Vec<_> =
        left.iter().take(limit).map(|key| json!({ "seq": 1, "key": key, "value": "v" })).collect();
    Json(json!({ "version": 9, "more": left.len() > limit, "entries": entries }))
}

async fn store(Path(path): Path<String>, body: Bytes) -> (StatusCode, Json<Value>) {
    match path.as_str() {
        "full" => {
            let message = "cannot append to the log: the disk is full";
            (
                StatusCode::INSUFFICIENT_STORAGE,
                Json(json!({ "error": { "code": "full", "message": message } })),
            )
        }
        path => {
            (StatusCode::OK, Json(json!({ "path": format!("/{path}"), "bytes": body.len(), "version": 2 })))
        }
    }
}

async fn locked() -> (StatusCode, Json<Value>) {
    let message = "the data of this pal is locked; unlock it: cloudpal unlock";
    (StatusCode::LOCKED, Json(json!({ "error": { "code": "locked", "message": message } })))
}

/// The files of one drive, and how many digests were asked for.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<(Contents, usize)>>);

type Contents = BTreeMap<String, Vec<u8>>;

impl Files {
    fn router(&self) -> Router {
        Router::new()
            .route("/v1/drives/photos/list", get(listed))
            .route("/v1/drives/photos/digest/{*path}", get(digested))
            .route("/v1/drives/photos/files/{*path}", get(taken).put(given).delete(removed))
            .with_state(self.clone())
    }

    fn paths(&self) -> String {
        self.0.lock().unwrap().0.keys().cloned().collect::<Vec<_>>().join(" ")
    }
}

async fn listed(State(files): State<Files>) -> Json<Value> {
    let files = &files.0.lock().unwrap().0;
    let entries: Vec<_> = files
        .iter()
        .map(|(path, content)| json!({ "path": path, "bytes": content.len(), "executable": false, "link": null }))
        .collect();
    Json(json!({ "version": 7, "entries": entries, "more": false, "faulty": 0, "errors": [] }))
}

async fn digested(State(files): State<Files>, Path(path): Path<String>, Query(pairs): Pairs) -> Json<Value> {
    let (files, asked) = &mut *files.0.lock().unwrap();
    *asked += 1;
    let number = |name: &str| pairs[name].parse::<usize>().unwrap();
    let part = &files[&format!("/{path}")][number("from")..number("to")];
    Json(json!({ "sha256": hex::encode(Sha256::digest(part)) }))
}

async fn taken(State(files): State<Files>, Path(path): Path<String>) -> Vec<u8> {
    files.0.lock().unwrap().0[&format!("/{path}")].clone()
}

async fn given(State(files): State<Files>, Path(path): Path<String>, body: Bytes) -> Json<Value> {
    files.0.lock().unwrap().0.insert(format!("/{path}"), body.to_vec());
    Json(json!({ "path": format!("/{path}"), "bytes": body.len(), "version": 8 }))
}

async fn removed(State(files): State<Files>, Path(path): Path<String>, Query(pairs): Pairs) -> Json<Value> {
    assert_eq!(pairs["keep"], "true", "older versions keep it");
    files.0.lock().unwrap().0.remove(&format!("/{path}"));
    Json(json!({ "path": format!("/{path}"), "freed_blocks": 0, "version": 9 }))
}

fn start() -> (Pal, Remote) {
    let pal = Pal::default();
    let router = Router::new()
        .route("/v1/logs/diary/blocks", post(append).get(read))
        .route("/v1/bees/pantry/entries", get(scan))
        .route("/v1/drives/photos/files/{*path}", put(store))
        .route("/v1/logs/shut", get(locked))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(pal.clone());
    (pal, serve(router))
}

fn serve(router: Router) -> Remote {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    Remote::at(told.recv().unwrap())
}

#[test]
fn a_mirror_sends_and_takes_only_what_differs() {
    let (files, dir) = (Files::default(), tempfile::tempdir().unwrap());
    let remote = serve(files.router());
    std::fs::create_dir(dir.path().join("deep")).unwrap();
    for (path, content) in [("same", "equal"), ("changed", "after"), ("deep/new", "new")] {
        std::fs::write(dir.path().join(path), content).unwrap();
    }
    for (path, content) in [("/same", "equal"), ("/changed", "befor"), ("/surplus", "old")] {
        files.0.lock().unwrap().0.insert(path.into(), content.into());
    }
    let side = |target| {
        Mirror::new(&remote, "photos", None, LocalFolder::open(dir.path()).unwrap(), target).unwrap()
    };
    let mut on = |_: mirror::Progress<'_>| ControlFlow::Continue(());
    let count = |done: Mirrored| [done.added, done.changed, done.removed, done.equal];

    let mut to_drive = side(Target::Drive);
    assert_eq!(count(to_drive.run(Surplus::Delete, Run::Dry, &mut on).unwrap()), [1, 1, 1, 1]);
    assert_eq!(files.paths(), "/changed /same /surplus", "a plan changes nothing");
    assert_eq!(count(to_drive.run(Surplus::Delete, Run::Real, &mut on).unwrap()), [1, 1, 1, 1]);
    assert_eq!(files.paths(), "/changed /deep/new /same");
    assert_eq!(files.0.lock().unwrap().1, 2, "each digest is asked for once");
    assert_eq!(to_drive.version(), 8);

    std::fs::write(dir.path().join("deep/local"), "only here").unwrap();
    files.0.lock().unwrap().0.insert("/deep/new".into(), "newer".into());
    files.0.lock().unwrap().0.insert("/far".into(), vec![7; 200_000]);
    let kept = side(Target::Folder).run(Surplus::Keep, Run::Real, &mut on).unwrap();
    assert_eq!(count(kept), [1, 1, 0, 2]);
    assert_eq!(std::fs::read(dir.path().join("far")).unwrap(), vec![7; 200_000]);
    assert_eq!(std::fs::read_to_string(dir.path().join("deep/new")).unwrap(), "newer");
    let equal = side(Target::Folder).run(Surplus::Delete, Run::Real, &mut on).unwrap();
    assert_eq!(count(equal), [0, 0, 1, 4]);
    assert!(!dir.path().join("deep/local").exists());
}

struct Quiet;

impl Progress for Quiet {
    fn step(&self, _: &str) {}
}

fn appended(input: &[u8], cut: Cut) -> (Vec<Vec<u8>>, Result<Value, Failure>) {
    let (pal, remote) = start();
    let mut input = input;
    let report = logs::append(&remote, &Quiet, "diary", &mut input, cut);
    let (blocks, largest) = pal.0.lock().unwrap().clone();
    assert!(largest <= 2 << 20, "one request had {largest} bytes");
    (blocks, report.map(|report| report.json))
}

#[test]
fn what_is_long_is_appended_in_parts_and_cut_as_if_it_were_whole() {
    let text: String = (0..600_000).map(|number| format!("line {number}\n")).collect();
    let (blocks, report) = appended(text.as_bytes(), Cut::Lines);
    assert_eq!((blocks.len(), &blocks[599_999][..]), (600_000, &b"line 599999"[..]));
    assert_eq!(report.unwrap(), json!({ "first": 0, "count": 600_000, "length": 600_000 }));
    let (blocks, _) = appended(text.as_bytes(), Cut::Bytes(65_537));
    assert!(
        blocks.iter().rev().skip(1).all(|block| block.len() == 65_537) && blocks.concat() == text.as_bytes()
    );
    let (blocks, _) = appended(b"", Cut::Whole);
    assert_eq!(blocks, [b""]);
    let (blocks, report) = appended(b"", Cut::Lines);
    assert_eq!((blocks.len(), report.unwrap()["count"].as_u64()), (0, Some(0)));
    let (blocks, report) = appended(&vec![0; (2 << 20) + 1], Cut::Whole);
    assert_eq!((blocks.len(), report.unwrap_err().exit()), (0, Exit::Usage));
}

#[test]
fn what_is_long_is_read_in_parts() {
    let (_, remote) = start();
    logs::append(&remote, &Quiet, "diary", &mut &b"one\ntwo\nthree\nfour\nfive\n"[..], Cut::Lines).unwrap();
    let mut read = Vec::new();
    logs::read(&remote, "diary", 1..u64::MAX, &mut |index, block| {
        read.push((index, String::from_utf8(block).unwrap()));
        Ok(())
    })
    .unwrap();
    assert_eq!(read, [(1, "two".into()), (2, "three".into()), (3, "four".into()), (4, "five".into())]);
    let keys = |limit| {
        let (report, failure) = bees::scan(&remote, "pantry", &Scan { limit, ..Scan::default() }).unwrap();
        assert!(failure.is_none());
        report.text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!((keys(None), keys(Some(3))), ("abcde".into(), "abc".into()));
}

#[test]
fn a_file_is_sent_whole_and_a_full_disk_is_told() {
    let (_, remote) = start();
    let content = vec![7; 3_000_000];
    let put = drives::put(&remote, "photos", "/2026/a b.jpg", &mut &content[..], Mode::Plain).unwrap();
    assert_eq!((&put.json["path"], &put.json["bytes"]), (&json!("/2026/a b.jpg"), &json!(3_000_000)));
    let full = drives::put(&remote, "photos", "full", &mut io::empty(), Mode::Plain).unwrap_err();
    assert_eq!(full.exit(), Exit::Failed);
    assert!(full.to_string().contains("the disk is full"), "{full}");
}

#[test]
fn locked_data_says_how_to_unlock() {
    let (_, remote) = start();
    let locked = logs::info(&remote, Kind::Log, "shut").unwrap_err();
    assert_eq!(locked.exit(), Exit::Refused);
    assert!(locked.to_string().contains("cloudpal unlock"), "{locked}");
    let nobody = Remote::at("127.0.0.1:1".parse().unwrap());
    assert_eq!(logs::info(&nobody, Kind::Log, "x").unwrap_err().exit(), Exit::Unreachable);
}
