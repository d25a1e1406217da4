//! Random programs over swarms of two to six nodes. Whatever happens, once it stops all have the same.

use crate::lie::{self, Liar};
use crate::world::{Chance, World};
use bytes::Bytes;
use cloudpal_log::replicate::{Event, Options, Order};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn blocks(chance: &mut Chance, most: u64) -> Vec<Bytes> {
    let count = 1 + chance.below(most);
    (0..count)
        .map(|_| {
            let size = match chance.below(10) {
                0 => 0,
                1 => 70_000,
                _ => chance.below(300),
            };
            Bytes::from(vec![chance.next() as u8; size as usize])
        })
        .collect()
}

/// What may go wrong in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Troubles {
    Links,
    LinksAndDisks,
    LinksAndLies,
}

/// Seeds from `first` on: a few, or one (`SEED=7`), or many (`SEEDS=1000`).
fn seeds(first: u64, usual: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let one: Option<u64> = number("SEED");
    let count = number("SEEDS").unwrap_or(usual);
    (first..first + count).filter(move |seed| one.is_none_or(|one| one == *seed))
}

fn run(seed: u64, troubles: Troubles) {
    eprintln!("seed {seed}");
    let chance = &mut Chance::new(seed);
    let options = Options { allow_push: chance.below(4) == 0, ..Options::default() };
    let copies = 1 + chance.below(5) as usize;
    let mut world = World::new(copies, options);
    if troubles == Troubles::LinksAndLies {
        let way = lie::ALL[chance.below(lie::ALL.len() as u64) as usize];
        eprintln!("  node 1 of {} lies: {way:?}", copies + 1);
        world.nodes[1].liar = Some(Liar::new(way, seed));
    }
    let first = blocks(chance, 300);
    world.nodes[0].append(&first);
    for number in 1..=copies {
        let node = &mut world.nodes[number];
        match chance.below(4) {
            0 => {}
            1 => {
                let start = chance.below(100);
                node.replicator.want(start..start + 1 + chance.below(200), Order::Linear, &node.log);
            }
            2 => {
                node.replicator.want(0..u64::MAX, Order::Scattered(chance.next()), &node.log);
            }
            _ => node.want_all(),
        }
    }
    for _ in 0..30 + chance.below(60) {
        act(&mut world, chance, troubles);
        world.run_for(MS * chance.below(20) as u32);
    }
    heal(&mut world);
    world.run_until(Duration::from_secs(120), "equal state", World::all_equal);
    world.assert_same_blocks();
}

fn act(world: &mut World, chance: &mut Chance, troubles: Troubles) {
    let nodes = world.nodes.len() as u64;
    match chance.below(12) {
        0..3 => {
            let more = blocks(chance, 20);
            world.nodes[0].append(&more);
        }
        3 => {
            let length = world.nodes[0].log.length();
            world.nodes[0].truncate(length - chance.below(length.min(60) + 1).min(length));
            let more = blocks(chance, 30);
            world.nodes[0].append(&more);
        }
        4..8 => {
            let (a, b) = (chance.below(nodes) as usize, chance.below(nodes) as usize);
            if a != b && !world.connected(a, b) {
                world.connect(a, b, MS * chance.below(30) as u32);
            }
        }
        8 if world.links() > 0 => world.cut(chance.below(world.links() as u64) as usize),
        9 => {
            // Only copies: nobody could bring back what the writer alone had.
            let node = &mut world.nodes[1 + chance.below(nodes - 1) as usize];
            let start = chance.below(node.log.length().max(1));
            node.clear(start, start + chance.below(50));
        }
        10 => {
            let node = &mut world.nodes[1 + chance.below(nodes - 1) as usize];
            let block = chance.below(400);
            let want = node.replicator.want_block(block, &node.log);
            if chance.below(3) == 0 {
                node.replicator.unwant(want);
            }
        }
        11 if troubles == Troubles::LinksAndDisks => {
            let node = &mut world.nodes[1 + chance.below(nodes - 1) as usize];
            node.storage.fail_after(Some(chance.below(4)));
        }
        _ => {}
    }
}

/// No more trouble: every copy is connected to the writer and wants all, and every disk has room.
fn heal(world: &mut World) {
    for number in 0..world.nodes.len() {
        if number > 0 && !world.connected(0, number) {
            world.connect(0, number, MS * 3);
        }
        let node = &mut world.nodes[number];
        node.storage.fail_after(None);
        node.replicator.resume();
        if number > 0 {
            node.want_all();
        }
    }
}

/// Seeds that once failed, and over what.
#[test]
fn swarms_that_found_something() {
    // A refusal in an old fork was taken for a block that is gone.
    run(158, Troubles::Links);
    // An empty log's answer without an upgrade left everyone waiting for it.
    run(200_171, Troubles::LinksAndLies);
    // After a reorganisation nodes of the old fork were still in memory: an honest proof looked wrong.
    run(100_898, Troubles::LinksAndDisks);
}

#[test]
fn swarms_with_links_that_break() {
    seeds(1, 40).for_each(|seed| run(seed, Troubles::Links));
}

#[test]
fn swarms_with_disks_that_fill() {
    seeds(100_000, 30).for_each(|seed| run(seed, Troubles::LinksAndDisks));
}

#[test]
fn swarms_with_a_peer_that_lies() {
    seeds(200_000, 45).for_each(|seed| run(seed, Troubles::LinksAndLies));
}

#[test]
fn a_liar_is_named_and_another_asked() {
    for (number, way) in
        [lie::Lie::Bodies, lie::Lie::Nodes, lie::Lie::Signatures, lie::Lie::Indexes].into_iter().enumerate()
    {
        // The liar has it all and is nearer than the writer.
        let mut world = World::new(2, Options::default());
        let chance = &mut Chance::new(number as u64 + 1);
        let first = blocks(chance, 200);
        world.nodes[0].append(&first);
        world.nodes[1].want_all();
        world.connect(0, 1, MS);
        world.run_until(Duration::from_secs(10), "copy", World::writer_and_first_equal);
        world.nodes[1].liar = Some(Liar::new(way, 1));
        world.nodes[2].want_all();
        world.connect(1, 2, MS);
        world.run_for(MS * 50);
        world.connect(0, 2, MS * 20);
        world.run_until(Duration::from_secs(10), "equal state", World::all_equal);
        world.assert_same_blocks();
        let named = world.nodes[2].events.iter().any(|event| matches!(event, Event::Misbehaved { .. }));
        assert!(named, "{way:?}");
    }
}
