//! One thing at a time between two or three nodes.

use crate::world::World;
use bytes::Bytes;
use cloudpal_log::replicate::{Event, Options, Order};
use cloudpal_log::{Durability, Log, MemoryStorage, StorageError};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

const REQUEST: u64 = 1;
const CANCEL: u64 = 2;
const DATA: u64 = 3;
const BITFIELD: u64 = 7;

fn numbered(count: u64) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("block {number}"))).collect()
}

/// A writer with `count` blocks connected to a copy that wants nothing yet.
fn pair(count: u64, options: Options) -> World {
    let mut world = World::new(1, options);
    world.nodes[0].append(&numbered(count));
    world.connect(0, 1, MS * 5);
    world
}

#[test]
fn a_copy_that_wants_nothing_gets_the_tree_and_no_blocks() {
    let mut world = pair(100, Options::default());
    world.run_until(LONG, "length", |world| world.nodes[1].log.length() == 100);
    world.run_for(MS * 100);
    assert_eq!(world.nodes[1].log.tree_hash(), world.nodes[0].log.tree_hash());
    assert_eq!(world.nodes[1].log.count_held(0..100), 0);
}

#[test]
fn a_range_brings_its_blocks_and_no_others() {
    let mut world = pair(1000, Options::default());
    let copy = &mut world.nodes[1];
    let want = copy.replicator.want(300..421, Order::Scattered(77), &copy.log);
    world.run_until(LONG, "range", |world| world.nodes[1].log.count_held(300..421) == 121);
    world.run_for(MS * 100);
    let copy = &world.nodes[1];
    assert_eq!(copy.log.count_held(0..1000), 121);
    assert_eq!(copy.blocks_came, 121);
    assert!(copy.events.iter().any(|event| matches!(event, Event::Done { want: done } if *done == want)));
}

#[test]
fn blocks_cost_one_node_each_when_they_come_in_order() {
    let mut world = pair(5000, Options::default());
    world.nodes[1].want_all();
    world.run_until(LONG, "copy", World::all_equal);
    world.assert_same_blocks();
    assert_eq!(world.nodes[1].blocks_came, 5000);
    // Nothing is asked for twice: a request for each block, and those for the tree.
    assert!(world.nodes[1].sent[&REQUEST] <= 5002, "{:?}", world.nodes[1].sent);
}

#[test]
fn appends_and_forks_are_followed_live() {
    let mut world = pair(50, Options::default());
    world.nodes[1].want_all();
    world.run_until(LONG, "copy", World::all_equal);
    for round in 0..20 {
        if round % 5 == 4 {
            let length = world.nodes[0].log.length();
            world.nodes[0].truncate(length - 7);
        }
        world.nodes[0].append(&numbered(1 + round));
        world.run_until(LONG, "copy", World::all_equal);
    }
    world.assert_same_blocks();
    assert_eq!(world.nodes[1].log.fork(), 4);
}

#[test]
fn pushed_blocks_come_without_a_request() {
    let mut world = pair(10, Options { allow_push: true, ..Options::default() });
    world.nodes[1].want_all();
    world.run_until(LONG, "copy", World::all_equal);
    world.run_for(MS * 100);
    let before = world.now;
    world.nodes[0].append(&numbered(20));
    world.run_until(LONG, "copy", World::all_equal);
    // One way, where asking takes three: the sync, the request and the answer.
    assert!(world.now - before <= MS * 8, "{:?}", world.now - before);
    world.assert_same_blocks();
}

#[test]
fn a_want_taken_back_is_cancelled() {
    let mut world = pair(3000, Options::default());
    let copy = &mut world.nodes[1];
    let want = copy.replicator.want(0..3000, Order::Linear, &copy.log);
    world.run_until(LONG, "some blocks", |world| world.nodes[1].log.count_held(0..3000) > 100);
    let copy = &mut world.nodes[1];
    copy.replicator.unwant(want);
    world.run_for(MS * 200);
    let copy = &world.nodes[1];
    let held = copy.log.count_held(0..3000);
    assert!(held < 2500 && copy.sent[&CANCEL] > 0, "{held} held, sent {:?}", copy.sent);
}

#[test]
fn who_has_holes_says_so_and_is_asked_for_the_rest() {
    let mut world = pair(500, Options::default());
    world.nodes[1].want_all();
    world.run_until(LONG, "copy", World::all_equal);
    world.cut(0);
    world.nodes[1].clear(100, 200);
    world.nodes[0].clear(0, 150);
    world.nodes[0].want_all();
    world.nodes[1].want_all();
    world.connect(0, 1, MS * 5);
    // 100 to 150 are gone for ever.
    world.run_until(LONG, "what is left", |world| {
        world
            .nodes
            .iter()
            .all(|node| node.log.count_held(0..100) == 100 && node.log.count_held(150..500) == 350)
    });
    assert!(world.nodes[0].sent[&BITFIELD] > 0 && world.nodes[1].sent[&BITFIELD] > 0);
    let (requests, time) = (world.nodes[0].sent[&REQUEST], world.now);
    world.run_for(MS * 1000);
    assert_eq!(world.nodes[0].sent[&REQUEST], requests, "nobody is asked for what nobody has, at {time:?}");
    // A block that comes back somewhere is found again.
    let key = *world.nodes[0].log.key();
    assert_eq!(world.nodes[1].log.key(), &key);
}

#[test]
fn a_byte_is_found_with_few_messages() {
    let mut world = pair(2000, Options::default());
    world.run_until(LONG, "length", |world| world.nodes[1].log.length() == 2000);
    let offset = world.nodes[0].log.byte_offset(1234).unwrap().unwrap();
    let copy = &mut world.nodes[1];
    let want = copy.replicator.want_byte(offset + 3, &copy.log);
    let found = move |world: &World| {
        world.nodes[1].events.iter().find_map(|event| match event {
            Event::Found { want: it, index, offset } if *it == want => Some((*index, *offset)),
            _ => None,
        })
    };
    world.run_until(LONG, "place of the byte", |world| found(world).is_some());
    assert_eq!(found(&world), Some((1234, 3)));
    assert_eq!(world.nodes[1].log.count_held(0..2000), 0);
    assert!(world.nodes[1].sent[&REQUEST] < 20, "{:?}", world.nodes[1].sent);
}

#[test]
fn extensions_talk_beside_the_log() {
    let mut world = pair(1, Options::default());
    world.run_for(MS * 50);
    let peer = world.peer(0, 1).unwrap();
    for text in ["one", "two"] {
        world.nodes[0].replicator.send_extension(peer, "test", Bytes::from_static(text.as_bytes()));
    }
    world.run_for(MS * 50);
    let got: Vec<_> = world.nodes[1]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Extension { name, message, .. } => Some((name.as_str(), message.as_ref())),
            _ => None,
        })
        .collect();
    assert_eq!(got, [("test", b"one".as_ref()), ("test", b"two".as_ref())]);
}

#[test]
fn a_full_disk_stops_the_requests_until_there_is_room() {
    let mut world = pair(3000, Options::default());
    world.nodes[1].want_all();
    world.run_until(LONG, "some blocks", |world| world.nodes[1].log.count_held(0..3000) > 100);
    world.nodes[1].storage.fail_after(Some(0));
    world.run_for(MS * 200);
    let copy = &world.nodes[1];
    let full =
        copy.events.iter().filter(|event| matches!(event, Event::Halted { error: StorageError::Full }));
    assert_eq!(full.count(), 1);
    let (requests, held) = (copy.sent[&REQUEST], copy.log.count_held(0..3000));
    world.run_for(LONG);
    assert_eq!(world.nodes[1].sent[&REQUEST], requests, "nothing is asked for while the disk is full");
    assert_eq!(world.nodes[1].log.count_held(0..3000), held);
    world.nodes[1].storage.fail_after(None);
    world.nodes[1].replicator.resume();
    world.run_until(LONG, "copy", World::all_equal);
    world.assert_same_blocks();
}

#[test]
fn a_copy_goes_on_where_it_stopped() {
    let mut world = pair(3000, Options::default());
    world.nodes[1].want_all();
    world.run_until(LONG, "some blocks", |world| world.nodes[1].log.count_held(0..3000) > 1000);
    world.cut(0);
    let before = world.nodes[1].log.count_held(0..3000);
    world.nodes[1].log = Log::<MemoryStorage>::open(world.nodes[1].storage.clone()).unwrap();
    world.nodes[1].replicator = cloudpal_log::replicate::Replicator::new(Options::default());
    world.nodes[1].blocks_came = 0;
    world.nodes[1].want_all();
    world.connect(0, 1, MS);
    world.run_until(LONG, "copy", World::all_equal);
    world.assert_same_blocks();
    assert_eq!(world.nodes[1].blocks_came, 3000 - before);
}

#[test]
fn two_sources_share_the_work() {
    let mut world = World::new(2, Options::default());
    world.nodes[0].append(&numbered(4000));
    world.nodes[1].want_all();
    world.connect(0, 1, MS);
    world.run_until(LONG, "copy", World::writer_and_first_equal);
    world.nodes[2].want_all();
    world.connect(0, 2, MS * 10);
    world.connect(1, 2, MS * 10);
    let sent =
        |world: &World| [world.nodes[0].sent[&DATA], world.nodes[1].sent.get(&DATA).copied().unwrap_or(0)];
    let before = sent(&world);
    world.run_until(LONG, "copy", World::all_equal);
    world.assert_same_blocks();
    assert_eq!(world.nodes[2].blocks_came, 4000);
    let after = sent(&world);
    assert!(after[0] - before[0] > 500 && after[1] - before[1] > 500, "{before:?} {after:?}");
}

#[test]
fn two_histories_of_one_fork_are_found_out_and_stop_the_log() {
    let mut world = World::new(2, Options::default());
    world.nodes[0].append(&numbered(10));
    world.nodes[1].want_all();
    world.connect(0, 1, MS);
    world.run_until(LONG, "copy", World::writer_and_first_equal);
    world.cut(0);
    // The writer loses its disk and writes the log again, with other blocks.
    let mut other = World::new(0, Options::default());
    other.nodes[0].append(&numbered(4));
    other.nodes[0].append(&vec![Bytes::from_static(b"something else"); 12]);
    world.nodes[0] = other.nodes.remove(0);
    world.connect(0, 1, MS);
    world.run_until(LONG, "conflict", |world| {
        world.nodes[1].events.iter().any(|event| matches!(event, Event::Conflict { .. }))
    });
    assert!(world.nodes[1].log.is_frozen());
    assert!(world.nodes[1].log.append(&numbered(1), Durability::Relaxed).is_err());
}

#[test]
fn a_silent_peer_is_passed_over() {
    let mut world = World::new(2, Options::default());
    world.nodes[0].append(&numbered(300));
    world.nodes[1].want_all();
    world.connect(0, 1, MS);
    world.run_until(LONG, "copy", World::writer_and_first_equal);
    world.nodes[1].liar = Some(crate::lie::Liar::new(crate::lie::Lie::Silence, 1));
    world.nodes[2].want_all();
    world.connect(1, 2, MS);
    world.run_for(MS * 50);
    world.connect(0, 2, MS);
    world.run_until(Duration::from_secs(40), "copy", World::all_equal);
    world.assert_same_blocks();
}
