//! What a disk loses or changes: a view is built again by itself, a block of this device's log comes from whoever has it, and the list
//! of databases has a second copy.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use bytes::Bytes;
use cloudpal_base::{Batch, Cursor, Database, Durability, Options, Range, Sub};
use cloudpal_log::Feed as _;
use cloudpal_store::{Access, Namespace, PageChange, Session, Store, StoreKey};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

const SMALL: Options = Options { memory: 32 << 10 };
/// The page that says which others there are.
const MANIFEST: u64 = 0;

fn store(folder: &Path) -> Store {
    Store::open(folder, &StoreKey::new([9; 32]), Default::default()).unwrap()
}

/// A log of the list of databases, or of a database.
fn log(store: &Store, name: &str) -> Session {
    store.log_in(&Namespace::ROOT.child(b"cloudpal").child(b"databases"), name).unwrap()
}

fn put(db: &Database, key: u32) {
    let mut batch = Batch::new();
    batch.put(&Sub::root(), key.to_string(), "v".repeat(100));
    db.write(batch, Durability::Relaxed).unwrap();
}

/// How many keys are shown; none if they cannot be read.
fn count(db: &Database) -> Option<u32> {
    let mut count = 0;
    let visited = db.snapshot().scan(&Sub::root(), &Range::default(), &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    });
    visited.is_ok().then_some(count)
}

/// Waits until `done`; a minute is far more than it takes.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A store with a database of 300 keys, most of them written out.
fn filled(folder: &Path) -> (Store, Database) {
    let store = store(folder);
    Database::create(&store, "db").unwrap().close().unwrap();
    let db = Database::open_with(&store, "db", SMALL).unwrap();
    (0..300).for_each(|key| put(&db, key));
    (store, db)
}

/// The numbers of the view's pages, the manifest's not among them.
fn pages(store: &Store) -> Vec<u64> {
    let mut numbers = Vec::new();
    store
        .pages("database/db/0")
        .list(1..u64::MAX, &mut |page| {
            numbers.push(page);
            ControlFlow::Continue(())
        })
        .unwrap();
    numbers
}

#[test]
fn a_view_with_a_damaged_page_is_built_again_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = filled(dir.path());
    db.close().unwrap();
    drop(db);
    for (turn, damage) in ["changed", "gone"].into_iter().enumerate() {
        let changes = pages(&store).into_iter().map(|page| match damage {
            "gone" => PageChange::Delete(page..page + 1),
            _ => PageChange::Put(page, Bytes::from_static(b"not what was written")),
        });
        store.pages("database/db/0").commit(changes.collect()).unwrap();
        let db = Database::open_with(&store, "db", SMALL).unwrap();
        let before = 300 + turn as u32;
        until("the view is built again", || count(&db) == Some(before));
        assert!(db.rebuilds() > 0, "{damage}");
        put(&db, before);
        assert_eq!(count(&db), Some(before + 1));
        db.close().unwrap();
    }
}

#[test]
fn a_view_without_a_readable_manifest_is_built_again_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = filled(dir.path());
    let cursor = db.changes(&Cursor::default(), 1_000).unwrap().next;
    db.close().unwrap();
    drop(db);
    let junk = PageChange::Put(MANIFEST, Bytes::from_static(&[1, 2, 3]));
    store.pages("database/db/0").commit(vec![junk]).unwrap();
    let db = Database::open_with(&store, "db", SMALL).unwrap();
    assert_eq!((count(&db), db.rebuilds()), (Some(300), 1));
    // Who followed the changes hears of what is new, and of nothing twice.
    put(&db, 300);
    let changes = db.changes(&cursor, 1_000).unwrap();
    assert_eq!((changes.changes.len(), changes.more), (1, false));
    assert_eq!(db.changes(&changes.next, 10).unwrap().changes.len(), 0);
}

#[test]
fn blocks_of_this_devices_log_that_are_gone_come_from_who_has_them() {
    let (dir, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, db) = filled(dir.path());
    let peer = Store::open(theirs.path(), &StoreKey::new([8; 32]), Default::default()).unwrap();
    let copy = peer.get(db.key()).unwrap();
    let server = store.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let line = peer.connect(server.address(), &Access::Anyone).unwrap();
    let length = log(&store, "db/0").length();
    assert!(copy.fetch(0..length).unwrap().wait(Duration::from_secs(60)));
    line.close();
    log(&store, "db/0").clear(3..9).unwrap();
    assert!(db.at_time(u64::MAX).is_err(), "what it is built of is not there");
    let _line = peer.connect(server.address(), &Access::Anyone).unwrap();
    until("the blocks are back", || log(&store, "db/0").info().held == length);
    assert_eq!(db.at_time(u64::MAX).unwrap().state_hash().unwrap(), db.snapshot().state_hash().unwrap());
}

#[test]
fn the_list_of_databases_has_a_second_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = filled(dir.path());
    db.close().unwrap();
    drop(db);
    let listed = || Database::names(&store).unwrap().contains(&"db".to_owned());
    for (turn, damaged) in [None, Some(Bytes::from_static(&[0xff; 9]))].into_iter().enumerate() {
        log(&store, "catalogue").set_user_data("databases", damaged.clone()).unwrap();
        assert!(listed(), "the first copy is {damaged:?}");
        let change = damaged.map_or(PageChange::Delete(0..1), |junk| PageChange::Put(0, junk));
        store.pages("databases").commit(vec![change]).unwrap();
        assert!(listed(), "the first copy was made whole");
        // The second is whole again with the next that is written.
        Database::join(&store, &format!("other {turn}"), [7; 32]).unwrap().close().unwrap();
    }
    assert_eq!(count(&Database::open(&store, "db").unwrap()), Some(300));
}

#[test]
fn a_database_whose_making_was_cut_short_can_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    // The log was begun, and the machine stopped before the database was in the list.
    log(&store, "db/0").append(&[Bytes::from_static(b"a founder whose keys are lost")]).unwrap();
    let db = Database::create(&store, "db").unwrap();
    put(&db, 1);
    db.close().unwrap();
    drop(db);
    let db = Database::open(&store, "db").unwrap();
    put(&db, 2);
    assert_eq!(count(&db), Some(2));
}

#[test]
fn a_view_whose_history_was_forgotten_is_built_again_from_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = filled(dir.path());
    db.checkpoint().unwrap();
    assert!(db.forget(Duration::ZERO).unwrap().blocks > 0);
    put(&db, 300);
    db.close().unwrap();
    drop(db);
    let manifest = vec![MANIFEST];
    for (turn, damaged) in [pages(&store), manifest].into_iter().enumerate() {
        let junk = |page| PageChange::Put(page, Bytes::from_static(b"\x01not what was written"));
        store.pages("database/db/0").commit(damaged.into_iter().map(junk).collect()).unwrap();
        let db = Database::open_with(&store, "db", SMALL).unwrap();
        let before = 301 + turn as u32;
        until("the view is built again", || count(&db) == Some(before));
        assert!(db.rebuilds() > 0);
        put(&db, before);
        assert_eq!(count(&db), Some(before + 1));
        db.close().unwrap();
    }
}
