//! Stores that find each other on a table of their own, all on this machine.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use bytes::Bytes;
use cloudpal_log::Feed;
use cloudpal_store::{Access, Options, Store, StoreKey};
use cloudpal_swarm::{Bootstrap, Node, Part, Standing, StartError, Swarm, SwarmOptions};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A table of a few nodes.
fn table() -> (Vec<Node>, Bootstrap) {
    let mut nodes = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..4 {
        let node = Node::start("127.0.0.1:0".parse().unwrap(), &addresses).unwrap();
        addresses.push(node.address().to_string());
        nodes.push(node);
    }
    addresses.truncate(1);
    (nodes, Bootstrap::Nodes(addresses))
}

fn store(number: u8) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreKey::new([number; 32]), Options::default()).unwrap();
    (dir, store)
}

fn options(bootstrap: &Bootstrap) -> SwarmOptions {
    SwarmOptions { bootstrap: bootstrap.clone(), ..SwarmOptions::default() }
}

fn announced(standing: &Standing) -> bool {
    standing.announced
}

#[test]
fn a_log_is_found_by_its_discovery_key_and_found_again() {
    let (_nodes, bootstrap) = table();
    let ((_a, ours), (_b, theirs)) = (store(1), store(2));
    let source = theirs.log("source").unwrap();
    source.append(&[Bytes::from_static(b"hello"), vec![7; 2 << 20].into()]).unwrap();
    let topic = source.info().discovery_key;
    let serving = Swarm::start(&theirs, options(&bootstrap)).unwrap();
    serving.join(topic, Part::Serve);
    let standing = serving.wait(&topic, LONG, announced);
    assert!(standing.announced, "{standing:?}");

    let copy = ours.get(source.key()).unwrap();
    let finding = Swarm::start(&ours, options(&bootstrap)).unwrap();
    finding.join(topic, Part::Find);
    assert!(copy.wait_current(LONG), "{:?}", finding.wait(&topic, Duration::ZERO, |_| true));
    assert!(copy.fetch(0..2).unwrap().wait(LONG));
    assert_eq!(copy.get(1).unwrap(), source.get(1).unwrap());
    let standing = finding.wait(&topic, LONG, |standing| standing.connected == 1);
    assert_eq!((standing.found, standing.connected), (1, 1));
    assert_eq!(finding.connections()[0].remote_key(), theirs.network_key());
    assert_eq!(serving.connections()[0].remote_key(), ours.network_key());

    // The one that serves goes away and comes back with more.
    serving.close();
    let standing = finding.wait(&topic, LONG, |standing| standing.connected == 0);
    assert_eq!(standing.connected, 0);
    source.append(&[Bytes::from_static(b"more")]).unwrap();
    let serving = Swarm::start(&theirs, options(&bootstrap)).unwrap();
    serving.join(topic, Part::Serve);
    let seen = copy.wait_change((0, 2), LONG);
    assert_eq!(seen, (0, 3), "{:?}", finding.wait(&topic, Duration::ZERO, |_| true));
    finding.close();
    serving.close();
}

#[test]
fn who_is_not_on_the_list_does_not_get_in_and_who_looks_for_nothing_finds_nothing() {
    let (_nodes, bootstrap) = table();
    let ((_a, ours), (_b, theirs), (_c, stranger)) = (store(3), store(4), store(5));
    let source = theirs.log("source").unwrap();
    source.append(&[Bytes::from_static(b"ours alone")]).unwrap();
    let topic = source.info().discovery_key;
    let access = Access::only([ours.network_key()]);
    let serving = Swarm::start(&theirs, SwarmOptions { access, ..options(&bootstrap) }).unwrap();
    serving.join(topic, Part::Serve);
    assert!(serving.wait(&topic, LONG, announced).announced);

    let (copy, stolen) = (ours.get(source.key()).unwrap(), stranger.get(source.key()).unwrap());
    let outside = Swarm::start(&stranger, options(&bootstrap)).unwrap();
    outside.join(topic, Part::Find);
    assert_eq!(outside.wait(&topic, LONG, |standing| standing.found == 1).found, 1);
    // The same table, the same log, another key: it is the list that decides.
    let inside = Swarm::start(&ours, options(&bootstrap)).unwrap();
    inside.join(topic, Part::Find);
    inside.join([6; 32], Part::Find);
    assert!(copy.wait_current(LONG));
    let connected: Vec<_> = serving.connections().iter().map(|one| one.remote_key()).collect();
    assert_eq!(connected, [ours.network_key()]);
    assert!(outside.connections().is_empty());
    assert_eq!((copy.length(), stolen.length(), stolen.peers()), (1, 0, 0));
    let standing = inside.wait(&[6; 32], LONG, |standing| standing.look_ups > 0);
    assert!(standing.look_ups > 0 && standing.found == 0, "{standing:?}");
}

#[test]
fn a_wrong_way_onto_the_table_is_told() {
    let (_dir, store) = store(7);
    let start = |nodes: &[&str]| {
        let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        Swarm::start(&store, options(&Bootstrap::Nodes(nodes))).err().unwrap()
    };
    assert!(matches!(start(&["127.0.0.1"]), StartError::Address(_)));
    assert!(matches!(start(&[]), StartError::Silent(_)));
    // A port that was free just now.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = start(&[&free.to_string()]);
    assert!(matches!(&error, StartError::Silent(nodes) if *nodes == free.to_string()), "{error}");
}
