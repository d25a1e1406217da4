//! A process that appends is killed at random moments. What it had acknowledged is there afterwards.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use bytes::Bytes;
use cloudpal_log::{Durability, Feed};
use cloudpal_store::{FormatError, OpenError, Options, Store};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::Random;

const CHILD: &str = "CLOUDPAL_STORE_TEST_FOLDER";
const ROUNDS: u64 = 8;

fn block(index: u64) -> Bytes {
    Bytes::from(index.to_le_bytes().repeat(1 + index as usize % 90))
}

/// Not a test of its own: what the killed process does.
#[test]
fn child_appends_until_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let store = support::open(Path::new(&folder));
    let log = store.log("a").unwrap().with_durability(Durability::Durable);
    println!("ready");
    loop {
        let first = log.length();
        let count = 1 + first % 7;
        log.append(&(first..first + count).map(block).collect::<Vec<_>>()).unwrap();
        println!("{}", first + count);
        // What is relaxed may go, and takes nothing with it.
        store.log("b").unwrap().append(&[block(first)]).unwrap();
    }
}

#[test]
fn killed_processes_lose_nothing_that_was_acknowledged() {
    let mut random = Random::new(5);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_until_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("ready")));
        let in_use = Store::open(dir.path(), &support::key(), Options::default());
        assert!(matches!(in_use, Err(OpenError::Folder(FormatError::InUse { .. }))));
        std::thread::sleep(Duration::from_millis(random.below(150)));
        child.kill().unwrap();
        // All it had told by then, however late it is read.
        acknowledged = lines.filter_map(|line| line.parse().ok()).last().unwrap_or(acknowledged);
        child.wait().unwrap();

        let store = support::open(dir.path());
        let log = store.log("a").unwrap();
        assert_eq!(store.losses(), [], "round {round}");
        assert!(log.length() >= acknowledged, "round {round}: {} of {acknowledged}", log.length());
        for index in 0..log.length() {
            assert_eq!(log.get_local(index).unwrap().unwrap(), block(index), "round {round}");
        }
        store.close().unwrap();
    }
    assert!(acknowledged > 0, "nothing was ever acknowledged");
}
