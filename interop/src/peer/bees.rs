//! Commands on sorted maps.

use super::logs::{Logs, Name};
use crate::content::{Content, digest};
use anyhow::{Context as _, Result, bail};
use cloudpal_bee::{Action, Bee, Entry, History, Options, Range, Snapshot};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Maps that are open, by the names of their logs.
#[derive(Default)]
pub struct Bees(HashMap<String, Bee>);

#[derive(Deserialize)]
pub struct Batch {
    log: String,
    sub: Option<String>,
    single: bool,
    ops: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    op: String,
    key: String,
    value: Option<Content>,
    cas: Option<String>,
}

#[derive(Deserialize)]
pub struct Scan {
    log: String,
    sub: Option<String>,
    version: Option<u64>,
    #[serde(default)]
    range: HashMap<String, String>,
    #[serde(default)]
    reverse: bool,
    #[serde(default = "no_limit")]
    limit: i64,
}

#[derive(Deserialize)]
pub struct Past {
    log: String,
    #[serde(default)]
    reverse: bool,
    #[serde(default = "no_limit")]
    limit: i64,
}

#[derive(Deserialize)]
pub struct Diff {
    log: String,
    from: u64,
    to: u64,
}

#[derive(Deserialize)]
pub struct Keys {
    log: String,
    sub: Option<String>,
    keys: Vec<String>,
}

fn no_limit() -> i64 {
    -1
}

impl Bees {
    fn get(&self, log: &str) -> Result<&Bee> {
        self.0.get(log).with_context(|| format!("no bee on log {log} is open"))
    }

    pub fn open(&mut self, logs: &Logs, wanted: &Name) -> Result<Value> {
        let bee = Bee::new(Arc::new(logs.session(&wanted.log)?.clone()), Options::default());
        let version = bee.version();
        self.0.insert(wanted.log.clone(), bee);
        Ok(json!({ "version": version }))
    }

    pub fn batch(&self, wanted: &Batch) -> Result<Value> {
        let whole = self.get(&wanted.log)?;
        let bee = match &wanted.sub {
            Some(sub) => whole.sub(hex::decode(sub)?),
            None => whole.clone(),
        };
        let mut batch = (!wanted.single).then(|| bee.batch());
        for change in &wanted.ops {
            let key = hex::decode(&change.key)?;
            let value = change.value.map(Content::bytes);
            let agrees = condition(change.cas.as_deref())?;
            match (&mut batch, value) {
                (Some(batch), Some(value)) => batch.put_if(key, value, agrees)?,
                (Some(batch), None) => batch.del_if(key, |old| agrees(Some(old), old))?,
                (None, Some(value)) => bee.put_if(key, value, agrees)?,
                (None, None) => bee.del_if(key, |old| agrees(Some(old), old))?,
            };
            debug_assert!(matches!(change.op.as_str(), "put" | "del"));
        }
        if let Some(batch) = batch {
            batch.flush()?;
        }
        Ok(json!({ "version": whole.version() }))
    }

    fn view(&self, log: &str, sub: Option<&str>, version: Option<u64>) -> Result<Snapshot> {
        let bee = self.get(log)?;
        let snapshot = match version {
            Some(version) => bee.checkout(version)?,
            None => bee.snapshot(),
        };
        Ok(match sub {
            Some(sub) => snapshot.sub(hex::decode(sub)?),
            None => snapshot,
        })
    }

    pub fn scan(&self, wanted: &Scan) -> Result<Value> {
        let mut range = Range::all();
        for (bound, key) in &wanted.range {
            let key = hex::decode(key)?;
            range = match bound.as_str() {
                "gt" => range.gt(key),
                "gte" => range.gte(key),
                "lt" => range.lt(key),
                "lte" => range.lte(key),
                _ => bail!("no bound {bound}"),
            };
        }
        if wanted.reverse {
            range = range.reverse();
        }
        if let Ok(limit) = u64::try_from(wanted.limit) {
            range = range.limit(limit);
        }
        let view = self.view(&wanted.log, wanted.sub.as_deref(), wanted.version)?;
        let entries: Vec<Value> =
            view.range(range).map(|entry| entry.map(|entry| shown(&entry))).collect::<Result<_, _>>()?;
        Ok(json!({ "version": self.get(&wanted.log)?.version(), "entries": entries }))
    }

    pub fn history(&self, wanted: &Past) -> Result<Value> {
        let mut past = History::all();
        if wanted.reverse {
            past = past.reverse();
        }
        if let Ok(limit) = u64::try_from(wanted.limit) {
            past = past.limit(limit);
        }
        let mut entries = Vec::new();
        for operation in self.get(&wanted.log)?.history(past) {
            let operation = operation?;
            let word = match operation.action {
                Action::Put => "put",
                Action::Delete => "del",
            };
            let Entry { seq, key, value } = operation.entry;
            entries.push(json!([seq, word, hex::encode(key), value.map(|value| digest(&value))]));
        }
        Ok(json!({ "entries": entries }))
    }

    pub fn diff(&self, wanted: &Diff) -> Result<Value> {
        let (left, right) = (
            self.view(&wanted.log, None, Some(wanted.to))?,
            self.view(&wanted.log, None, Some(wanted.from))?,
        );
        let mut entries = Vec::new();
        for difference in left.diff(&right, Range::all()) {
            let difference = difference?;
            entries.push(json!([difference.left.as_ref().map(shown), difference.right.as_ref().map(shown)]));
        }
        Ok(json!({ "entries": entries }))
    }

    pub fn get_keys(&self, wanted: &Keys) -> Result<Value> {
        let view = self.view(&wanted.log, wanted.sub.as_deref(), None)?;
        let mut values = Vec::new();
        for key in &wanted.keys {
            let found = view.get(hex::decode(key)?)?;
            values.push(found.map(|entry| json!([entry.seq, digest(&entry.value.unwrap_or_default())])));
        }
        Ok(json!({ "values": values }))
    }
}

fn shown(entry: &Entry) -> Value {
    json!([entry.seq, hex::encode(&entry.key), digest(entry.value.as_deref().unwrap_or_default())])
}

/// Compare-and-swap conditions that both sides know by name. npm asks only where there is an entry already.
fn condition(name: Option<&str>) -> Result<fn(Option<&Entry>, &Entry) -> bool> {
    match name {
        None => Ok(|_, _| true),
        Some("never") => Ok(|old, _| old.is_none()),
        Some("changed") => Ok(|old, new| old.is_none_or(|old| old.value != new.value)),
        Some(other) => bail!("no condition {other}"),
    }
}
