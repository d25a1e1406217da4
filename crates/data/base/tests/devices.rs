//! Real stores, real connections: devices that write, meet, forget, come back and are removed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod common;

use cloudpal_base::{
    Batch, Choice, Cursor, Database, Durability, Kind, Member, Resolution, ResolveError, Rights, Role,
    Standing, Sub, WriteError, WriteFault,
};
use cloudpal_store::{Connection, Server};
use common::{Device, connect, until};
use std::ops::{Bound, ControlFlow};

fn put(db: &Database, sub: &Sub, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(sub, key.to_owned(), value.to_owned());
    db.write(batch, Durability::Relaxed).unwrap();
}

fn get(db: &Database, sub: &Sub, key: &str) -> Option<String> {
    db.snapshot().get(sub, key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// A founder's database and one that was admitted to it, connected.
fn pair(role: Role) -> (Device, Database, Device, Database, (Server, Connection)) {
    let (laptop, phone) = (Device::new(), Device::new());
    let home = Database::create(&laptop.store, "home").unwrap();
    let copy = Database::join(&phone.store, "home", home.key()).unwrap();
    assert_eq!(copy.standing(), Standing::Waiting);
    let request = copy.request().to_string().parse().unwrap();
    home.admit(&request, "phone", Rights::all(role)).unwrap();
    let line = connect(&laptop, &phone);
    until("the phone is a member", || copy.standing() == Standing::Member);
    (laptop, home, phone, copy, line)
}

fn phone(home: &Database) -> Member {
    home.find_member("phone").unwrap()
}

#[test]
fn what_one_writes_the_other_shows_and_conflicts_are_equal() {
    let (laptop, home, phone, copy, line) = pair(Role::Writer);
    let notes = Sub::new("notes", Kind::Json).unwrap();
    put(&home, &notes, "tea", r#"{"kind":"green","grams":100}"#);
    until("the note arrives", || get(&copy, &notes, "tea").is_some());
    drop(line);
    // Without each other: different fields meet, the same register is a conflict.
    put(&home, &notes, "tea", r#"{"kind":"black","grams":100}"#);
    put(&copy, &notes, "tea", r#"{"kind":"green","grams":80}"#);
    put(&home, &Sub::root(), "who", "laptop");
    put(&copy, &Sub::root(), "who", "phone");
    let _line = connect(&laptop, &phone);
    for db in [&home, &copy] {
        until("both show both", || {
            get(db, &notes, "tea").as_deref() == Some(r#"{"grams":80,"kind":"black"}"#)
                && db.conflicts(&Sub::root()).unwrap().len() == 1
        });
    }
    assert_eq!(home.conflicts(&Sub::root()).unwrap(), copy.conflicts(&Sub::root()).unwrap());
    assert_eq!(get(&home, &Sub::root(), "who"), get(&copy, &Sub::root(), "who"));
    put(&copy, &Sub::root(), "who", "both");
    until("it is settled", || {
        home.conflicts(&Sub::root()).unwrap().is_empty()
            && get(&home, &Sub::root(), "who").as_deref() == Some("both")
    });
}

#[test]
fn a_field_in_conflict_is_settled_alone_and_only_as_it_was_seen() {
    let (laptop, home, phone, copy, line) = pair(Role::Writer);
    let notes = Sub::new("notes", Kind::Json).unwrap();
    put(&home, &notes, "tea", r#"{"grams":100}"#);
    until("the note arrives", || get(&copy, &notes, "tea").is_some());
    drop(line);
    put(&home, &notes, "tea", r#"{"grams":100,"kind":"green","by":"laptop"}"#);
    put(&copy, &notes, "tea", r#"{"grams":100,"kind":"black","by":"phone"}"#);
    let _line = connect(&laptop, &phone);
    let conflicts = || home.conflicts(&notes).unwrap();
    until("they meet", || conflicts().len() == 2);
    let conflict = conflicts().into_iter().find(|one| one.fields().unwrap_or_default() == ["kind"]).unwrap();
    let lost = &conflict.lost[0];
    let (shown, seen) = (conflict.shown.dot, vec![lost.dot, conflict.shown.dot]);
    let resolve = |seen: &[_], keep| {
        let (sub, key, path) = (notes.clone(), conflict.key.clone(), conflict.path.clone());
        let resolution = Resolution { sub, key, path, seen: seen.to_vec(), choice: Choice::Keep(keep) };
        home.resolve(&resolution, Durability::Relaxed)
    };
    assert!(matches!(resolve(&[shown], shown), Err(ResolveError::Changed)));
    resolve(&seen, lost.dot).unwrap();
    let note: serde_json::Value = serde_json::from_str(&get(&home, &notes, "tea").unwrap()).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&conflict.says(lost)).unwrap();
    assert_eq!((&note["kind"], &note["grams"]), (&kept, &serde_json::json!(100)));
    assert_eq!(conflicts().len(), 1, "whose the note is nobody has settled");
    assert!(matches!(resolve(&seen, lost.dot), Err(ResolveError::Missing)));
}

#[test]
fn everything_is_there_after_opening_again_and_writing_goes_on() {
    let laptop = Device::new();
    let home = Database::create(&laptop.store, "home").unwrap();
    for turn in 0..2_000 {
        put(&home, &Sub::root(), &format!("key {turn}"), &"x".repeat(turn % 3_000));
    }
    home.close().unwrap();
    drop(home);
    let laptop = laptop.reopen();
    let home = Database::open(&laptop.store, "home").unwrap();
    assert_eq!(get(&home, &Sub::root(), "key 1999").unwrap().len(), 1_999);
    put(&home, &Sub::root(), "key 2000", "on it goes");
    assert_eq!(get(&home, &Sub::root(), "key 2000").unwrap(), "on it goes");
    assert_eq!(Database::names(&laptop.store).unwrap(), ["home"]);
}

#[test]
fn a_removed_device_is_cut_everywhere_and_reads_nothing_new() {
    let (_laptop, home, _phone, copy, _line) = pair(Role::Writer);
    put(&copy, &Sub::root(), "from the phone", "1");
    until("the laptop shows it", || get(&home, &Sub::root(), "from the phone").is_some());
    home.remove(&phone(&home), "lost on a train").unwrap();
    put(&home, &Sub::root(), "secret", "2");
    until("the phone knows", || copy.standing() == Standing::Removed);
    let mut batch = Batch::new();
    batch.put(&Sub::root(), "k", "v");
    let refused = copy.write(batch, Durability::Relaxed);
    assert!(matches!(refused, Err(WriteFault::Refused(WriteError::Cut))), "{refused:?}");
    // It may have the blocks, but not the key.
    until("the phone has the sealed block", || !copy.progress().locked.is_empty());
    assert_eq!(get(&copy, &Sub::root(), "secret"), None);
    assert_eq!(get(&home, &Sub::root(), "from the phone").as_deref(), Some("1"));
    // It may come back, with a new log.
    let copy = copy.renew().unwrap();
    assert_eq!(copy.standing(), Standing::Waiting);
    home.admit(&copy.request(), "phone again", Rights::all(Role::Reader)).unwrap();
    until("it reads again", || get(&copy, &Sub::root(), "secret").as_deref() == Some("2"));
    let mut batch = Batch::new();
    batch.put(&Sub::root(), "k", "v");
    let refused = copy.write(batch, Durability::Relaxed);
    assert!(matches!(refused, Err(WriteFault::Refused(WriteError::Rights { .. }))), "{refused:?}");
}

#[test]
fn the_change_feed_resumes_and_a_batch_can_be_undone() {
    let laptop = Device::new();
    let home = Database::create(&laptop.store, "home").unwrap();
    put(&home, &Sub::root(), "a", "1");
    let first = home.changes(&Cursor::default(), 10).unwrap();
    assert_eq!(first.changes.len(), 1);
    put(&home, &Sub::root(), "b", "2");
    let mut batch = Batch::new();
    batch.put(&Sub::root(), "a", "3").del(&Sub::root(), "b").put(&Sub::root(), "c", "4");
    let wrong = home.write(batch, Durability::Durable).unwrap();
    let cursor = Cursor::decode(&first.next.encode()).unwrap();
    let next = home.changes(&cursor, 10).unwrap();
    assert_eq!(next.changes.len(), 2);
    assert_eq!(next.changes[1].edits.len(), 3);
    put(&home, &Sub::root(), "c", "mine");
    let undone = home.undo(wrong.dot).unwrap();
    assert_eq!((undone.restored.len(), undone.left.len()), (2, 1));
    assert_eq!(get(&home, &Sub::root(), "a").as_deref(), Some("1"));
    assert_eq!(get(&home, &Sub::root(), "b").as_deref(), Some("2"));
    assert_eq!(get(&home, &Sub::root(), "c").as_deref(), Some("mine"));
    assert_eq!(home.before(wrong.dot).unwrap().get(&Sub::root(), b"b").unwrap().unwrap(), "2");
    assert_eq!(home.history(&Sub::root(), b"a").unwrap().len(), 3);
}

#[test]
fn many_threads_write_together() {
    let laptop = Device::new();
    let home = Database::create(&laptop.store, "home").unwrap();
    let counter = Sub::new("", Kind::Counter).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (home, counter) = (&home, &counter);
            scope.spawn(move || {
                for turn in 0..100 {
                    let mut batch = Batch::new();
                    batch.put(&Sub::root(), format!("{thread} {turn}"), "x").add(counter, "n", 1);
                    home.write(batch, Durability::Relaxed).unwrap();
                }
            });
        }
    });
    assert_eq!(get(&home, &counter, "n").as_deref(), Some("800"));
}

#[test]
fn a_condition_that_does_not_hold_writes_nothing() {
    let laptop = Device::new();
    let home = Database::create(&laptop.store, "home").unwrap();
    put(&home, &Sub::root(), "k", "1");
    let mut batch = Batch::new();
    batch.put(&Sub::root(), "other", "x").expect(&Sub::root(), "k", Some("2".into()));
    let refused = home.write(batch, Durability::Relaxed);
    assert!(matches!(refused, Err(WriteFault::Refused(WriteError::Condition { .. }))), "{refused:?}");
    assert_eq!(get(&home, &Sub::root(), "other"), None);
}

#[test]
fn documents_are_found_by_a_field_however_long_it_is() {
    let laptop = Device::new();
    let home = Database::create(&laptop.store, "home").unwrap();
    let books = Sub::new("books", Kind::Json).unwrap();
    let mut batch = Batch::new();
    batch.index(&books, "by.name");
    for (key, name) in [("1", "Bo".to_owned()), ("2", "Al".to_owned()), ("3", "x".repeat(200_000))] {
        batch.put(&books, key, serde_json::json!({ "by": { "name": name } }).to_string());
    }
    home.write(batch, Durability::Relaxed).unwrap();
    let found = |from: &str, to: &str| {
        let mut keys = Vec::new();
        let (from, to) = (from.into(), to.into());
        home.snapshot()
            .find(&books, "by.name", (Bound::Included(&from), Bound::Excluded(&to)), &mut |key| {
                keys.push(String::from_utf8(key.to_vec()).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        keys
    };
    assert_eq!(found("A", "C"), ["2", "1"]);
    assert_eq!(found("x", "y"), ["3"]);
    put(&home, &books, "2", r#"{"by":{"name":"Zoe"}}"#);
    assert_eq!(found("A", "C"), ["1"]);
}
