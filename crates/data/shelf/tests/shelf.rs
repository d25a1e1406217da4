//! What is made is found again, by name and key, with the rights and limits it was made with.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use cloudpal_core::Secret;
use cloudpal_drive::{About, DrivePath};
use cloudpal_log::Feed;
use cloudpal_shelf::{Key, Kind, Made, Options, Shelf, ShelfError, Wish, json};
use cloudpal_store::{Store, StoreKey};
use std::path::Path;
use std::sync::Arc;

fn open(dir: &Path, options: Options) -> Shelf {
    Shelf::new(Store::open(dir, &StoreKey::new([7; 32]), Default::default()).unwrap(), options).unwrap()
}

fn copy(name: &str, key: u8) -> Wish {
    Wish { copy_of: Some(Key([key; 32])), ..Wish::named(name) }
}

#[test]
fn things_are_found_by_name_and_key_after_the_store_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let wish = Wish { encryption: Some(Secret::new([9; 32])), ..Wish::named("diary") };
    let shelf = open(dir.path(), Options::default());
    let diary = shelf.create(Kind::Log, &wish).unwrap().into_item();
    shelf.log(&diary).unwrap().append(&["dear diary".into()]).unwrap();
    shelf.create(Kind::Bee, &Wish::named("diary")).unwrap();
    shelf.close().unwrap();

    let shelf = open(dir.path(), Options::default());
    for wanted in ["diary", &diary.key.to_string(), &diary.key.z32()] {
        assert_eq!(shelf.find(Kind::Log, wanted).unwrap(), diary);
    }
    assert_eq!(shelf.log(&diary).unwrap().get(0).unwrap(), "dear diary");
    assert_eq!(diary.encryption_key().unwrap().expose(), &[9; 32]);
    assert!(!format!("{diary:?}").contains(&hex(&[9; 32])));
    assert_eq!(shelf.list(Kind::Log).unwrap(), std::slice::from_ref(&diary));
    let unknown = shelf.find(Kind::Drive, &diary.key.to_string()).unwrap_err();
    assert!(matches!(unknown, ShelfError::Unknown { kind: Kind::Drive, .. }), "a log is no drive");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_wish_is_fulfilled_once() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = open(dir.path(), Options::default());
    let made = shelf.create(Kind::Log, &Wish::named("a")).unwrap();
    assert!(matches!(made, Made::New(_)));
    let again = shelf.create(Kind::Log, &Wish::named("a")).unwrap();
    assert!(matches!(&again, Made::Known(item) if *item == made.into_item()));
    let other = Wish { compat: true, ..Wish::named("a") };
    assert!(matches!(shelf.create(Kind::Log, &other), Err(ShelfError::Taken { .. })));
    let both = Wish { compat: true, encryption: Some(Secret::new([1; 32])), ..Wish::named("b") };
    assert!(matches!(shelf.create(Kind::Log, &both), Err(ShelfError::CompatEncrypted)));
    shelf.create(Kind::Log, &copy("theirs", 3)).unwrap();
    let known = shelf.create(Kind::Bee, &copy("again", 3));
    assert!(matches!(known, Err(ShelfError::Known { kind: Kind::Log, .. })));
}

#[test]
fn limits_hold_over_openings() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { items: 3, copies: 1, ..Options::default() };
    let shelf = open(dir.path(), options);
    shelf.create(Kind::Log, &copy("one", 1)).unwrap();
    assert!(matches!(shelf.create(Kind::Bee, &copy("two", 2)), Err(ShelfError::Copies { limit: 1 })));
    shelf.create(Kind::Log, &Wish::named("own")).unwrap();
    shelf.close().unwrap();
    let shelf = open(dir.path(), options);
    shelf.create(Kind::Drive, &Wish::named("third")).unwrap();
    assert!(matches!(shelf.create(Kind::Log, &Wish::named("fourth")), Err(ShelfError::Full { limit: 3 })));
}

#[test]
fn a_drive_signs_its_contents_also_as_npm_hypercore_10_does() {
    for compat in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let wish = Wish { compat, ..Wish::named("photos") };
        let path = DrivePath::new("/sea").unwrap();
        let key = {
            let shelf = open(dir.path(), Options::default());
            let item = shelf.create(Kind::Drive, &wish).unwrap().into_item();
            shelf.drive(&item).unwrap().put(&path, "salt", About::default()).unwrap();
            let key = shelf.contents(&item).unwrap().key();
            shelf.close().unwrap();
            key
        };
        let shelf = open(dir.path(), Options::default());
        let item = shelf.find(Kind::Drive, "photos").unwrap();
        let drive = shelf.drive(&item).unwrap();
        assert!(Arc::ptr_eq(&drive, &shelf.drive(&item).unwrap()), "writers share one object");
        drive.put(&path, "more salt", About::default()).unwrap();
        assert_eq!(
            (drive.get(&path).unwrap().unwrap(), shelf.contents(&item).unwrap().key()),
            ("more salt".into(), key)
        );
        let told = json::file(&drive.now(), &drive.entry(&path).unwrap().unwrap());
        assert_eq!((&told["path"], &told["bytes"]), (&"/sea".into(), &9.into()));
    }
}
