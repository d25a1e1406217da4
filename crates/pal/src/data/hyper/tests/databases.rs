//! Databases of a pal: as its owner uses them, as holders of tokens do, and as devices replicate with it.

use super::*;
use axum::http::header;
use cloudpal_base::{Batch, Database, Durability, Request, Rights, Role, Standing, Sub};
use cloudpal_log::codec::{Reader, Write};
use futures::{SinkExt, StreamExt};
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const HOME: &str = "/v1/databases/home";
const NOTES: &str = "sub=notes&kind=json";

fn with_home() -> Stage {
    let stage = Stage::set();
    stage.done("POST", "/v1/databases", r#"{"name":"home"}"#);
    stage
}

impl Stage {
    fn token(&self, wish: &str) -> String {
        let made = self.done("POST", &format!("{HOME}/tokens"), wish);
        made["token"].as_str().unwrap().to_owned()
    }

    /// The status, asked with a token.
    fn status(&self, method: &str, path: &str, token: &str, more: &[(&str, &str)]) -> u16 {
        let bearer = format!("Bearer {token}");
        let headers = [&[("authorization", bearer.as_str())], more].concat();
        self.ask(method, &format!("{HOME}{path}"), b"1", &headers).0
    }
}

#[test]
fn the_owner_needs_no_token() {
    let stage = Stage::set();
    assert_eq!(stage.refused("GET", &format!("{HOME}/entries/tea"), ""), code(404, "not_found"));
    let made = stage.json("POST", "/v1/databases", r#"{"name":"home"}"#);
    assert_eq!((made.0, &made.1["created"]), (201, &json!(true)));
    let again = stage.json("POST", "/v1/databases", r#"{"name":"home"}"#);
    assert_eq!((again.0, &again.1["key"]), (200, &made.1["key"]));
    let other = json!({ "name": "home", "key": "ab".repeat(32) }).to_string();
    assert_eq!(stage.refused("POST", "/v1/databases", other), code(409, "exists"));
    assert_eq!(stage.done("GET", "/v1/databases", "")["databases"], json!(["home"]));
    assert_eq!(stage.done("GET", "/v1", "")["databases"], 1);

    assert_eq!(stage.bytes("PUT", &format!("{HOME}/entries/tea"), b"green", None).0, 204);
    let batch = json!({ "operations": [
        { "type": "expect", "key": "tea", "value": "green" },
        { "type": "put", "key": "tea", "value": "black" },
        { "type": "put", "sub": "notes", "kind": "json", "key": "a", "value": "{\"n\":1}" },
    ] });
    let written = stage.done("POST", &format!("{HOME}/batch"), batch.to_string());
    let name = written["batch"].as_str().unwrap();
    assert_eq!(stage.refused("POST", &format!("{HOME}/batch"), batch.to_string()), code(409, "condition"));
    assert_eq!(stage.bytes("GET", &format!("{HOME}/entries/tea"), b"", None), (200, b"black".to_vec()));
    let scanned = stage.done("GET", &format!("{HOME}/entries?{NOTES}"), "");
    assert_eq!(scanned["entries"], json!([{ "key": "a", "value": "{\"n\":1}" }]));

    let past = stage.done("GET", &format!("{HOME}/history/tea"), "");
    let edits: Vec<_> =
        past["batches"].as_array().unwrap().iter().map(|one| &one["edits"][0]["value"]).collect();
    assert_eq!(edits, ["green", "black"]);
    let undone = stage.done("POST", &format!("{HOME}/undo"), json!({ "batch": name }).to_string());
    assert_eq!((undone["restored"].as_array().unwrap().len(), undone["left"].clone()), (2, json!([])));
    assert_eq!(stage.bytes("GET", &format!("{HOME}/entries/tea"), b"", None).1, b"green");
    let before = format!("{HOME}/past/tea?at_ms={}", written["time_ms"].as_u64().unwrap() - 1);
    assert_ne!(stage.bytes("GET", &before, b"", None).1, b"black");
    let info = stage.done("GET", &format!("{HOME}/info"), "");
    assert_eq!((&info["standing"], &info["conflicts"]), (&json!("member"), &json!(0)));
    assert_eq!(info["subs"][0], json!({ "sub": "", "kind": "register" }), "and none of the server's own");
}

#[test]
fn the_owner_is_told_of_a_batch_when_it_comes() {
    let stage = with_home();
    let now = stage.done("GET", &format!("{HOME}/batches?after=now"), "")["cursor"].clone();
    let path = format!("{HOME}/batches?after={}&wait_ms=60000", now.as_str().unwrap());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| stage.done("GET", &path, ""));
        stage.bytes("PUT", &format!("{HOME}/entries/late"), b"at last", None);
        let told = waiting.join().unwrap();
        assert_eq!(told["batches"][0]["edits"][0]["value"], "at last", "{told}");
        assert_eq!(told["cursor"], told["batches"][0]["cursor"]);
    });
    assert_eq!(stage.refused("GET", &format!("{HOME}/batches?after=x"), ""), code(400, "usage"));
}

#[test]
fn a_token_opens_what_it_says_and_nothing_of_the_owners() {
    let stage = with_home();
    let token = stage.token(r#"{"label":"app","read":["shared"],"write":["notes"]}"#);
    let foreign = [("origin", "http://app.example")];
    for more in [&[][..], &foreign] {
        assert_eq!(stage.status("PUT", &format!("/entries/a?{NOTES}"), &token, more), 204);
        assert_eq!(stage.status("GET", &format!("/entries/a?{NOTES}"), &token, more), 200);
        assert_eq!(stage.status("GET", "/entries/a?sub=shared", &token, more), 404);
        assert_eq!(stage.status("PUT", "/entries/a?sub=shared", &token, more), 403);
        assert_eq!(stage.status("GET", "/entries/a", &token, more), 403);
        assert_eq!(stage.status("GET", "/entries/a?sub=cloudpal/applied", &token, more), 403);
    }
    let asked = |method: &str, path: &str| stage.ask(method, path, b"{}", &foreign).0;
    assert_eq!(asked("GET", &format!("{HOME}/entries/a?{NOTES}")), 401, "another site is not the owner");
    assert_eq!(asked("OPTIONS", &format!("{HOME}/batch")), 204, "it may ask whether it may ask");
    for (method, path) in [
        ("GET", "/info"),
        ("GET", "/subs"),
        ("GET", "/sync"),
        ("GET", "/batches"),
        ("GET", "/history/a"),
        ("GET", "/past/a"),
        ("POST", "/undo"),
        ("POST", "/admit"),
        ("POST", "/remove"),
        ("POST", "/renew"),
        ("POST", "/values"),
        ("POST", "/index"),
        ("POST", "/find"),
        ("POST", "/checkpoint"),
        ("POST", "/forget"),
        ("GET", "/tokens"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/00"),
    ] {
        assert_eq!(asked(method, &format!("{HOME}{path}")), 403, "{method} {path}");
        assert_eq!(stage.status(method, path, &token, &foreign), 403, "{method} {path}");
    }
    assert_eq!(asked("POST", "/v1/databases"), 403);
    assert_eq!(asked("GET", "/v1/databases"), 403);
    let rebound = stage.ask("GET", HOME, b"", &[("host", "evil.example")]);
    assert_eq!(rebound.0, 421);

    let known = stage.done("GET", &format!("{HOME}/tokens"), "");
    assert_eq!(known["tokens"][0]["label"], "app");
    assert!(!known.to_string().contains("hash"), "{known}");
    let id = known["tokens"][0]["id"].as_str().unwrap();
    stage.done("DELETE", &format!("{HOME}/tokens/{id}"), "");
    assert_eq!(stage.status("GET", &format!("/entries/a?{NOTES}"), &token, &[]), 401);
    assert_eq!(stage.refused("DELETE", &format!("{HOME}/tokens/{id}"), ""), code(404, "not_found"));
    assert_eq!(
        stage.refused("POST", &format!("{HOME}/tokens"), r#"{"label":"nothing"}"#),
        code(400, "usage")
    );
}

#[test]
fn what_is_too_large_is_refused() {
    let stage = with_home();
    let large = vec![0; (16 << 20) + 1];
    assert_eq!(stage.refused("PUT", &format!("{HOME}/entries/a"), large), code(413, "too_large"));
    let key = "k".repeat((16 << 10) + 1);
    let batch = json!({ "operations": [{ "type": "put", "key": key, "value": "1" }] });
    assert_eq!(stage.refused("POST", &format!("{HOME}/batch"), batch.to_string()), code(413, "too_large"));
    for number in 1..16 {
        stage.done("POST", "/v1/databases", json!({ "name": format!("b{number}") }).to_string());
    }
    assert_eq!(stage.refused("POST", "/v1/databases", r#"{"name":"one more"}"#), code(413, "too_large"));
    assert_eq!(stage.json("POST", "/v1/databases", r#"{"name":"home"}"#).0, 200, "it is there already");
}

/// A WebSocket spoken to byte by byte.
struct Line {
    runtime: Runtime,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Line {
    fn open(stage: &Stage, origin: Option<&str>) -> Line {
        let runtime = Runtime::new().unwrap();
        let url = format!("ws://{}{HOME}/socket", stage.address);
        let mut request = url.into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        }
        let (socket, _) = runtime.block_on(connect_async(request)).unwrap();
        Line { runtime, socket }
    }

    /// Opens one, and says hello; the answer, unless it is refused.
    fn hello(stage: &Stage, token: &str, origin: Option<&str>) -> Result<Line, u64> {
        let mut line = Line::open(stage, origin);
        let mut hello = vec![1, 1, 1, 1];
        hello.string(token);
        match line.ask(hello) {
            (0, 1, _) => Ok(line),
            (1, _, rest) => Err(Reader::new(&rest).uint().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, frame: Vec<u8>) {
        let mut message = Vec::new();
        Write::buffer(&mut message, &frame);
        self.runtime.block_on(self.socket.send(Message::Binary(message.into()))).unwrap();
    }

    /// The next frame: its kind, its number, and the rest.
    fn hear(&mut self) -> (u8, u64, Vec<u8>) {
        loop {
            let message = self.runtime.block_on(self.socket.next()).unwrap().unwrap();
            let Message::Binary(bytes) = message else { continue };
            let mut message = Reader::new(&bytes);
            let mut frame = Reader::new(message.buffer("a frame").unwrap());
            return (frame.byte().unwrap(), frame.uint().unwrap(), frame.rest().to_vec());
        }
    }

    fn ask(&mut self, frame: Vec<u8>) -> (u8, u64, Vec<u8>) {
        self.say(frame);
        self.hear()
    }
}

/// Subscribes to `notes` (json) from now on, as request 7.
fn subscribe() -> Vec<u8> {
    let mut frame = vec![9, 7, 0, 1, 1];
    frame.string("notes");
    frame.uint(10);
    frame
}

const UNAUTHORIZED: u64 = 3;
const FORBIDDEN: u64 = 4;
const TOO_MANY: u64 = 6;

#[test]
fn a_socket_is_open_to_the_owner_and_to_tokens() {
    let stage = with_home();
    let (reads, other) = (
        stage.token(r#"{"label":"reader","read":["notes"]}"#),
        stage.token(r#"{"label":"other","write":["other"]}"#),
    );
    let site = Some("http://app.example");
    let mut lines = vec![Line::hello(&stage, "", None).unwrap(), Line::hello(&stage, &reads, site).unwrap()];
    for line in &mut lines {
        assert_eq!(line.ask(subscribe()).0, 0);
    }
    let mut refused = Line::hello(&stage, &other, None).unwrap().ask(subscribe());
    assert_eq!((refused.0, Reader::new(&refused.2).uint().unwrap()), (1, FORBIDDEN));
    stage.bytes("PUT", &format!("{HOME}/entries/tea?{NOTES}"), br#"{"n":1}"#, None);
    for line in &mut lines {
        refused = line.hear();
        assert_eq!((refused.0, refused.1), (2, 7));
        assert!(String::from_utf8_lossy(&refused.2).contains(r#"{"n":1}"#));
    }
    for (token, origin) in [("", site), ("cpdb_x", None), ("cpdb_x", site)] {
        assert_eq!(Line::hello(&stage, token, origin).err(), Some(UNAUTHORIZED), "{token:?} {origin:?}");
    }
    let mut more = Vec::new();
    let full = loop {
        match Line::hello(&stage, "", None) {
            Ok(line) => more.push(line),
            Err(code) => break code,
        }
    };
    assert_eq!((full, more.len() + lines.len()), (TOO_MANY, 64));
}

#[test]
fn a_locked_pal_offers_no_database() {
    let stage = Stage::locked();
    for path in ["/v1/databases", "/v1/databases/home", "/v1/databases/home/entries/x"] {
        assert_eq!(stage.refused("GET", path, ""), code(423, "locked"), "{path}");
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} took too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_laptop_and_the_pal_come_to_show_the_same() {
    let stage = with_home();
    let made = stage.done("GET", HOME, "");
    let key: cloudpal_shelf::Key = made["key"].as_str().unwrap().parse().unwrap();
    let (store, _connection, _dir) = device(&stage);
    let laptop = Database::join(&store, "home", key.0).unwrap();
    let admission = json!({ "request": laptop.request().to_string(), "name": "laptop" }).to_string();
    assert_eq!(stage.done("POST", &format!("{HOME}/admit"), &admission)["role"], "writer");
    stage.bytes("PUT", &format!("{HOME}/entries/tea"), b"green", None);
    until("coming to the laptop", || laptop.snapshot().get(&Sub::root(), b"tea").unwrap().is_some());
    let mut batch = Batch::new();
    batch.put(&Sub::root(), "milk", "oat");
    laptop.write(batch, Durability::Relaxed).unwrap();
    until("coming to the pal", || {
        stage.bytes("GET", &format!("{HOME}/entries/milk"), b"", None) == (200, b"oat".to_vec())
    });
    until("both knowing it", || stage.done("GET", &format!("{HOME}/sync"), "")["missing"] == json!([]));

    let removed = stage.done("POST", &format!("{HOME}/remove"), r#"{"member":"laptop","reason":"sold"}"#);
    assert_eq!((&removed["role"], &removed["lost_blocks"]), (&json!("removed"), &json!(0)));
    until("the laptop hearing of it", || laptop.standing() == Standing::Removed);
    assert_eq!(
        stage.refused("POST", &format!("{HOME}/remove"), r#"{"member":"nobody"}"#),
        code(404, "not_found")
    );
}

#[test]
fn the_pal_joins_what_a_laptop_made_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let stage = Stage::around(Arc::new(Vault::with_store(&path)), tempfile::tempdir().unwrap());
    let (store, connection, _dir) = device(&stage);
    let laptop = Database::create(&store, "theirs").unwrap();
    let wish = json!({ "name": "home", "key": hex::encode(laptop.key()) }).to_string();
    let asked = stage.done("POST", "/v1/databases", &wish);
    assert_eq!(asked["standing"], "waiting");
    let put = stage.refused("PUT", &format!("{HOME}/entries/a"), "1");
    assert_eq!(put, code(403, "forbidden"), "a guest who waits writes nothing");
    let request: Request = asked["request"].as_str().unwrap().parse().unwrap();
    let rights = Rights { role: Role::Writer, scope: Vec::new(), until_ms: None };
    laptop.admit(&request, "pal", rights).unwrap();
    let mut batch = Batch::new();
    batch.put(&Sub::root(), "tea", "green");
    laptop.write(batch, Durability::Durable).unwrap();
    let tea = format!("{HOME}/entries/tea");
    until("coming to the pal", || stage.bytes("GET", &tea, b"", None) == (200, b"green".to_vec()));
    drop(connection);
    stage.shelf().close().unwrap();
    drop(stage);

    let stage = Stage::around(Arc::new(Vault::with_store(&path)), tempfile::tempdir().unwrap());
    assert_eq!(stage.bytes("GET", &tea, b"", None), (200, b"green".to_vec()), "after a sleep");
    let renewed = stage.done("POST", &format!("{HOME}/renew"), "");
    assert_eq!(renewed["standing"], "waiting");
    assert_ne!(renewed["request"], asked["request"]);
}
