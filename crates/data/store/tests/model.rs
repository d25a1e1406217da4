//! A store against a plain model: random programs over several logs, closed and opened in between.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use bytes::Bytes;
use cloudpal_log::{Durability, Feed, FeedError};
use cloudpal_store::{LogOptions, Namespace, Session, Store, Which};
use std::collections::BTreeMap;
use support::Random;

const LOGS: u64 = 3;

#[derive(Default, Clone)]
struct Model {
    blocks: Vec<Option<Bytes>>,
    fork: u64,
    user: BTreeMap<String, Bytes>,
}

fn session(store: &Store, log: u64) -> Session {
    let durability = Some(if log == 0 { Durability::Durable } else { Durability::Relaxed });
    let which = Which::named(Namespace::ROOT, format!("log {log}"));
    store.open_log(which, LogOptions { durability, ..LogOptions::default() }).unwrap()
}

fn judge(store: &Store, models: &[Model]) {
    for (log, model) in models.iter().enumerate() {
        let session = session(store, log as u64);
        assert_eq!((session.fork(), session.length()), (model.fork, model.blocks.len() as u64));
        for (index, block) in model.blocks.iter().enumerate() {
            assert_eq!(session.get_local(index as u64).unwrap(), *block, "block {index} of log {log}");
        }
        let held: u64 = model.blocks.iter().flatten().map(|block| block.len() as u64).sum();
        assert_eq!(session.info().held_bytes, held);
        for (name, value) in &model.user {
            assert_eq!(session.user_data(name).unwrap().as_ref(), Some(value));
        }
    }
    assert_eq!(store.losses(), []);
    assert_eq!(store.keys().unwrap().len(), models.len());
}

fn step(store: &Store, models: &mut [Model], random: &mut Random) {
    let log = random.below(LOGS);
    let session = session(store, log);
    let model = &mut models[log as usize];
    let length = model.blocks.len() as u64;
    match random.below(10) {
        0..=5 => {
            let most = if random.below(8) == 0 { 70_000 } else { 300 };
            let blocks: Vec<_> = (0..random.below(8)).map(|_| random.block(most)).collect();
            assert_eq!(session.append(&blocks).unwrap(), length);
            model.blocks.extend(blocks.into_iter().map(Some));
        }
        6 if length > 0 => {
            let to = random.below(length + 1);
            session.truncate(to).unwrap();
            model.blocks.truncate(to as usize);
            model.fork += 1;
        }
        7 if length > 0 => {
            let from = random.below(length);
            let to = from + random.below(length - from + 1);
            session.clear(from..to).unwrap();
            model.blocks[from as usize..to as usize].fill(None);
        }
        8 => {
            let name = format!("name {}", random.below(3));
            let value = random.block(50);
            session.set_user_data(&name, Some(value.clone())).unwrap();
            model.user.insert(name, value);
        }
        _ => {
            let index = length + random.below(3);
            assert!(matches!(session.get(index), Err(FeedError::OutOfRange { .. })));
        }
    }
}

#[test]
fn random_programs_give_what_the_model_gives() {
    for seed in 1..=4 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut models = vec![Model::default(); LOGS as usize];
        let mut store = support::open(dir.path());
        (0..LOGS).for_each(|log| drop(session(&store, log)));
        for _ in 0..120 {
            step(&store, &mut models, &mut random);
            if random.below(40) == 0 {
                judge(&store, &models);
                store.close().unwrap();
                store = support::open(dir.path());
            }
        }
        judge(&store, &models);
        store.close().unwrap();
        judge(&support::open(dir.path()), &models);
    }
}

#[test]
fn nothing_on_disk_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    let store = support::open(dir.path());
    let log = store.log("a name nobody shall read").unwrap();
    let words = Bytes::from_static(b"words that nobody shall read");
    log.append(&[words.clone(), Bytes::from(words.repeat(400))]).unwrap();
    log.set_user_data("a label nobody shall read", Some(words)).unwrap();
    let (key, discovery_key) = (log.key(), log.discovery_key());
    store.close().unwrap();
    for secret in [&b"words that"[..], b"a name nobody", b"a label nobody", &key[..8], &discovery_key[..8]] {
        assert!(!support::holds(dir.path(), secret), "{}", String::from_utf8_lossy(secret));
    }
    // The probe works: the format's file is plain.
    assert!(support::holds(dir.path(), b"cloudpal store"));
}
