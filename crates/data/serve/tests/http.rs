//! The HTTP interface on a real socket, and the OpenAPI document beside it: every request here is looked up in the
//! document, and its answer must be as described there.
#![allow(clippy::unwrap_used, reason = "a test stops there, and says where")]

mod common;

use cloudpal_base::{Batch, Database, Durability, Rights, Role, Standing, Sub};
use cloudpal_serve::Limits;
use cloudpal_serve::token::Right;
use cloudpal_store::{Access, Store, StoreKey};
use common::Server;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;

const HOME: &str = "/v1/databases/home";

/// Asks, and judges answers by the document.
struct Asker {
    server: Server,
    agent: ureq::Agent,
    token: String,
    document: Value,
    asked: RefCell<BTreeSet<String>>,
}

impl Asker {
    fn new() -> Asker {
        let server = Server::start(Limits::default());
        let token = server.token("", Right::Write, 1).reveal();
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent = ureq::Agent::new_with_config(config);
        let document = agent.get(server.url("/openapi.json")).call().unwrap().body_mut().read_json().unwrap();
        Asker { server, agent, token, document, asked: RefCell::default() }
    }

    /// `template`: the path as the document has it.
    fn ask(&self, method: &str, template: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let operation = &self.document["paths"][template][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {template} is not in the document");
        self.asked.borrow_mut().insert(format!("{method} {template}"));
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(self.server.url(path))
            .header("authorization", format!("Bearer {}", self.token))
            .body(body.to_vec())
            .unwrap();
        let mut answer = self.agent.run(request).unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.body_mut().read_to_vec().unwrap();
        let known = operation["responses"].get(status.to_string());
        let described = known.or_else(|| operation["responses"].get("default").filter(|_| status >= 400));
        let described =
            described.unwrap_or_else(|| panic!("{method} {path}: {status} is not in the document"));
        if let Some(schema) = described.pointer("/content/application~1json/schema") {
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            self.fits(schema, &value, &format!("{method} {path}"));
        }
        (status, bytes)
    }

    fn json(&self, method: &str, template: &str, path: &str, body: &[u8]) -> Value {
        serde_json::from_slice(&self.ask(method, template, path, body).1).unwrap()
    }

    /// As much of JSON Schema as the document uses.
    fn fits(&self, schema: &Value, value: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let schema = self.document.pointer(name.trim_start_matches('#')).unwrap();
            return self.fits(schema, value, at);
        }
        if let Some(known) = schema["enum"].as_array() {
            assert!(known.contains(value), "{at}: {value} is none of {known:?}");
        }
        match schema["type"].as_str() {
            Some("object") => {
                let fields = value.as_object().unwrap_or_else(|| panic!("{at}: {value} is no object"));
                for name in schema["required"].as_array().into_iter().flatten() {
                    assert!(
                        fields.contains_key(name.as_str().unwrap()),
                        "{at}: {name} is missing in {value}"
                    );
                }
                for (name, value) in fields {
                    let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                    let any = schema.get("properties").is_none();
                    assert!(any || known.is_some(), "{at}: {name} is not in the document");
                    if let Some(known) = known {
                        self.fits(known, value, &format!("{at}.{name}"));
                    }
                }
            }
            Some("array") => {
                let items = value.as_array().unwrap_or_else(|| panic!("{at}: {value} is no array"));
                items.iter().for_each(|item| self.fits(&schema["items"], item, at));
            }
            Some("string") => assert!(value.is_string(), "{at}: {value}"),
            Some("integer") => assert!(value.is_u64() || value.is_i64(), "{at}: {value}"),
            Some("boolean") => assert!(value.is_boolean(), "{at}: {value}"),
            Some(other) => panic!("{at}: the document uses {other}, which this test does not know"),
            None => {}
        }
    }
}

const ENTRY: &str = "/v1/databases/{database}/entries/{key}";
const ENTRIES: &str = "/v1/databases/{database}/entries";
const BATCH: &str = "/v1/databases/{database}/batch";
const RESOLVE: &str = "/v1/databases/{database}/resolve";
const CHANGES: &str = "/v1/databases/{database}/changes";

#[test]
fn every_request_is_as_the_document_says_and_the_document_has_nothing_else() {
    let asker = Asker::new();
    let ask = |method: &str, template: &str, path: &str, body: &str| {
        asker.ask(method, template, &format!("{HOME}{path}"), body.as_bytes())
    };
    asker.ask("GET", "/openapi.json", "/openapi.json", b"");
    let about = asker.json("GET", "/v1/databases/{database}", HOME, b"");
    assert_eq!(about["scopes"], json!([{ "path": "", "right": "write" }]));

    assert_eq!(ask("PUT", ENTRY, "/entries/a/b?durability=relaxed", "one").0, 204);
    assert_eq!(ask("PUT", ENTRY, "/entries/_wD_?encoding=base64url", "\u{1}").0, 204);
    assert_eq!(ask("GET", ENTRY, "/entries/a/b", ""), (200, b"one".to_vec()));
    assert_eq!(ask("GET", ENTRY, "/entries/nothing", "").0, 404);
    let all = asker.json("GET", ENTRIES, &format!("{HOME}/entries?limit=1"), b"");
    assert_eq!(all, json!({ "entries": [{ "key": "a/b", "value": "one" }], "more": true }));
    let rest = asker.json("GET", ENTRIES, &format!("{HOME}/entries?gt=a/b&values=false"), b"");
    assert_eq!(rest, json!({ "entries": [{ "key_base64": "/wD/" }], "more": false }));
    assert_eq!(ask("DELETE", ENTRY, "/entries/_wD_?encoding=base64url", "").0, 204);

    let cursor = asker.json("GET", CHANGES, &format!("{HOME}/changes?after=now"), b"")["cursor"].clone();
    let batch = json!({ "durability": "relaxed", "operations": [
        { "type": "expect", "key": "a/b", "value": "one" },
        { "type": "put", "sub": "notes", "kind": "json", "key": "tea", "value": "{\"grams\":100}" },
        { "type": "patch", "sub": "notes", "kind": "json", "key": "tea", "value": "{\"kind\":\"green\"}" },
        { "type": "add", "sub": "visits", "kind": "counter", "key": "today", "delta": 3 },
        { "type": "include", "sub": "tags", "kind": "set", "key": "tea", "value": "hot" },
        { "type": "clear", "gte": "a", "lt": "b" },
    ] });
    assert_eq!(ask("POST", BATCH, "/batch", &batch.to_string()).0, 200);
    assert_eq!(ask("POST", BATCH, "/batch", &batch.to_string()).0, 409, "the condition holds no more");
    assert_eq!(ask("POST", BATCH, "/batch", "{\"operations\":[{\"type\":\"put\"}]}").0, 400);
    let tea = ask("GET", ENTRY, "/entries/tea?sub=notes&kind=json", "");
    assert_eq!(String::from_utf8(tea.1).unwrap(), "{\"grams\":100,\"kind\":\"green\"}");
    assert_eq!(ask("GET", ENTRY, "/entries/today?sub=visits&kind=counter", "").1, b"3");
    assert_eq!(ask("PUT", ENTRY, "/entries/today?sub=visits&kind=counter", "no number").0, 400);

    let path = format!("{HOME}/changes?after={}&sub=notes&kind=json", cursor.as_str().unwrap());
    let changes = asker.json("GET", CHANGES, &path, b"");
    assert_eq!(changes["changes"].as_array().unwrap().len(), 1, "a key once: {changes}");
    assert_eq!(changes["changes"][0]["value"], "{\"grams\":100,\"kind\":\"green\"}");
    assert_eq!(ask("GET", CHANGES, "/changes?after=AAAA", "").0, 410);

    let index = json!({ "operations": [
        { "type": "index", "sub": "notes", "kind": "json", "path": "grams" },
        { "type": "put", "sub": "notes", "kind": "json", "key": "salt", "value": "{\"grams\":7}" },
        { "type": "put", "sub": "text", "kind": "text", "key": "t", "value": "aö🌿b" },
        { "type": "splice", "sub": "text", "kind": "text", "key": "t", "at": 2, "remove": 2, "unit": "utf16", "value": "--" },
        { "type": "splice", "sub": "text", "kind": "text", "key": "t", "at": 6, "value": "!" },
    ] });
    assert_eq!(ask("POST", BATCH, "/batch", &index.to_string()).0, 200);
    let text = ask("GET", ENTRY, "/entries/t?sub=text&kind=text", "").1;
    assert_eq!(String::from_utf8(text).unwrap(), "aö--b!");
    let within =
        json!({ "operations": [{ "type": "splice", "sub": "text", "kind": "text", "key": "t", "at": 2 }] });
    assert_eq!(ask("POST", BATCH, "/batch", &within.to_string()).0, 400, "that is within the ö");
    let find = |query: &str| {
        let path = format!("{HOME}/find?sub=notes&kind=json&path=grams{query}");
        asker.json("GET", "/v1/databases/{database}/find", &path, b"")
    };
    let first = find("&limit=1");
    assert_eq!(
        (&first["entries"], &first["more"]),
        (&json!([{ "key": "salt", "value": "{\"grams\":7}" }]), &json!(true))
    );
    let second = find(&format!("&values=false&after={}", first["after"].as_str().unwrap()));
    assert_eq!((&second["entries"], &second["more"]), (&json!([{ "key": "tea" }]), &json!(false)));
    assert_eq!(find("&reverse=true&values=false&gte=7&lt=100")["entries"], json!([{ "key": "salt" }]));
    assert_eq!(find("&gt=100")["entries"], json!([]));
    assert_eq!(find("x")["error"]["code"], "not_found", "there is no such index");
    assert_eq!(find("&gte=[]")["error"]["code"], "invalid");

    let conflicts =
        asker.json("GET", "/v1/databases/{database}/conflicts", &format!("{HOME}/conflicts"), b"");
    assert_eq!(conflicts, json!({ "conflicts": [] }));
    let resolve = json!({ "key": "a", "seen": [], "value": "b" }).to_string();
    assert_eq!(ask("POST", RESOLVE, "/resolve", &resolve).0, 404);
    let members = asker.json("GET", "/v1/databases/{database}/members", &format!("{HOME}/members"), b"");
    assert_eq!(members["members"].as_array().unwrap().len(), 1);
    // Without an upgrade it is refused; with one, tests/socket.rs speaks on it.
    let socket = "/v1/databases/{database}/socket";
    asker.asked.borrow_mut().insert(format!("GET {socket}"));

    let document = asker.document["paths"].as_object().unwrap();
    let described = document.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), *asker.asked.borrow(), "all that is described was asked");
}

/// Two devices that write one key without hearing of each other, and then meet.
fn disagree(server: &Server) -> (Store, impl Sized) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &StoreKey::random().unwrap(), Default::default()).unwrap();
    let (home, copy) =
        (server.database.clone(), Database::join(&store, "home", server.database.key()).unwrap());
    home.admit(&copy.request().to_string().parse().unwrap(), "phone", Rights::all(Role::Writer)).unwrap();
    let meet = || {
        let listening = server.store.serve("127.0.0.1:0", Access::Anyone).unwrap();
        let connection = store.connect(listening.address(), &Access::Anyone).unwrap();
        (listening, connection)
    };
    let until = |done: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !done() {
            assert!(start.elapsed().as_secs() < 60);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    let line = meet();
    until(&|| copy.standing() == Standing::Member);
    drop(line);
    for (database, value) in [(&home, "laptop"), (&copy, "phone")] {
        let mut batch = Batch::new();
        batch.put(&Sub::root(), "who", value);
        database.write(batch, Durability::Relaxed).unwrap();
    }
    let line = meet();
    until(&|| home.conflicts(&Sub::root()).unwrap().len() == 1);
    (store, (line, copy, folder))
}

#[test]
fn a_conflict_is_settled_by_whoever_has_seen_it_all() {
    let mut asker = Asker::new();
    let _devices = disagree(&asker.server);
    let path = format!("{HOME}/conflicts");
    let told = |asker: &Asker| {
        asker.json("GET", "/v1/databases/{database}/conflicts", &path, b"")["conflicts"].clone()
    };
    let versions = told(&asker)[0]["versions"].clone();
    let batch = |at: usize| versions[at]["batch"].as_str().unwrap().to_owned();
    let resolve = |asker: &Asker, seen: &[String], keep: String| {
        let body = json!({ "key": "who", "seen": seen, "keep": keep }).to_string();
        asker.ask("POST", RESOLVE, &format!("{HOME}/resolve"), body.as_bytes()).0
    };
    let all = [batch(1), batch(0)];
    assert_eq!(resolve(&asker, &[batch(0)], batch(0)), 409, "one of the versions was not seen");
    assert_eq!(resolve(&asker, &all, "1:1".into()), 400, "that is none of them");
    let writer = std::mem::replace(&mut asker.token, asker.server.token("", Right::Read, 9).reveal());
    assert_eq!(resolve(&asker, &all, batch(1)), 403);
    let index = json!({ "operations": [{ "type": "index", "kind": "json", "path": "a" }] }).to_string();
    assert_eq!(asker.ask("POST", BATCH, &format!("{HOME}/batch"), index.as_bytes()).0, 403);
    asker.token = asker.server.token("notes", Right::Write, 8).reveal();
    assert_eq!(
        asker.ask("GET", "/v1/databases/{database}/find", &format!("{HOME}/find?kind=json&path=a"), b"").0,
        403
    );
    asker.token = writer;
    assert_eq!(told(&asker).as_array().unwrap().len(), 1, "nothing was settled by that");
    assert_eq!(resolve(&asker, &all, batch(1)), 200);
    assert_eq!(told(&asker), json!([]));
    let (_, shown) = asker.ask("GET", ENTRY, &format!("{HOME}/entries/who"), b"");
    assert_eq!(String::from_utf8(shown).unwrap(), versions[1]["value"].as_str().unwrap());
    assert_eq!(resolve(&asker, &all, batch(1)), 404, "it is settled");
}

#[test]
fn a_long_poll_ends_with_the_change_it_waits_for() {
    let asker = Asker::new();
    let cursor = asker.json("GET", CHANGES, &format!("{HOME}/changes?after=now"), b"")["cursor"].clone();
    let path = format!("{HOME}/changes?after={}&wait_ms=60000", cursor.as_str().unwrap());
    std::thread::scope(|scope| {
        let waiting = scope.spawn({
            let (agent, url) = (asker.agent.clone(), asker.server.url(&path));
            let token = format!("Bearer {}", asker.token);
            move || -> Value {
                agent.get(url).header("authorization", token).call().unwrap().body_mut().read_json().unwrap()
            }
        });
        asker.ask("PUT", ENTRY, &format!("{HOME}/entries/late"), b"at last");
        assert_eq!(waiting.join().unwrap()["changes"][0]["value"], "at last");
    });
}

#[test]
fn a_token_opens_what_it_names_and_nothing_else() {
    let mut asker = Asker::new();
    let status =
        |asker: &Asker, method: &str, path: &str| asker.ask(method, ENTRY, &format!("{HOME}{path}"), b"1").0;
    asker.token = asker.server.token("notes", Right::Read, 2).reveal();
    assert_eq!(status(&asker, "GET", "/entries/a?sub=notes"), 404);
    assert_eq!(status(&asker, "GET", "/entries/a?sub=notes/2026"), 404);
    assert_eq!(status(&asker, "PUT", "/entries/a?sub=notes"), 403);
    assert_eq!(status(&asker, "GET", "/entries/a?sub=notebook"), 403);
    assert_eq!(status(&asker, "GET", "/entries/a"), 403);
    let token = asker.server.token("", Right::Write, 3);
    asker.token = token.reveal();
    assert_eq!(status(&asker, "GET", "/entries/a?sub=cloudpal/applied"), 403);
    assert_eq!(status(&asker, "PUT", "/entries/a"), 204);
    let id = asker.server.service.access(&asker.token).unwrap().id().to_owned();
    asker.server.book.revoke(&id).unwrap();
    assert_eq!(status(&asker, "GET", "/entries/a"), 401);
    asker.token = "none".into();
    assert_eq!(status(&asker, "GET", "/entries/a"), 401);
}
