//! `cloudpal db` over a running pal: one function for each thing that can be asked of its databases.

use super::Remote;
use super::http::{Ask, RemoteError, path};
use super::logs::each;
use crate::told;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use cloudpal_base::{Durability, Order, Range, Resolution, Sub};
use cloudpal_serve::json;
use cloudpal_serve::owner::{Admission, Search, TokenWish};
use cloudpal_serve::wire::Step;
use serde::Serialize;
use serde_json::{Value, json};
use std::ops::{Bound, ControlFlow};
use std::time::Duration;
use ureq::http::Method;

/// Keys that are asked for at a time.
const KEYS: usize = 512;

/// The names of all.
pub fn list(pal: &Remote) -> Result<Value, RemoteError> {
    pal.http.get(Ask::of("/v1/databases"))
}

/// Makes one, or joins the one with this key.
pub fn make(pal: &Remote, name: &str, key: Option<[u8; 32]>) -> Result<Value, RemoteError> {
    let wish = json!({ "name": name, "key": key.map(hex::encode) });
    pal.http.send_json(Method::POST, Ask::of("/v1/databases"), wish.to_string().as_bytes())
}

/// One of a pal's databases.
pub struct RemoteBase {
    /// The pal.
    pub pal: Remote,
    name: String,
}

impl RemoteBase {
    /// Whether it is there is not asked.
    pub fn new(pal: Remote, name: &str) -> Self {
        RemoteBase { pal, name: name.to_owned() }
    }

    fn at(&self, what: &[&str]) -> String {
        path(&[&["v1", "databases", &self.name], what].concat(), None)
    }

    fn get(&self, what: &str) -> Result<Value, RemoteError> {
        self.pal.http.get(Ask::of(&self.at(&[what])))
    }

    fn post(&self, what: &str, body: &Value) -> Result<Value, RemoteError> {
        self.pal.http.send_json(Method::POST, Ask::of(&self.at(&[what])), body.to_string().as_bytes())
    }

    /// Members, how far their logs have come, conflicts, what was refused.
    pub fn info(&self) -> Result<Value, RemoteError> {
        self.get("info")
    }

    /// The sub-databases that hold anything.
    pub fn subs(&self) -> Result<Vec<Sub>, RemoteError> {
        let told = self.get("subs")?;
        let sub = |one: &Value| Sub::new(told::text(one, "sub"), told::text(one, "kind").parse().ok()?).ok();
        Ok(each(&told["subs"]).filter_map(sub).collect())
    }

    /// How far it is with the peers that are connected.
    pub fn sync(&self) -> Result<Value, RemoteError> {
        self.get("sync")
    }

    /// What a key shows.
    pub fn value(&self, sub: &Sub, key: &[u8]) -> Result<Option<Bytes>, RemoteError> {
        match key {
            // An address cannot name it.
            [] => Ok(self.values(sub, &[Bytes::new()])?.pop().flatten()),
            _ => self.download("entries", sub, key, None),
        }
    }

    /// What a key showed at a time, in milliseconds since 1970.
    pub fn past(&self, sub: &Sub, key: &[u8], at_ms: u64) -> Result<Option<Bytes>, RemoteError> {
        self.download("past", sub, key, Some(at_ms))
    }

    fn download(
        &self,
        what: &str,
        sub: &Sub,
        key: &[u8],
        at_ms: Option<u64>,
    ) -> Result<Option<Bytes>, RemoteError> {
        let at = self.at(&[what, &BASE64.encode(key)]);
        let mut query = of(sub);
        query.extend(at_ms.map(|ms| ("at_ms", ms.to_string())));
        let mut value = Vec::new();
        match self.pal.http.download(Ask { path: &at, query: &query }, None, &mut value) {
            Ok(_) => Ok(Some(value.into())),
            Err(RemoteError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What keys show, in their order.
    pub fn values(&self, sub: &Sub, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, RemoteError> {
        let mut values = Vec::new();
        for some in keys.chunks(KEYS) {
            let mut wish = json::sub(sub);
            wish.insert("keys".into(), some.iter().map(|key| BASE64.encode(key)).collect());
            let told = self.post("values", &wish.into())?;
            let value = |one: &Value| one.is_object().then(|| told::bytes(one, "value").into());
            values.extend(each(&told["values"]).map(value));
        }
        Ok(values)
    }

    /// Writes a batch; where it lies.
    pub fn write(&self, steps: &[Step], durability: Durability) -> Result<Value, RemoteError> {
        let operations: Vec<_> = steps.iter().map(json::step).collect();
        self.post("batch", &json!({ "durability": name(durability), "operations": operations }))
    }

    /// Gives entries to `visit`, some at a time: what is changed meanwhile may show in later ones.
    pub fn scan(
        &self,
        sub: &Sub,
        range: &Range,
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), RemoteError> {
        let (at, mut range) = (self.at(&["entries"]), range.clone());
        loop {
            let page = self.pal.http.get(Ask { path: &at, query: &query(sub, &range) })?;
            let mut last = None;
            for entry in each(&page["entries"]) {
                let key = told::bytes(entry, "key");
                if visit(&key, &told::bytes(entry, "value").into()).is_break() {
                    return Ok(());
                }
                range.limit = range.limit.map(|limit| limit.saturating_sub(1));
                last = Some(Bytes::from(key));
            }
            let (Some(last), true) = (last, page["more"] == true && range.limit != Some(0)) else {
                return Ok(());
            };
            match range.order {
                Order::Ascending => range.from = Bound::Excluded(last),
                Order::Descending => range.to = Bound::Excluded(last),
            }
        }
    }

    /// Conflicts of a sub-database.
    pub fn conflicts(&self, sub: &Sub) -> Result<Vec<Value>, RemoteError> {
        let told = self.pal.http.get(Ask { path: &self.at(&["conflicts"]), query: &of(sub) })?;
        Ok(each(&told["conflicts"]).cloned().collect())
    }

    /// Batches behind a cursor; waits for one if there is none.
    pub fn batches(&self, after: &str, wait: Duration) -> Result<Value, RemoteError> {
        let query = [("after", after.to_owned()), ("wait_ms", wait.as_millis().to_string())];
        self.pal.http.get(Ask { path: &self.at(&["batches"]), query: &query })
    }

    /// What was done to a key.
    pub fn history(&self, sub: &Sub, key: &[u8]) -> Result<Value, RemoteError> {
        let at = self.at(&["history", &BASE64.encode(key)]);
        self.pal.http.get(Ask { path: &at, query: &of(sub) })
    }

    /// Undoes a batch.
    pub fn undo(&self, batch: &str) -> Result<Value, RemoteError> {
        self.post("undo", &json!({ "batch": batch }))
    }

    /// Settles a conflict; where the batch lies that did.
    pub fn resolve(&self, wanted: &Resolution, durability: Durability) -> Result<Value, RemoteError> {
        let mut wish = json::resolution(wanted);
        wish["durability"] = json!(name(durability));
        self.post("resolve", &wish)
    }

    /// Indexes a field.
    pub fn index(&self, sub: &Sub, field: &str) -> Result<Value, RemoteError> {
        self.post("index", &within(sub, &json!({ "path": field })))
    }

    /// Finds documents by an indexed field.
    pub fn find(&self, sub: &Sub, wanted: &Search) -> Result<Value, RemoteError> {
        self.post("find", &within(sub, wanted))
    }

    /// Lets a device in.
    pub fn admit(&self, wanted: &Admission) -> Result<Value, RemoteError> {
        self.post("admit", &json!(wanted))
    }

    /// Cuts a member off.
    pub fn remove(&self, member: &str, reason: &str) -> Result<Value, RemoteError> {
        self.post("remove", &json!({ "member": member, "reason": reason }))
    }

    /// Has the pal take a new log.
    pub fn renew(&self) -> Result<Value, RemoteError> {
        self.post("renew", &json!({}))
    }

    /// Makes a checkpoint.
    pub fn checkpoint(&self) -> Result<Value, RemoteError> {
        self.post("checkpoint", &json!({}))
    }

    /// Has the pal forget history that is older.
    pub fn forget(&self, keep: Duration) -> Result<Value, RemoteError> {
        self.post("forget", &json!({ "keep_s": keep.as_secs() }))
    }

    /// Its tokens.
    pub fn tokens(&self) -> Result<Value, RemoteError> {
        self.get("tokens")
    }

    /// Makes a token.
    pub fn add_token(&self, wish: &TokenWish) -> Result<Value, RemoteError> {
        self.post("tokens", &json!(wish))
    }

    /// Makes one worthless.
    pub fn revoke_token(&self, id: &str) -> Result<Value, RemoteError> {
        self.pal.http.send_json(Method::DELETE, Ask::of(&self.at(&["tokens", id])), &[])
    }
}

fn name(durability: Durability) -> &'static str {
    if durability == Durability::Durable { "durable" } else { "relaxed" }
}

fn of(sub: &Sub) -> Vec<(&'static str, String)> {
    let kind = sub.kind().name().to_owned();
    vec![("sub", sub.name().to_owned()), ("kind", kind), ("encoding", "base64url".to_owned())]
}

/// What is wished, of a sub-database.
fn within(sub: &Sub, wish: &impl Serialize) -> Value {
    let mut told = json!(wish);
    for (name, value) in json::sub(sub) {
        told[name] = value;
    }
    told
}

fn query(sub: &Sub, range: &Range) -> Vec<(&'static str, String)> {
    let mut query = of(sub);
    for (bound, without, with) in [(&range.from, "gt", "gte"), (&range.to, "lt", "lte")] {
        match bound {
            Bound::Unbounded => {}
            Bound::Excluded(key) => query.push((without, BASE64.encode(key))),
            Bound::Included(key) => query.push((with, BASE64.encode(key))),
        }
    }
    if range.order == Order::Descending {
        query.push(("reverse", "true".to_owned()));
    }
    query.extend(range.limit.map(|limit| ("limit", limit.to_string())));
    query
}
