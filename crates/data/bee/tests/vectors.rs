//! Programs that npm hyperbee 2.27 ran (tests/vectors/make.mjs): the same operations must make the same blocks and
//! the same reads give the same answers. `BEE_VECTORS=FILE` takes another file made by the same script.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use base64::Engine;
use bytes::Bytes;
use cloudpal_bee::block::Metadata;
use cloudpal_bee::{Action, Batch, Bee, Duplicates, Entry, History, Options, Range};
use cloudpal_log::{Feed, KeyPair, MemoryFeed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

#[test]
fn the_same_operations_make_the_same_blocks_and_answers_as_npm_hyperbee() {
    let text = match std::env::var("BEE_VECTORS") {
        Ok(file) => std::fs::read_to_string(file).unwrap(),
        Err(_) => include_str!("vectors/bee.json").to_owned(),
    };
    let programs: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(programs.len() >= 8);
    let mut seen = Seen::default();
    for program in &programs {
        let what = format!("{} seed {}", program["name"], program["seed"]);
        let feed = run(program, &what, &mut seen);
        compare(program, &feed, &what);
    }
    assert!(seen.writes > 100 && seen.reads > 100 && seen.refused > 0, "{seen:?}");
}

#[derive(Debug, Default)]
struct Seen {
    writes: usize,
    reads: usize,
    refused: usize,
}

fn run(program: &Value, what: &str, seen: &mut Seen) -> MemoryFeed {
    let feed = MemoryFeed::create(KeyPair::from_seed(&[1; 32]));
    let metadata = program["metadata"].as_object().map(|metadata| Metadata {
        content_feed: metadata["contentFeed"].as_str().map(|key| unhex(&json!(key)).into()),
        user_data: metadata["userData"].as_str().map(|data| unhex(&json!(data)).into()),
    });
    let duplicates = if program["skip"] == true { Duplicates::Skip } else { Duplicates::Append };
    let bee = Bee::new(Arc::new(feed.clone()), Options { metadata, duplicates, ..Options::default() });
    let names = program["subs"].as_array().unwrap().iter();
    let mut whole = vec![bee.clone()];
    whole.extend(names.map(|name| bee.sub(name.as_str().unwrap())));
    for (i, line) in program["program"].as_array().unwrap().iter().enumerate() {
        let what = format!("{what}, line {i}: {line}");
        match line[0].as_str() {
            None => {
                let mut batch = whole[line[0].as_u64().unwrap() as usize].batch();
                step(&mut batch, &line[1], &what, seen);
                batch.flush().unwrap();
            }
            Some("batch") => {
                let mut batch = whole[line[1].as_u64().unwrap() as usize].batch();
                line[2].as_array().unwrap().iter().for_each(|s| step(&mut batch, s, &what, seen));
                batch.flush().unwrap();
            }
            Some("diff") => {
                let other = bee.checkout(line[1].as_u64().unwrap()).unwrap();
                let found = bee.diff(&other, range(&line[2]));
                let found = found.map(|d| d.unwrap()).map(|d| json!([entry(d.left), entry(d.right)]));
                assert_eq!(json!(found.collect::<Vec<_>>()), line[3], "{what}");
                seen.reads += 1;
            }
            Some("at") => {
                let then = bee.checkout(line[1].as_u64().unwrap()).unwrap();
                let found: Vec<Value> =
                    then.range(range(&line[2])).map(|e| entry(Some(e.unwrap()))).collect();
                assert_eq!(json!(found), line[3], "{what}");
                seen.reads += 1;
            }
            Some("history") => assert_eq!(history(&bee, &line[1]), line[2], "{what}"),
            Some(other) => panic!("{other}"),
        }
    }
    feed
}

fn step(target: &mut Batch, s: &Value, what: &str, seen: &mut Seen) {
    let (key, value) = (|| unhex(&s[1]), || unhex(&s[2]));
    let written = match s[0].as_str().unwrap() {
        "put" => target.put(key(), value()),
        "null" => target.put_null(key()),
        "del" => target.del(key()),
        "putif" => target.put_if(key(), value(), |old, new| old.is_none_or(|old| condition(&s[3], old, new))),
        "delif" => target.del_if(key(), |old| condition(&s[2], old, old)),
        "get" => {
            assert_eq!(entry(target.get(key()).unwrap()), s[2], "{what}");
            let listed = target.range(Range::only(key())).next().transpose().unwrap();
            assert_eq!(entry(listed), s[2], "{what}");
            seen.reads += 1;
            return;
        }
        "range" => {
            let found: Vec<Value> = target.range(range(&s[1])).map(|e| entry(Some(e.unwrap()))).collect();
            assert_eq!(json!(found), s[2], "{what}");
            seen.reads += 1;
            return;
        }
        other => panic!("{other}"),
    };
    match written.unwrap() {
        Some(_) => seen.writes += 1,
        None => seen.refused += 1,
    }
}

fn condition(kind: &Value, old: &Entry, new: &Entry) -> bool {
    match kind.as_str().unwrap() {
        "yes" => true,
        "no" => false,
        "differs" => old.value.is_none() || old.value != new.value,
        "even" => old.seq.is_multiple_of(2),
        other => panic!("{other}"),
    }
}

fn range(opts: &Value) -> Range {
    let mut range = Range::all();
    for (edge, value) in opts.as_object().unwrap() {
        range = match edge.as_str() {
            "gt" => range.gt(unhex(value)),
            "gte" => range.gte(unhex(value)),
            "lt" => range.lt(unhex(value)),
            "lte" => range.lte(unhex(value)),
            "limit" => range.limit(value.as_u64().unwrap()),
            "reverse" if *value == true => range.reverse(),
            "reverse" => range,
            other => panic!("{other}"),
        };
    }
    range
}

fn history(bee: &Bee, bounds: &Value) -> Value {
    let number = |name: &str| bounds[name].as_u64().unwrap();
    let mut wanted = History::all().from(number("gte")).until(number("lt")).limit(number("limit"));
    if bounds["reverse"] == true {
        wanted = wanted.reverse();
    }
    let line = |operation: cloudpal_bee::Operation| {
        let action = if operation.action == Action::Put { "put" } else { "del" };
        let Value::Array(mut line) = entry(Some(operation.entry)) else { panic!() };
        line.insert(0, json!(action));
        Value::Array(line)
    };
    Value::Array(bee.history(wanted).map(|operation| line(operation.unwrap())).collect())
}

fn compare(program: &Value, feed: &MemoryFeed, what: &str) {
    let blocks = program["blocks"].as_array().unwrap();
    let whole = program["whole"] == true;
    for (i, expected) in blocks.iter().enumerate() {
        assert!((i as u64) < feed.length(), "{what}: block {i} is missing of {}", blocks.len());
        let ours = feed.get(i as u64).unwrap();
        assert_eq!(show(&ours, whole), expected.as_str().unwrap(), "{what}: block {i}");
    }
    assert_eq!(feed.length(), blocks.len() as u64, "{what}");
}

fn show(block: &Bytes, whole: bool) -> String {
    if whole {
        return base64::engine::general_purpose::STANDARD.encode(block);
    }
    Sha256::digest(block)[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entry(entry: Option<Entry>) -> Value {
    entry.map_or(Value::Null, |e| json!([e.seq, hex(&e.key), e.value.as_deref().map(hex)]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
