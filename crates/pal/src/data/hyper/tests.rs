//! The interface as a program on one of the owner's devices meets it, over real HTTP on the loopback.

mod databases;
mod program;

use super::*;
use crate::data::guard::Guard;
use crate::data::web::watch;
use axum::middleware::from_fn_with_state;
use cloudpal_drive::{BlobLog, Drive, DrivePath, Logs};
use cloudpal_log::{Feed, FeedError, Manifest};
use cloudpal_store::{Access, LogOptions, Options, Session, Store, StoreKey, Which};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A pal's data interface on a thread of its own.
struct Stage {
    address: SocketAddr,
    vault: Arc<Vault>,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::with_store(&dir.path().join("store")));
        Self::around(vault, dir)
    }

    fn locked() -> Self {
        Self::around(Arc::new(Vault::new(mpsc::channel(1).0)), tempfile::tempdir().unwrap())
    }

    fn around(vault: Arc<Vault>, dir: tempfile::TempDir) -> Self {
        let hyper = Hyper::new(vault.clone(), [IpAddr::from([100, 64, 0, 1]), IpAddr::from([0; 16])]);
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let address = listener.local_addr().unwrap();
                tell.send(address).unwrap();
                let guarded = from_fn_with_state(Arc::new(Guard::at(address)), watch);
                let router = router(&hyper).layer(guarded).with_state(hyper);
                axum::serve(listener, router).await.unwrap();
            });
        });
        Stage { address: told.recv().unwrap(), vault, _dir: dir }
    }

    fn shelf(&self) -> Arc<Shelf> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(self.vault.shelf()).unwrap()
    }

    fn bytes(&self, method: &str, path: &str, body: &[u8], range: Option<&str>) -> (u16, Vec<u8>) {
        let headers: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
        self.ask(method, path, body, &headers)
    }

    fn ask(&self, method: &str, path: &str, body: &[u8], headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = agent.run(request.body(body).unwrap()).unwrap();
        let status = answer.status().as_u16();
        (status, answer.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap())
    }

    fn json(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
        let (status, bytes) = self.bytes(method, path, body.as_ref(), None);
        let answer = serde_json::from_slice(&bytes);
        (
            status,
            answer
                .unwrap_or_else(|_| panic!("{method} {path}: {status} {}", String::from_utf8_lossy(&bytes))),
        )
    }

    fn done(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Value {
        let (status, answer) = self.json(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    fn refused(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> (u16, String) {
        let (status, answer) = self.json(method, path, body);
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_log_keeps_what_is_appended() {
    let stage = Stage::set();
    assert_eq!(stage.refused("GET", "/v1/logs/diary", ""), code(404, "not_found"));
    let made = stage.done("POST", "/v1/logs", r#"{"name":"diary"}"#);
    assert_eq!((made["length"].as_u64(), made["writable"].as_bool()), (Some(0), Some(true)));
    let again = stage.json("POST", "/v1/logs", r#"{"name":"diary"}"#);
    assert_eq!((again.0, &again.1["key"]), (200, &made["key"]));
    assert_eq!(stage.refused("POST", "/v1/logs", r#"{"name":"diary","encrypt":true}"#), code(409, "exists"));

    let first = stage.done("POST", "/v1/logs/diary/blocks?cut=lines", "one\ntwo\nthree\n");
    assert_eq!((first["first"].as_u64(), first["length"].as_u64()), (Some(0), Some(3)));
    assert_eq!(stage.done("POST", "/v1/logs/diary/blocks", [0, 159, 255])["first"], 3);
    assert_eq!(stage.bytes("GET", "/v1/logs/diary/blocks/3", b"", None), (200, vec![0, 159, 255]));
    let key = made["key"].as_str().unwrap();
    assert_eq!(stage.bytes("GET", &format!("/v1/logs/{key}/blocks/1"), b"", None).1, b"two");
    let read = stage.done("GET", "/v1/logs/diary/blocks?from=2", "");
    assert_eq!(
        (&read["blocks"][0]["block"], &read["blocks"][1]["block_base64"]),
        (&json!("three"), &json!("AJ//"))
    );
    assert_eq!(read["next"], Value::Null);
    assert_eq!(stage.refused("GET", "/v1/logs/diary/blocks/4", ""), code(404, "not_found"));

    assert_eq!(stage.done("POST", "/v1/logs/diary/truncate", r#"{"length":2}"#)["fork"], 1);
    assert_eq!(stage.refused("POST", "/v1/logs/diary/truncate", r#"{"length":3}"#), code(400, "usage"));
    let cleared = stage.done("POST", "/v1/logs/diary/clear", r#"{"from":0,"to":1}"#);
    assert_eq!((cleared["held"].as_u64(), cleared["length"].as_u64()), (Some(1), Some(2)));
    assert_eq!(stage.refused("GET", "/v1/logs/diary/blocks/0?wait_ms=50", ""), code(504, "unavailable"));
    let checked = stage.done("POST", "/v1/logs/diary/verify", "");
    assert_eq!(
        (&checked["ok"], &checked["checked"], &checked["absent"]),
        (&json!(true), &json!(1), &json!(1))
    );
    let list = stage.done("GET", "/v1/logs", "");
    assert_eq!((list["logs"].as_array().unwrap().len(), &list["logs"][0]["name"]), (1, &json!("diary")));
}

#[test]
fn an_encrypted_log_tells_its_key_once() {
    let stage = Stage::set();
    let made = stage.done("POST", "/v1/logs", r#"{"name":"secret","encrypt":true}"#);
    assert_eq!(made["encryption_key"].as_str().unwrap().len(), 64);
    stage.done("POST", "/v1/logs/secret/blocks", "plain");
    assert_eq!(stage.bytes("GET", "/v1/logs/secret/blocks/0", b"", None).1, b"plain");
    assert!(stage.done("GET", "/v1/logs/secret", "").get("encryption_key").is_none());
    let raw = stage
        .shelf()
        .things
        .log(&stage.shelf().things.find(Kind::Log, "secret").unwrap())
        .unwrap()
        .get_raw(0);
    assert_ne!(&raw.unwrap().unwrap()[8..], b"plain");
    assert_eq!(
        stage.refused("POST", "/v1/logs", r#"{"name":"no","encrypt":true,"compat":true}"#),
        code(400, "usage")
    );
}

#[test]
fn a_map_is_sorted_and_remembers() {
    let stage = Stage::set();
    stage.done("POST", "/v1/bees", r#"{"name":"pantry"}"#);
    for (key, value) in [("rice", "1 bag"), ("beans", "3 tins"), ("soup%2Fred", "2"), ("beans", "4 tins")] {
        stage.done("PUT", &format!("/v1/bees/pantry/entries/{key}"), value);
    }
    assert_eq!(stage.done("GET", "/v1/bees/pantry/entries/beans", "")["value"], "4 tins");
    assert_eq!(stage.bytes("GET", "/v1/bees/pantry/entries/soup/red?raw=true", b"", None).1, b"2");
    assert_eq!(stage.done("GET", "/v1/bees/pantry/entries/beans?version=3", "")["value"], "3 tins");
    let keys = |query: &str| {
        let scanned = stage.done("GET", &format!("/v1/bees/pantry/entries?{query}"), "");
        let keys: Vec<_> = scanned["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["key"].as_str().unwrap().to_owned())
            .collect();
        (keys.join(" "), scanned["more"].as_bool().unwrap())
    };
    assert_eq!(keys(""), ("beans rice soup/red".into(), false));
    assert_eq!(keys("gt=beans&lte=rice"), ("rice".into(), false));
    assert_eq!(keys("reverse=true&limit=2"), ("soup/red rice".into(), true));
    assert_eq!(keys("prefix=soup"), ("soup/red".into(), false));

    let seq = stage.done("GET", "/v1/bees/pantry/entries/rice", "")["seq"].as_u64().unwrap();
    assert_eq!(stage.refused("PUT", "/v1/bees/pantry/entries/rice?if_seq=0", "x"), code(409, "exists"));
    stage.done("PUT", &format!("/v1/bees/pantry/entries/rice?if_seq={seq}"), "2 bags");
    assert_eq!(stage.done("DELETE", "/v1/bees/pantry/entries/rice", "")["deleted"], true);
    assert_eq!(stage.done("DELETE", "/v1/bees/pantry/entries/rice", "")["deleted"], false);
    assert_eq!(stage.refused("GET", "/v1/bees/pantry/entries/rice", ""), code(404, "not_found"));
    let past = stage.done("GET", "/v1/bees/pantry/history?reverse=true&limit=1", "");
    assert_eq!((&past["operations"][0]["action"], &past["more"]), (&json!("delete"), &json!(true)));
    assert_eq!(stage.refused("GET", "/v1/bees/pantry/entries/rice?version=99", ""), code(404, "not_found"));
    let large = vec![0; (1 << 20) + 1];
    assert_eq!(stage.refused("PUT", "/v1/bees/pantry/entries/big", large), code(413, "too_large"));
}

#[test]
fn a_drive_streams_files_and_parts_of_them() {
    let stage = Stage::set();
    stage.done("POST", "/v1/drives", r#"{"name":"photos"}"#);
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let put = stage.done("PUT", "/v1/drives/photos/files/2026/sea.jpg", &content);
    assert_eq!(put["bytes"].as_u64(), Some(content.len() as u64));
    stage.done("PUT", "/v1/drives/photos/files/run.sh?executable=true", "#!/bin/sh");
    stage.done("PUT", "/v1/drives/photos/files/newest?link=/2026/sea.jpg", "");
    let file = "/v1/drives/photos/files/2026/sea.jpg";
    assert_eq!(stage.bytes("GET", file, b"", None), (200, content.clone()));
    assert_eq!(
        stage.bytes("GET", file, b"", Some("bytes=65530-65599")),
        (206, content[65530..65600].to_vec())
    );
    assert_eq!(stage.bytes("GET", file, b"", Some("bytes=-9")).1, content[content.len() - 9..]);
    assert_eq!(stage.bytes("GET", file, b"", Some("bytes=9999999-")).0, 416);
    assert_eq!(stage.bytes("GET", "/v1/drives/photos/files/newest", b"", None).1, content);

    let ls = stage.done("GET", "/v1/drives/photos/list", "");
    let names: Vec<_> = ls["entries"].as_array().unwrap().iter().map(|one| one.to_string()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(
        (&ls["entries"][0]["folder"], &ls["entries"][1]["link"]),
        (&json!("/2026"), &json!("/2026/sea.jpg"))
    );
    assert_eq!(ls["entries"][2]["executable"], true);
    let all = stage.done("GET", "/v1/drives/photos/list?recursive=true&after=/2026/sea.jpg", "");
    assert_eq!(all["entries"].as_array().unwrap().len(), 2);

    let removed = stage.done("DELETE", file, "");
    assert!(removed["freed_blocks"].as_u64().unwrap() >= 18, "{removed}");
    assert_eq!(stage.refused("GET", file, ""), code(404, "not_found"));
    assert_eq!(stage.refused("DELETE", file, ""), code(404, "not_found"));
    assert_eq!(stage.refused("PUT", "/v1/drives/photos/files/..", "x").1, "usage");
}

#[test]
fn a_faulty_entry_does_not_end_a_list() {
    let stage = Stage::set();
    stage.done("POST", "/v1/drives", r#"{"name":"photos"}"#);
    stage.done("PUT", "/v1/drives/photos/files/zebra", "stripes");
    let map = stage.shelf().things.log(&stage.shelf().things.find(Kind::Drive, "photos").unwrap()).unwrap();
    let files = cloudpal_bee::Bee::new(Arc::new(map), cloudpal_bee::Options::default()).sub("files");
    files.put("/broken", [255]).unwrap();
    let list = stage.done("GET", "/v1/drives/photos/list", "");
    assert_eq!((&list["entries"][0]["path"], &list["faulty"]), (&json!("/zebra"), &json!(1)));
    assert!(list["errors"][0].as_str().unwrap().contains("`/broken`"), "{list}");
}

#[test]
fn what_is_used_wrongly_is_refused_in_json() {
    let stage = Stage::set();
    for bad in ["{}", "nonsense", r#"{"name":""}"#, r#"{"name":"a/b"}"#, r#"{"name":"a","colour":1}"#] {
        assert_eq!(stage.refused("POST", "/v1/logs", bad), code(400, "usage"), "{bad}");
    }
    let key = "ab".repeat(32);
    assert_eq!(stage.refused("POST", "/v1/logs", format!(r#"{{"name":"{key}"}}"#)), code(400, "usage"));
    assert_eq!(stage.refused("POST", "/v1/logs", r#"{"name":"x","key":"ab"}"#), code(400, "usage"));
    assert_eq!(stage.refused("GET", "/v1/nothing", ""), code(404, "not_found"));
    // A map's log is not to be written past the map.
    let bee = stage.done("POST", "/v1/bees", r#"{"name":"map"}"#);
    let path = format!("/v1/logs/{}/blocks", bee["key"].as_str().unwrap());
    assert_eq!(stage.refused("POST", &path, "x"), code(404, "not_found"));
}

#[test]
fn a_locked_pal_says_how_to_unlock() {
    let stage = Stage::locked();
    let (status, answer) = stage.json("GET", "/v1/logs", "");
    assert_eq!((status, &answer["error"]["code"]), (423, &json!("locked")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("cloudpal unlock"));
    let stage = Stage::set();
    stage.done("POST", "/v1/logs", r#"{"name":"diary"}"#);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(stage.vault.close_store());
    assert_eq!(stage.json("GET", "/v1/logs", "").0, 423);
}

#[test]
fn everything_is_there_after_the_store_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let key = {
        let stage = Stage::around(Arc::new(Vault::with_store(&store)), tempfile::tempdir().unwrap());
        let made = stage.done("POST", "/v1/logs", r#"{"name":"diary","encrypt":true}"#);
        stage.done("POST", "/v1/logs/diary/blocks", "kept");
        stage.done("POST", "/v1/drives", r#"{"name":"photos"}"#);
        stage.done("PUT", "/v1/drives/photos/files/a", "file");
        stage.shelf().close().unwrap();
        made["key"].as_str().unwrap().to_owned()
    };
    let stage = Stage::around(Arc::new(Vault::with_store(&store)), tempfile::tempdir().unwrap());
    assert_eq!(stage.bytes("GET", &format!("/v1/logs/{key}/blocks/0"), b"", None), (200, b"kept".to_vec()));
    assert_eq!(stage.bytes("GET", "/v1/drives/photos/files/a", b"", None), (200, b"file".to_vec()));
    let about = stage.done("GET", "/v1", "");
    assert_eq!(about["drives"], 1);
    assert!(about["resident_bytes"].as_u64().unwrap() > 1 << 20, "{about}");
}

/// Another device's store, joined to the pal's by a connection.
fn device(stage: &Stage) -> (Store, cloudpal_store::Connection, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreKey::new([9; 32]), Options::default()).unwrap();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let (address, shelf) = (listener.local_addr().unwrap(), stage.shelf());
    let pal = std::thread::spawn(move || shelf.welcome(listener.accept().unwrap().0));
    let connection = store.connect(address, &Access::Anyone).unwrap();
    pal.join().unwrap().unwrap();
    (store, connection, dir)
}

#[test]
fn a_device_replicates_a_log_of_the_pal() {
    let stage = Stage::set();
    let made = stage.done("POST", "/v1/logs", r#"{"name":"diary"}"#);
    stage.done("POST", "/v1/logs/diary/blocks?cut=lines", "one\ntwo");
    let (store, _connection, _dir) = device(&stage);
    let copy = store.get(made["key"].as_str().unwrap().parse::<cloudpal_shelf::Key>().unwrap().0).unwrap();
    let _live = copy.fetch(0..u64::MAX).unwrap();
    copy.wait_change((0, 0), Duration::from_secs(20));
    assert_eq!(copy.get(1).unwrap(), "two");
    let seen = (copy.fork(), copy.length());
    stage.done("POST", "/v1/logs/diary/blocks", "three");
    copy.wait_change(seen, Duration::from_secs(20));
    assert_eq!(copy.get(2).unwrap(), "three");
}

#[test]
fn the_pal_fetches_from_a_peer_elsewhere() {
    let (stage, dir) = (Stage::set(), tempfile::tempdir().unwrap());
    let store = Store::open(dir.path(), &StoreKey::new([9; 32]), Options::default()).unwrap();
    let log = store.log("diary").unwrap();
    log.append(&["one".into(), "two".into()]).unwrap();
    let server = store.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let key = hex::encode(log.key());
    stage.done("POST", "/v1/logs", format!(r#"{{"name":"copy","key":"{key}"}}"#));
    let none = stage.done("GET", "/v1/logs/copy?wait_ms=0", "");
    assert_eq!((&none["current"], &none["length"]), (&json!(false), &json!(0)));

    let dial = format!(r#"{{"address":"{}"}}"#, server.address());
    let peer = stage.json("POST", "/v1/peers", &dial);
    assert_eq!((peer.0, &peer.1["dialled"]), (201, &json!(true)));
    assert_eq!(stage.json("POST", "/v1/peers", &dial).0, 200, "not dialled twice");
    assert_eq!(stage.done("GET", "/v1/logs/copy?wait_ms=20000", "")["current"], true);
    assert_eq!(stage.bytes("GET", "/v1/logs/copy/blocks/1?wait_ms=20000", b"", None), (200, b"two".to_vec()));
    assert_eq!(stage.done("GET", "/v1/peers", "")["peers"].as_array().unwrap().len(), 1);

    let address = format!("/v1/peers/{}", server.address());
    stage.done("DELETE", &address, "");
    assert_eq!(stage.refused("DELETE", &address, ""), code(404, "not_found"));
    drop(server);
    assert_eq!(stage.refused("POST", "/v1/peers", r#"{"address":"127.0.0.1:1"}"#), code(502, "unreachable"));
    assert_eq!(stage.refused("POST", "/v1/peers", r#"{"address":"example.org:1"}"#), code(400, "usage"));
}

#[test]
fn a_file_is_compared_by_its_digest() {
    let stage = Stage::set();
    stage.done("POST", "/v1/drives", r#"{"name":"photos"}"#);
    stage.done("PUT", "/v1/drives/photos/files/a", "abc");
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let all = stage.done("GET", "/v1/drives/photos/digest/a", "");
    assert_eq!((&all["sha256"], &all["bytes"], &all["to"]), (&json!(abc), &json!(3), &json!(3)));
    stage.done("PUT", "/v1/drives/photos/files/b", "xabcx");
    let part = stage.done("GET", "/v1/drives/photos/digest/b?from=1&to=4", "");
    assert_eq!((&part["sha256"], &part["bytes"]), (&json!(abc), &json!(5)));
    stage.done("PUT", "/v1/drives/photos/files/link?link=/a", "");
    for none in ["link", "nothing"] {
        let path = format!("/v1/drives/photos/digest/{none}");
        assert_eq!(stage.refused("GET", &path, ""), code(404, "not_found"));
    }
}

struct DeviceLogs(Store, Session);

impl Logs for DeviceLogs {
    fn manifest(&self) -> Option<Manifest> {
        self.1.info().manifest
    }

    fn blobs(&self, which: BlobLog) -> Result<Arc<dyn Feed>, FeedError> {
        let BlobLog::Manifest(manifest) = which else { panic!("{which:?}") };
        let key_pair = Some(self.0.key_pair(&cloudpal_store::Namespace::ROOT, "db"));
        let which = Which::Manifest { manifest, key_pair };
        Ok(Arc::new(self.0.open_log(which, LogOptions::default()).unwrap()))
    }
}

#[test]
fn the_pal_keeps_a_copy_of_a_devices_drive() {
    let stage = Stage::set();
    let (store, connection, _dir) = device(&stage);
    let map = store.log("db").unwrap();
    let logs = DeviceLogs(store.clone(), map.clone());
    let drive = Drive::open(Arc::new(map), logs, cloudpal_drive::Options::default()).unwrap();
    drive.put(&DrivePath::new("/note").unwrap(), "from the laptop", Default::default()).unwrap();
    let key = hex::encode(drive.key());
    let made = stage.done("POST", "/v1/drives", format!(r#"{{"name":"laptop","key":"{key}"}}"#));
    assert_eq!((&made["copy"], &made["writable"]), (&json!(true), &json!(false)));
    // The first blocks tell which log holds the contents.
    let mut read = (0, Vec::new());
    for _ in 0..100 {
        read = stage.bytes("GET", "/v1/drives/laptop/files/note", b"", None);
        if read.0 == 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(read, (200, b"from the laptop".to_vec()), "{}", String::from_utf8_lossy(&read.1));
    connection.close();
    assert_eq!(stage.bytes("GET", "/v1/drives/laptop/files/note", b"", None).0, 200, "held here");
    assert_eq!(stage.refused("PUT", "/v1/drives/laptop/files/x", "x"), code(403, "not_writable"));
}
