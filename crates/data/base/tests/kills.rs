//! A process that writes is killed at random moments. What it had acknowledged is shown afterwards, and writing goes on: the view is
//! made again from the logs as far as it was not written out.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use cloudpal_base::{Batch, Database, Durability, Kind, Range, Standing, Sub};
use cloudpal_store::{Options, Store, StoreKey};
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "CLOUDPAL_BASE_TEST_FOLDER";
const ROUNDS: u64 = 12;

fn open(folder: &Path) -> (Store, Database) {
    let store = Store::open(folder, &StoreKey::new([5; 32]), Options::default()).unwrap();
    let names = Database::names(&store).unwrap();
    let db = if names.is_empty() { Database::create(&store, "db") } else { Database::open(&store, "db") };
    (store, db.unwrap())
}

fn count(db: &Database) -> u64 {
    let mut count = 0;
    db.snapshot()
        .scan(&Sub::root(), &Range::default(), &mut |key, value| {
            // Both keys of a batch, or none.
            assert_eq!(value.len(), 1 + key.len() * 311 % 9_000);
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    count
}

fn counter() -> Sub {
    Sub::new("", Kind::Counter).unwrap()
}

/// Not a test of its own: what the killed process does.
#[test]
fn child_writes_until_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let (_store, db) = open(Path::new(&folder));
    let mut next = count(&db) / 2;
    println!("ready");
    loop {
        let mut batch = Batch::new();
        for half in ["a", "b"] {
            let key = format!("{half}{}", "k".repeat(next as usize % 40)) + &next.to_string();
            let value = vec![7; 1 + key.len() * 311 % 9_000];
            batch.put(&Sub::root(), key, value);
        }
        batch.add(&counter(), "n", 1);
        let durable = next.is_multiple_of(3);
        db.write(batch, if durable { Durability::Durable } else { Durability::Relaxed }).unwrap();
        next += 1;
        if durable {
            println!("{next}");
        }
    }
}

#[test]
fn killed_processes_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("ready")));
        std::thread::sleep(Duration::from_millis(17 * (round * 7 % 11)));
        child.kill().unwrap();
        // All it had told by then, however late it is read.
        acknowledged = lines.filter_map(|line| line.parse().ok()).last().unwrap_or(acknowledged);
        child.wait().unwrap();

        let (store, db) = open(dir.path());
        let shown = count(&db);
        assert!(shown >= 2 * acknowledged, "round {round}: {shown} of {}", 2 * acknowledged);
        let n = db
            .snapshot()
            .get(&counter(), b"n")
            .unwrap()
            .map_or(0, |value| std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap());
        assert_eq!(shown, 2 * n, "round {round}: a batch is there in part");
        assert_eq!((db.standing(), db.refusals()), (Standing::Member, vec![]), "round {round}");
        db.close().unwrap();
        drop(db);
        store.close().unwrap();
    }
    assert!(acknowledged > 0, "nothing was ever acknowledged");
}
