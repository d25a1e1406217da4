//! Two stores over loopback.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use bytes::Bytes;
use cloudpal_core::Secret;
use cloudpal_log::{Durability, EncryptionKey, Feed, FeedError};
use cloudpal_store::{Access, LogOptions, Namespace, Session, Store, Which};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::Random;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

struct Pair {
    _dirs: [tempfile::TempDir; 2],
    ours: Store,
    theirs: Store,
}

fn pair() -> Pair {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ours =
        Store::open(dirs[0].path(), &cloudpal_store::StoreKey::new([1; 32]), Default::default()).unwrap();
    let theirs =
        Store::open(dirs[1].path(), &cloudpal_store::StoreKey::new([2; 32]), Default::default()).unwrap();
    Pair { _dirs: dirs, ours, theirs }
}

fn encrypted() -> LogOptions {
    LogOptions { encryption: Some(EncryptionKey::Log(Secret::new([8; 32]))), ..LogOptions::default() }
}

fn same(a: &Session, b: &Session) {
    assert_eq!((a.fork(), a.length(), a.byte_length()), (b.fork(), b.length(), b.byte_length()));
    assert_eq!(a.info().tree_hash, b.info().tree_hash);
    for index in 0..a.length() {
        assert_eq!(a.get(index).unwrap(), b.get(index).unwrap(), "block {index}");
    }
}

#[test]
fn a_whole_log_comes_over_and_follows() {
    for options in [LogOptions::default(), encrypted()] {
        let Pair { ours, theirs, .. } = &pair();
        let mut random = Random::new(7);
        let source = ours.open_log(Which::named(Namespace::ROOT, "source"), options.clone()).unwrap();
        let mut blocks: Vec<Bytes> = (0..300).map(|_| random.block(2000)).collect();
        for len in [0, 1, 65_499, 65_500, 65_535, 65_536, 65_537, 1 << 20] {
            blocks.push(vec![len as u8; len].into());
        }
        source.append(&blocks).unwrap();
        let server = ours.serve("127.0.0.1:0", Access::Anyone).unwrap();
        let copy = theirs.open_log(Which::Key(source.key()), options).unwrap();
        assert!(!copy.writable());
        let all = copy.fetch(0..u64::MAX).unwrap();
        theirs.connect(server.address(), &Access::Anyone).unwrap();
        assert!(copy.wait_current(LONG));
        assert_eq!(copy.length(), blocks.len() as u64);
        assert!(copy.fetch(0..copy.length()).unwrap().wait(LONG));
        same(&source, &copy);
        // Live: what is appended and cut now comes too.
        source.append(&[Bytes::from_static(b"more")]).unwrap();
        let mut seen = (0, blocks.len() as u64);
        seen = copy.wait_change(seen, LONG);
        assert_eq!(seen, (0, blocks.len() as u64 + 1));
        source.truncate(100).unwrap();
        while (copy.fork(), copy.length()) != (1, 100) {
            let now = copy.wait_change(seen, LONG);
            assert_ne!(now, seen, "the cut never came");
            seen = now;
        }
        same(&source, &copy);
        drop(all);
    }
}

#[test]
fn sparse_reading_fetches_what_it_reads() {
    let Pair { ours, theirs, .. } = &pair();
    let source = ours.log("source").unwrap();
    let blocks: Vec<Bytes> = (0..200_u64).map(|n| n.to_le_bytes().repeat(10).into()).collect();
    source.append(&blocks).unwrap();
    let server = ours.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let copy = theirs.get(source.key()).unwrap();
    theirs.connect(server.address(), &Access::Anyone).unwrap();
    assert!(copy.wait_current(LONG));
    assert_eq!(copy.get(150).unwrap(), blocks[150]);
    assert_eq!(copy.get(3).unwrap(), blocks[3]);
    assert_eq!(copy.info().held, 2);
    assert_eq!(copy.seek(80 * 77 + 5).unwrap(), (77, 5));
    copy.clear(150..151).unwrap();
    assert_eq!(copy.get_local(150).unwrap(), None);
    assert_eq!(copy.get(150).unwrap(), blocks[150]);
}

#[test]
fn what_is_held_is_not_waited_for() {
    let Pair { ours, .. } = &pair();
    let log = ours.open_log(Which::named(Namespace::ROOT, "held"), LogOptions::default()).unwrap();
    log.append(&[Bytes::from_static(b"block")]).unwrap();
    assert!(log.fetch(0..1).unwrap().wait(Duration::ZERO));
}

#[test]
fn nobody_there_is_told_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = support::open(dir.path());
    let log = store.log("a").unwrap().with_get_timeout(SHORT);
    log.append(&[Bytes::from_static(b"x")]).unwrap();
    log.clear(0..1).unwrap();
    assert!(matches!(log.get(0), Err(FeedError::Unavailable { index: 0 })));
}

#[test]
fn strangers_get_neither_a_connection_nor_a_private_log() {
    let Pair { ours, theirs, .. } = &pair();
    let friend = theirs.network_key();
    let private = LogOptions { access: Some(Access::only([[9; 32]])), ..LogOptions::default() };
    let hidden = ours.open_log(Which::named(Namespace::ROOT, "hidden"), private).unwrap();
    let open = ours.log("open").unwrap();
    for log in [&hidden, &open] {
        log.append(&[Bytes::from_static(b"x")]).unwrap();
    }
    let server = ours.serve("127.0.0.1:0", Access::only([[9; 32]])).unwrap();
    let refused = theirs.connect(server.address(), &Access::Anyone);
    let refused = refused.map(|connection| connection.wait(LONG).is_some());
    assert!(!matches!(refused, Ok(false)), "a stranger was let in");
    assert!(theirs.connect(server.address(), &Access::only([[7; 32]])).is_err());

    let server = ours.serve("127.0.0.1:0", Access::only([friend])).unwrap();
    let (copy, other) = (theirs.get(hidden.key()).unwrap(), theirs.get(open.key()).unwrap());
    let connection = theirs.connect(server.address(), &Access::only([ours.network_key()])).unwrap();
    assert_eq!(connection.remote_key(), ours.network_key());
    // The control: the same connection brings the log that is not private.
    assert_eq!(other.get_after_upgrade(), "x");
    assert_eq!(copy.length(), 0);
    assert_eq!(copy.peers(), 0);
    // The list outlives the session: with it gone, the log is found by its discovery key and still refused.
    drop(hidden);
    drop(copy);
    let copy = theirs.get(private_key(ours)).unwrap();
    assert!(!copy.wait_current(SHORT));
    // Let in, it comes.
    let allow = LogOptions { access: Some(Access::only([friend])), ..LogOptions::default() };
    let _hidden = ours.open_log(Which::named(Namespace::ROOT, "hidden"), allow).unwrap();
    assert_eq!(copy.get_after_upgrade(), "x");
}

fn private_key(store: &Store) -> [u8; 32] {
    store.log("hidden").unwrap().key()
}

trait GetAfterUpgrade {
    fn get_after_upgrade(&self) -> Bytes;
}

impl GetAfterUpgrade for Session {
    fn get_after_upgrade(&self) -> Bytes {
        while self.length() == 0 {
            assert_ne!(self.wait_change((0, 0), LONG), (0, 0), "nothing came");
        }
        self.get(0).unwrap()
    }
}

#[test]
fn a_log_that_is_not_open_is_found_by_its_discovery_key() {
    let Pair { ours, theirs, .. } = &pair();
    let key = {
        let log = ours.log("source").unwrap();
        log.append(&[Bytes::from_static(b"x")]).unwrap();
        log.key()
    };
    let server = ours.serve("127.0.0.1:0", Access::Anyone).unwrap();
    theirs.connect(server.address(), &Access::Anyone).unwrap();
    // Opened while connected, and closed on the other side.
    let copy = theirs.get(key).unwrap();
    assert_eq!(copy.get_after_upgrade(), "x");
    // Unknown there: nobody has it.
    let unknown = theirs.get([5; 32]).unwrap().with_get_timeout(SHORT);
    assert_eq!(unknown.length(), 0);
    assert!(matches!(unknown.get(0), Err(FeedError::OutOfRange { .. })));
}

/// Peers hear only of what is synced, and a writer that never pauses leaves no moment by itself at which all of it is.
#[test]
fn peers_follow_a_writer_that_never_pauses() {
    let Pair { ours, theirs, .. } = &pair();
    let source = ours.open_log(Which::named(Namespace::ROOT, "busy"), LogOptions::default()).unwrap();
    source.append(&[Bytes::from_static(b"first")]).unwrap();
    let server = ours.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let copy = theirs.open_log(Which::Key(source.key()), LogOptions::default()).unwrap();
    theirs.connect(server.address(), &Access::Anyone).unwrap();
    assert!(copy.wait_current(LONG));
    let writing = source.with_durability(Durability::Relaxed);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                writing.append(&[Bytes::from_static(b"and on")]).unwrap();
            }
        });
        let mut heard = (copy.fork(), copy.length());
        let mut news = 0;
        while news < 5 {
            let now = copy.wait_change(heard, Duration::from_secs(10));
            if now == heard {
                break;
            }
            (heard, news) = (now, news + 1);
        }
        done.store(true, Ordering::Release);
        assert_eq!(news, 5, "the copy stood at {heard:?} while the log was written");
    });
}
