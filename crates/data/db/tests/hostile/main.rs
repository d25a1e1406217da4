//! A member who writes whatever may hurt: each is refused with the writer and the position, and the others work on.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod town;

use bytes::Bytes;
use cloudpal_core::{Secret, SigningKey};
use cloudpal_db::record::{Admission, Candidate, Cut, Rights, Role, Says};
use cloudpal_db::wire::{Base, Entry, EpochKey, Op};
use cloudpal_db::{Batch, Fault, Kind, Stamp, Sub, WriteError, WriterId, limits};
use cloudpal_log::codec::MAX_UINT;
use town::{NOW, OWNER, Town, entry, person, put, seen, stamp, sub};

#[test]
fn blocks_that_say_nothing() {
    let mut town = Town::new(Role::Writer);
    let header = town.shelf.logs[&town.eve.writer][0].clone();
    let good = town.sealed(&put("k", "v").encode())[0].clone();
    let bad: Vec<Bytes> = vec![
        Bytes::new(),
        vec![0xff; 500].into(),
        vec![9, 9, 9].into(),
        header,
        // Records of which there are more than could be.
        vec![2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0].into(),
        vec![2, 1, 5, 1, 2, 3, 4, 5].into(),
        good.slice(..40),
        vec![3; limits::MAX_BLOCK + 1].into(),
    ];
    let count = bad.len() as u64;
    for block in bad {
        town.push(block);
        town.work("still");
    }
    let refused = town.refused();
    assert!(refused.iter().all(|(_, fault)| matches!(fault, Fault::Block(_))), "{refused:?}");
    assert_eq!(refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (1..=count).collect::<Vec<_>>());
    // What comes behind is read.
    town.push_entry(&put("eve", "true"));
    town.work("at last");
    assert_eq!(town.ben.view().get(&Sub::root(), b"eve").unwrap().unwrap(), "true");
}

#[test]
fn entries_that_cannot_be_read() {
    let mut town = Town::new(Role::Writer);
    let long = Bytes::from(vec![b'k'; limits::MAX_KEY + 1]);
    let text = |op: Op| entry(Sub::root(), op).encode();
    let set = |key: Bytes, path: Bytes| Op::Set { sub: 0, key, path, value: Bytes::new() };
    let mut unknown = put("k", "v").encode();
    let op = unknown.len() - 6;
    unknown[op] = 77;
    let bad: Vec<Vec<u8>> = vec![
        b"\x01".to_vec(),
        vec![2; 60],
        unknown,
        // A sub-database that the entry does not name.
        text(Op::Set { sub: 1, key: Bytes::new(), path: Bytes::new(), value: Bytes::new() }),
        text(set(long.clone(), Bytes::new())),
        text(set(Bytes::new(), Bytes::from(vec![1; limits::MAX_PATH + 1]))),
        text(set(Bytes::new(), Bytes::new())).into_iter().chain([0]).collect(),
        // Sixteen million changes in no bytes.
        {
            let mut text = Entry { stamp: stamp(0), ..Entry::default() }.encode();
            text.pop();
            [&text[..], &[0xfe, 0, 0, 0, 1]].concat()
        },
    ];
    for text in &bad {
        let at = town.push_text(text);
        town.work("still");
        let last = town.refused().pop().unwrap();
        assert!(last.0 == at && matches!(last.1, Fault::Entry(_)), "{text:02x?}: {last:?}");
    }
    let at = town.push_entry(&Entry { seen: seen(town.eve.client(), 1), ..put("k", "v") });
    assert_eq!(town.refused().pop().unwrap(), (at, Fault::Future));
}

#[test]
fn changes_that_do_not_fit() {
    let mut town = Town::new(Role::Writer);
    let me = town.eve.client();
    let key = || Bytes::from("k");
    let set = |path: &[u8], value: &[u8]| Op::Set {
        sub: 0,
        key: key(),
        path: Bytes::copy_from_slice(path),
        value: Bytes::copy_from_slice(value),
    };
    let text = |update: &[u8]| Op::Text { sub: 0, key: key(), update: Bytes::copy_from_slice(update) };
    let mut theirs = vec![1, 1];
    let mut id = town.ben.me().client().get();
    while id > 127 {
        theirs.push(id as u8 | 0x80);
        id >>= 7;
    }
    theirs.extend([id as u8, 0, 4, 1, 4, b't', b'e', b'x', b't', 1, b'!', 0]);
    let deep: Vec<u8> = [2, b'a', 0, 1].repeat(limits::MAX_DEPTH + 1);
    let misfits = [
        (Kind::Register, set(b"path", b"")),
        (Kind::Register, Op::Total { sub: 0, key: key(), total: 1 }),
        (Kind::Register, text(&[0, 0])),
        (Kind::Json, set(b"no path", b"\0 1")),
        (Kind::Json, set(b"", b"\0{}")),
        (Kind::Json, set(b"", b"\0 not json")),
        (Kind::Json, set(&deep, b"\0 1")),
        (Kind::Json, text(&[0, 0])),
        (Kind::Set, set(b"not escaped", b"")),
        (Kind::Set, set(b"m\0\x01", b"a value")),
        (Kind::Counter, set(b"", b"1")),
        (Kind::Counter, Op::Clear { sub: 0, from: Bytes::new(), to: None }),
        (Kind::Text, set(b"", b"")),
        (Kind::Text, Op::Clear { sub: 0, from: Bytes::new(), to: None }),
        (Kind::Text, text(b"")),
        (Kind::Text, text(&[0xff; 40])),
        (Kind::Text, text(&theirs)),
        (Kind::Counter, Op::Index { sub: 0, path: "x".to_owned() }),
        (Kind::Json, Op::Index { sub: 0, path: "x".repeat(256) }),
    ];
    for (kind, op) in misfits {
        let at = town.push_entry(&entry(sub(kind), op.clone()));
        assert_eq!(town.refused().pop().unwrap(), (at, Fault::Change(sub(kind))), "{op:?}");
    }
    // A total that nobody can have seen: it would take what others add from now on.
    for (client, position) in [(town.ben.me().client(), MAX_UINT), (me, MAX_UINT)] {
        let bases = vec![Base { client, position, change: 0, total: i64::MIN }];
        let at = town.push_entry(&entry(sub(Kind::Counter), Op::Reset { sub: 0, key: key(), bases }));
        assert_eq!(town.refused().pop().unwrap(), (at, Fault::Future));
    }
    town.work("still");
}

#[test]
fn parts_that_are_missing_or_too_many() {
    let mut town = Town::new(Role::Writer);
    let long = put("k", &"v".repeat(2_500_000)).encode();
    // The middle one, the first one, and the last one are missing; then all are there.
    for gone in [Some(1), Some(0), Some(2), None] {
        // They are sealed for their places, so they are put there.
        let parts = town.sealed(&long);
        assert_eq!(parts.len(), 3);
        for (number, part) in parts.into_iter().enumerate() {
            town.push(if gone == Some(number) { vec![7].into() } else { part });
        }
        town.push_entry(&put(&format!("behind {gone:?}"), "v"));
        town.work(&format!("{gone:?}"));
        assert!(town.anna.view().get(&Sub::root(), format!("behind {gone:?}").as_bytes()).unwrap().is_some());
        let whole = town.ben.view().get(&Sub::root(), b"k").unwrap();
        assert_eq!(whole.is_some(), gone.is_none());
    }
    assert!(town.refused().len() >= 5, "{:?}", town.refused());
    // A part of an entry that never ends holds up nobody else.
    let first = town.sealed(&long)[0].clone();
    let at = town.push(first);
    town.work("waits");
    // It is cut within: what lies before counts.
    town.cut_eve(at + 1);
    town.work("cut");
    assert!(town.anna.view().get(&Sub::root(), b"k").unwrap().is_some());
}

#[test]
fn having_seen_what_is_not_there() {
    let mut town = Town::new(Role::Writer);
    let ben = town.ben.me().clone();
    let length = town.shelf.logs[&ben.writer].len() as u64;
    let at = town.push_entry(&Entry { seen: seen(ben.client(), length + 100), ..put("k", "lies") });
    let (anna, _) = town.settle();
    assert_eq!(anna.behind, [town.eve.writer]);
    assert!(town.anna.view().get(&Sub::root(), b"k").unwrap().is_none());
    // Ben cannot know whether it was he who lost something. He is told who says so, and where.
    let mut batch = Batch::new();
    batch.put(&Sub::root(), "x", "y");
    let refused = town.ben.prepare(&[batch], length, NOW, &mut || [1; 24]).err().unwrap();
    assert!(
        matches!(refused, WriteError::SeenMore { client, position } if client == town.eve.client() && position == at),
        "{refused:?}"
    );
    // Either he knows better, or Eve is cut.
    let mut other = Town::new(Role::Writer);
    other.push_entry(&Entry { seen: seen(ben.client(), length + 100), ..put("k", "lies") });
    other.settle();
    other.ben.disbelieve(other.eve.client());
    other.work("knows better");
    town.cut_eve(at);
    town.work("cut");

    // As to a writer whom nobody knows: she waits, and alone.
    let mut town = Town::new(Role::Writer);
    town.push_entry(&Entry { seen: seen(person(77, None).client(), 1), ..put("k", "lies") });
    town.work("on");
    assert_eq!(town.settle().0.behind, [town.eve.writer]);
}

#[test]
fn an_epoch_of_her_own() {
    let mut town = Town::new(Role::Writer);
    let own = EpochKey(Secret::new([66; 32]));
    let true_epoch = std::mem::replace(&mut town.epoch, (own.id(3), own));
    town.push_entry(&put("k", "v"));
    let (anna, ben) = town.settle();
    assert_eq!((anna.locked, ben.locked), (vec![town.eve.writer], vec![town.eve.writer]));
    town.work("on");

    // The right name and another key.
    let mut town = Town::new(Role::Writer);
    town.epoch = (true_epoch.0, EpochKey(Secret::new([67; 32])));
    let at = town.push_entry(&put("k", "v"));
    assert_eq!(town.refused().pop().unwrap(), (at, Fault::Sealed));
    // A right block in a wrong place.
    town.epoch = true_epoch;
    let block = town.sealed(&put("k", "v").encode()).remove(0);
    town.push(block.clone());
    let again = town.push(block);
    assert_eq!(town.refused().pop().unwrap(), (again, Fault::Sealed));
    town.work("on");
}

#[test]
fn stamps_out_of_this_world() {
    let mut town = Town::new(Role::Writer);
    town.push_entry(&Entry { stamp: Stamp { wall_ms: NOW + 1000, counter: MAX_UINT }, ..put("k", "v") });
    town.work("later");
    town.push_entry(&Entry { stamp: stamp(3_600_000), ..put("k", "in an hour") });
    let (anna, _) = town.settle();
    assert_eq!(anna.due_ms, Some(NOW + 3_600_000 - cloudpal_db::PATIENCE_MS));
    town.push_entry(&Entry { stamp: Stamp { wall_ms: MAX_UINT, counter: 0 }, ..put("k", "never") });
    town.work("on");
    assert_eq!(town.ben.view().get(&Sub::root(), b"k").unwrap().unwrap(), "v");
}

fn admission(candidate: Candidate, role: Role) -> Says {
    Says::Admit(Admission { candidate, name: "x".to_owned(), rights: Rights::all(role), keys: Vec::new() })
}

fn cut_of(writer: WriterId) -> Says {
    Says::Cut(Cut { writer: writer.0, length: 0, tree_hash: [0; 32], reason: String::new() })
}

#[test]
fn records_that_nobody_may_sign() {
    let mut town = Town::new(Role::Writer);
    let owner = SigningKey::from_secret(&Secret::new(OWNER));
    let mallory = person(50, None);
    let (database, ben, signer) = (town.anna.database(), town.ben.me().writer, town.eve.signer.clone());
    let before: Vec<_> =
        town.anna.members().iter().map(|(client, member)| (client, member.clone())).collect();
    let positions = [
        town.push_record(database, admission(mallory.candidate(), Role::Writer), &signer),
        town.push_record(database, cut_of(ben), &signer),
        // The owner's word in another database.
        town.push_record(mallory.writer, cut_of(ben), &owner),
        // Ben's key in Eve's log.
        town.push_record(database, cut_of(ben), &town.ben.me().signer.clone()),
    ];
    let refused = town.refused();
    assert_eq!(refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), positions);
    assert!(refused.iter().all(|(_, fault)| matches!(fault, Fault::Record(_))), "{refused:?}");
    // A name that is not the signer's: the bytes hold the signer first, as text.
    let block = town.shelf.logs[&town.eve.writer][positions[1] as usize].to_vec();
    let (name, owners) = (signer.public().to_string(), owner.public().to_string());
    let place = block.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
    let forged = [&block[..place], owners.as_bytes(), &block[place + name.len()..]].concat();
    let at = town.push(forged.into());
    assert!(matches!(town.refused().pop().unwrap(), (place, Fault::Record(_)) if place == at));
    let after: Vec<_> = town.anna.members().iter().map(|(client, member)| (client, member.clone())).collect();
    assert_eq!(before, after);
    town.work("on");
}

#[test]
fn a_manager_who_wants_more() {
    let mut town = Town::new(Role::Manager);
    let mallory = person(50, None);
    let (database, anna, signer) = (town.anna.database(), town.anna.me().writer, town.eve.signer.clone());
    let at = town.push_record(database, admission(mallory.candidate(), Role::Manager), &signer);
    assert!(matches!(town.refused().pop().unwrap(), (place, Fault::Record(_)) if place == at));
    // The founder is a manager: another manager's cut is kept, and counts for nothing.
    town.push_record(database, cut_of(anna), &signer);
    town.work("on");
    // To lift herself or somebody whom the owner admitted does not count either.
    let ben = town.ben.me().candidate();
    town.push_record(database, admission(ben, Role::Reader), &signer);
    town.work("on");
    // And what she may do: admit a writer.
    town.push_record(database, admission(mallory.candidate(), Role::Writer), &signer);
    town.work("on");
    assert!(town.anna.member(&mallory.writer).is_some());
}

#[test]
fn a_writer_with_the_short_id_of_another() {
    // Found by trying: equal in the 48 bits that entries name a writer by.
    let (one, other) = (numbered(ONE), numbered(OTHER));
    assert_eq!(one.client(), other.client());
    let mut town = Town::new(Role::Manager);
    let candidate = |writer: WriterId| Candidate { writer: writer.0, ..person(60, None).candidate() };
    town.admit(candidate(one), Role::Writer);
    let refused =
        town.anna.admit(candidate(other), String::new(), Rights::all(Role::Writer), NOW, &mut || {
            Secret::new([1; 32])
        });
    assert!(matches!(refused, Err(WriteError::ClientTaken)));
    let signer = town.eve.signer.clone();
    town.push_record(town.anna.database(), admission(candidate(other), Role::Writer), &signer);
    town.work("on");
    assert!(town.ben.member(&one).is_some() && town.ben.member(&other).is_none());
    // Not even a later word of the owner's gives it to another.
    let owner = SigningKey::from_secret(&Secret::new(OWNER));
    town.push_record(town.anna.database(), admission(candidate(other), Role::Writer), &owner);
    town.work("on");
    assert!(town.ben.member(&one).is_some() && town.ben.member(&other).is_none());
}

fn numbered(number: u64) -> WriterId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    WriterId(id)
}

const ONE: u64 = 276_066_979_128_469;
const OTHER: u64 = 633_984_270_241;

#[test]
fn many_of_everything_take_time_in_proportion() {
    let mut town = Town::new(Role::Writer);
    let signer = town.eve.signer.clone();
    // Records that count for nothing are not kept.
    for number in 0..2_000_u32 {
        let mut writer = [0; 32];
        writer[..4].copy_from_slice(&number.to_be_bytes());
        town.push_record(town.anna.database(), cut_of(WriterId(writer)), &signer);
    }
    // Having seen very many who are not there.
    let many = (0..100_000).filter_map(|number| Some((cloudpal_db::ClientId::new(number)?, 1))).collect();
    town.push_entry(&Entry { seen: many, ..put("k", "v") });
    town.shelf.asked.set(0);
    town.settle();
    let blocks: u64 = town.shelf.logs.values().map(|log| log.len() as u64).sum();
    assert!(town.shelf.asked.get() < 10 * blocks, "{} blocks were asked for", town.shelf.asked.get());
    town.work("on");
    assert_eq!(town.anna.members().iter().count(), 3);
}

#[test]
fn the_largest_of_everything_has_room() {
    let mut town = Town::new(Role::Writer);
    // Keys of zeros take twice the room in the view.
    let (key, member) = (vec![0; limits::MAX_KEY], "m".repeat(limits::MAX_PATH - 2));
    let mut batch = Batch::new();
    let name = "n".repeat(cloudpal_db::MAX_NAME);
    let json = Sub::new(name.clone(), Kind::Json).unwrap();
    let text = "t".repeat(500_000);
    batch.index(&json, "x").put(&json, key.clone(), format!(r#"{{"x":"{text}"}}"#));
    batch.put(&json, key.clone(), format!(r#"{{"x":"{text}","{}":1}}"#, "f".repeat(limits::MAX_PATH - 3)));
    batch.include(&Sub::new(name.clone(), Kind::Set).unwrap(), key.clone(), member);
    batch.put(&Sub::new(name.clone(), Kind::Text).unwrap(), key.clone(), text);
    batch.add(&Sub::new(name.clone(), Kind::Counter).unwrap(), key.clone(), i64::MAX);
    let register = Sub::new(name, Kind::Register).unwrap();
    batch.put(&register, key.clone(), vec![1; limits::MAX_VALUE]);
    let (mut cleared, mut long) = (Batch::new(), Batch::new());
    let bound = std::ops::Bound::Included(&key[..]);
    cleared.clear(&json, (bound, bound));
    long.put(&register, [&key[..], &[0]].concat(), "");
    let writer = town.ben.me().writer;
    let length = town.shelf.logs[&writer].len() as u64;
    let prepared = town.ben.prepare(&[batch, long, cleared], length, NOW, &mut || [9; 24]).unwrap();
    assert!(prepared.results[0].is_ok(), "{:?}", prepared.results[0]);
    assert!(prepared.results[2].is_ok(), "{:?}", prepared.results[2]);
    assert!(matches!(prepared.results[1], Err(WriteError::Key(_))), "{:?}", prepared.results[1]);
    town.shelf.logs.entry(writer).or_default().extend(prepared.blocks.clone());
    town.ben.commit(prepared);
    town.work("there");
    assert_eq!(town.anna.refusals().count(), 0);
}
