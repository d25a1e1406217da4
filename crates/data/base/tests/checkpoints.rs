//! Real stores, real connections: beginning from a checkpoint, and forgetting what lies before it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod common;

use cloudpal_base::{
    Batch, CheckpointError, Database, Durability, HistoryError, Kind, Rights, Role, Standing, Sub, WriteError,
};
use common::{Device, connect, until};
use std::time::Duration;

const KEYS: u64 = 50;

/// Overwrites a few keys again and again, counts, and keeps an index.
fn fill(db: &Database, rounds: u64) {
    let (notes, clicks) =
        (Sub::new("notes", Kind::Json).unwrap(), Sub::new("clicks", Kind::Counter).unwrap());
    for round in 0..rounds {
        let mut batch = Batch::new();
        batch.put(&notes, format!("note {}", round % KEYS), format!(r#"{{"round":{round}}}"#));
        batch.add(&clicks, "all", 1);
        if round == 7 {
            batch.index(&notes, "round");
        }
        db.write(batch, Durability::Relaxed).unwrap();
    }
}

fn same(one: &Database, other: &Database) -> bool {
    one.snapshot().state_hash().unwrap() == other.snapshot().state_hash().unwrap()
}

fn clicks(db: &Database) -> String {
    let clicks = Sub::new("clicks", Kind::Counter).unwrap();
    let value = db.snapshot().get(&clicks, b"all").unwrap();
    String::from_utf8(value.unwrap_or_default().to_vec()).unwrap()
}

fn admit(home: &Database, copy: &Database, name: &str) {
    let request = copy.request().to_string().parse().unwrap();
    home.admit(&request, name, Rights::all(Role::Writer)).unwrap();
}

#[test]
fn who_comes_later_begins_with_the_checkpoint_and_history_is_forgotten() {
    let laptop = Device::new();
    let home = Database::create(&laptop.store, "home").unwrap();
    assert!(matches!(home.forget(Duration::ZERO), Err(CheckpointError::None)));
    fill(&home, 500);
    let old = home.changes(&Default::default(), 3).unwrap().next;
    let first = home.checkpoint().unwrap();
    fill(&home, 500);
    let second = home.checkpoint().unwrap();
    assert!(second.made_ms > first.made_ms && second.heads.covers(&first.heads));
    assert_eq!(home.base(), Some(second.clone()));
    // All of it is younger than a day.
    assert_eq!(home.forget(Duration::from_secs(86_400)).unwrap().entries, 0);
    let forgotten = home.forget(Duration::ZERO).unwrap();
    assert!(forgotten.blocks >= 1000 && forgotten.entries == 1000, "{forgotten:?}");
    fill(&home, 10);

    let phone = Device::new();
    let copy = Database::join(&phone.store, "home", home.key()).unwrap();
    admit(&home, &copy, "phone");
    let line = connect(&laptop, &phone);
    until("the phone shows the same", || copy.standing() == Standing::Member && same(&home, &copy));
    assert_eq!(copy.base(), Some(second));
    assert_eq!(clicks(&copy), "1010");
    let held = phone.store.get(home.key()).unwrap().info().held;
    assert!(held < 1000, "{held} blocks");

    // A reader of the feed from before is told; one from now on, or of what is kept, is not.
    assert!(matches!(copy.changes(&old, 10), Err(HistoryError::Gone)));
    assert!(matches!(home.changes(&old, 10), Err(HistoryError::Gone)));
    let kept = home.changes(&Default::default(), 4).unwrap();
    assert_eq!(home.changes(&kept.next, 100).unwrap().changes.len() + kept.changes.len(), 10);
    assert!(home.changes(&home.cursor(), 1).unwrap().changes.is_empty());

    // The past begins with the checkpoint.
    let clicked = Sub::new("clicks", Kind::Counter).unwrap();
    let last = home.changes(&Default::default(), 100).unwrap().changes.pop().unwrap();
    let past = home.before(last.dot).unwrap();
    assert_eq!(past.get(&clicked, b"all").unwrap().unwrap(), "1009");

    fill(&copy, 20);
    fill(&home, 20);
    until("both went on", || clicks(&home) == "1050" && same(&home, &copy));
    assert!(matches!(copy.checkpoint(), Err(CheckpointError::Refused(WriteError::NotOwner))));
    until("the phone has all of it", || copy.forget(Duration::ZERO).is_ok());
    drop(line);

    // Alone, and opened anew.
    let hash = copy.snapshot().state_hash().unwrap();
    copy.close().unwrap();
    drop(copy);
    let phone = phone.reopen();
    let copy = Database::open(&phone.store, "home").unwrap();
    assert_eq!(copy.snapshot().state_hash().unwrap(), hash);
    fill(&copy, 1);
    assert_eq!(clicks(&copy), "1051");
}

#[test]
fn a_member_that_has_read_the_same_goes_on_and_builds_anew_from_it_after_a_cut() {
    let (laptop, phone, tablet) = (Device::new(), Device::new(), Device::new());
    let home = Database::create(&laptop.store, "home").unwrap();
    let copy = Database::join(&phone.store, "home", home.key()).unwrap();
    let thief = Database::join(&tablet.store, "home", home.key()).unwrap();
    admit(&home, &copy, "phone");
    admit(&home, &thief, "tablet");
    let (_lines, _others) = (connect(&laptop, &phone), connect(&laptop, &tablet));
    until("all are members", || [&copy, &thief].iter().all(|other| other.standing() == Standing::Member));
    fill(&home, 100);
    fill(&thief, 10);
    until("all show the same", || clicks(&home) == "110" && same(&home, &copy) && same(&home, &thief));
    let base = home.checkpoint().unwrap();
    let generation = |db: &Database| db.cursor().encode();
    let before = generation(&copy);
    until("the phone builds upon it", || copy.base().as_ref() == Some(&base));
    assert_eq!(generation(&copy), before, "nothing had to be loaded");

    fill(&thief, 5);
    until("the phone has that too", || clicks(&copy) == "115" && clicks(&home) == "115");
    let member = home.find_member("tablet").unwrap();
    home.remove(&member, "stolen").unwrap();
    assert_eq!(clicks(&home), "115", "what was seen stays");
    fill(&home, 1);
    until("the phone goes on", || clicks(&copy) == "116" && same(&home, &copy));
    until("the phone holds the checkpoint", || copy.forget(Duration::ZERO).is_ok());
    let past = copy.at_time(1);
    assert!(matches!(past, Err(HistoryError::Read(_))), "{:?}", past.err());
}
