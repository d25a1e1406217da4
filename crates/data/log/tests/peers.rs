//! A copy follows an author by proofs alone, over random programs, with liars between: it never holds a block that the
//! author did not sign, and gets everything in the end. `SEED=n` runs one program.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use cloudpal_log::{
    Applied, BlockRequest, Create, Durability, HashRequest, KeyPair, Log, MemoryStorage, Node, Proof,
    ProofError, ProofRequest, Seek, SeekRequest, Slot, Table, UpgradeRequest,
};
use common::{Random, seeds};

type MemoryLog = Log<MemoryStorage>;

fn pair() -> KeyPair {
    KeyPair::from_seed(&[5; 32])
}

fn author() -> MemoryLog {
    let create = Create::single(pair().public_key());
    Log::create(MemoryStorage::new(), create).unwrap().with_key_pair(pair())
}

fn copy_of(author: &MemoryLog) -> MemoryLog {
    Log::create(MemoryStorage::new(), Create::remote(*author.key())).unwrap()
}

/// Asks for something that the copy lacks, as a peer would.
fn ask(random: &mut Random, copy: &MemoryLog, author: &MemoryLog) -> ProofRequest {
    let mut request =
        ProofRequest { fork: copy.fork(), manifest: copy.manifest().is_none(), ..Default::default() };
    let (have, all) = (copy.length(), author.length());
    if all > have && (have == 0 || random.once_in(3)) {
        request.upgrade = Some(UpgradeRequest { start: have, length: 1 + random.below(all - have) });
    }
    let end = request.upgrade.map_or(have, |upgrade| upgrade.start + upgrade.length);
    let index = random.below(end);
    // Nodes of what is new come from the upgrade's own.
    let parents = |index: u64| if index < 2 * have { copy.missing_nodes(index).unwrap() } else { 0 };
    match random.below(4) {
        0 if request.upgrade.is_none() => {
            request.hash = Some(HashRequest { index: 2 * index, nodes: parents(2 * index) });
        }
        1 if request.upgrade.is_some() => {
            request.seek = Some(SeekRequest { bytes: random.below(author.byte_length() + 1), padding: 0 });
        }
        _ => request.block = Some(BlockRequest { index, nodes: parents(2 * index) }),
    }
    request
}

/// Changes one thing.
fn lie(random: &mut Random, proof: &Proof) -> Proof {
    let mut proof = proof.clone();
    let mut all: Vec<&mut Vec<Node>> = Vec::new();
    match random.below(3) {
        0 => {
            if let Some(block) = &mut proof.block {
                let mut value = block.value.to_vec();
                value.push(random.next() as u8);
                if random.once_in(2) {
                    block.value = value.into();
                } else {
                    block.index = block.index.wrapping_add(1 + random.below(5));
                }
                return proof;
            }
        }
        1 => {
            if let Some(upgrade) = &mut proof.upgrade {
                match random.below(3) {
                    0 => {
                        let mut signature = upgrade.signature.to_vec();
                        let place = random.below(signature.len() as u64) as usize;
                        signature[place] ^= 1 << random.below(8);
                        upgrade.signature = signature.into();
                    }
                    1 => upgrade.length = random.next(),
                    _ => proof.fork += 1,
                }
                return proof;
            }
        }
        _ => {}
    }
    all.extend(proof.block.as_mut().map(|block| &mut block.nodes));
    all.extend(proof.hash.as_mut().map(|hash| &mut hash.nodes));
    all.extend(proof.seek.as_mut().map(|seek| &mut seek.nodes));
    if let Some(upgrade) = &mut proof.upgrade {
        all.extend([&mut upgrade.nodes, &mut upgrade.additional_nodes]);
    }
    if all.is_empty() {
        return proof;
    }
    let which = random.below(all.len() as u64) as usize;
    let nodes = &mut all[which];
    if nodes.is_empty() {
        nodes.push(Node { index: random.below(100), size: random.next(), hash: [1; 32] });
        return proof;
    }
    let place = random.below(nodes.len() as u64) as usize;
    match random.below(5) {
        0 => nodes[place].hash[random.below(32) as usize] ^= 1 << random.below(8),
        1 => nodes[place].size = random.next(),
        2 => nodes[place].index = random.next() >> random.below(64),
        3 => drop(nodes.remove(place)),
        _ => nodes.insert(place, nodes[place]),
    }
    proof
}

/// Whatever the copy holds is the author's.
fn faithful(copy: &MemoryLog, author: &MemoryLog) {
    assert!(copy.length() <= author.length());
    for index in 0..copy.length() {
        if let Some(block) = copy.get(index).unwrap() {
            assert_eq!(block, author.get(index).unwrap().unwrap());
        }
    }
    if copy.length() == author.length() {
        assert_eq!(copy.tree_hash(), author.tree_hash());
    }
}

fn deliver(random: &mut Random, copy: &mut MemoryLog, author: &MemoryLog) -> u64 {
    let request = ask(random, copy, author);
    let Ok(proof) = author.proof(&request) else {
        // A seek and a block may not go together; nothing else may be refused.
        assert!(request.seek.is_some(), "{request:?}");
        return 0;
    };
    let mut caught = 0;
    if random.once_in(2) {
        let before = copy.storage().dump();
        let lie = lie(random, &proof);
        match copy.apply(&lie, Durability::Relaxed) {
            Ok(_) => faithful(copy, author),
            Err(error) => {
                caught += u64::from(error.blames_peer());
                assert!(!matches!(error, ProofError::Storage(_)), "{error:?}");
                assert_eq!(copy.storage().dump(), before);
            }
        }
    }
    // The lie may have been true enough to change the copy; then the answer may be late.
    match copy.apply(&proof, Durability::Relaxed) {
        Ok(Applied { block, .. }) => assert_eq!(block, request.block.map(|block| block.index)),
        Err(ProofError::Stale { .. } | ProofError::Untied { .. }) => {}
        Err(error) => panic!("{error:?} {request:?}"),
    }
    caught
}

#[test]
fn a_copy_gets_everything_and_nothing_else() {
    let mut caught = 0;
    let seeds = seeds(40);
    for seed in &seeds {
        println!("seed {seed}");
        let mut random = Random(*seed);
        let mut author = author();
        author.append(&random.blocks(30), Durability::Relaxed).unwrap();
        let mut copy = copy_of(&author);
        for _ in 0..120 {
            if random.once_in(10) {
                author.append(&random.blocks(30), Durability::Relaxed).unwrap();
            }
            caught += deliver(&mut random, &mut copy, &author);
            faithful(&copy, &author);
        }
        let mut copy = Log::open(copy.into_storage()).unwrap();
        fetch_all(&mut copy, &author);
        assert_eq!(copy.contiguous_length(), author.length());
        assert_eq!(copy.tree(), author.tree());
    }
    assert!(caught > 10 * seeds.len() as u64, "only {caught} lies were seen through");
}

/// Everything that is missing, in one commit.
fn fetch_all(copy: &mut MemoryLog, author: &MemoryLog) {
    if copy.length() < author.length() {
        let upgrade = Some(UpgradeRequest { start: copy.length(), length: author.length() - copy.length() });
        let request = ProofRequest { fork: copy.fork(), upgrade, ..Default::default() };
        copy.apply(&author.proof(&request).unwrap(), Durability::Relaxed).unwrap();
    }
    let missing: Vec<u64> = (0..copy.length()).filter(|index| !copy.has(*index)).collect();
    let proofs: Vec<Proof> = missing
        .iter()
        .map(|index| {
            let nodes = copy.missing_nodes(2 * index).unwrap();
            let block = Some(BlockRequest { index: *index, nodes });
            author.proof(&ProofRequest { fork: copy.fork(), block, ..Default::default() }).unwrap()
        })
        .collect();
    for applied in copy.apply_all(&proofs, Durability::Relaxed).unwrap() {
        applied.unwrap();
    }
    faithful(copy, author);
}

fn whole(log: &MemoryLog) -> Proof {
    let upgrade = Some(UpgradeRequest { start: 0, length: log.length() });
    log.proof(&ProofRequest { fork: log.fork(), upgrade, ..Default::default() }).unwrap()
}

#[test]
fn a_fork_is_followed_and_what_is_common_is_kept() {
    for seed in seeds(60) {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut author = author();
        author.append(&random.blocks(60), Durability::Relaxed).unwrap();
        let mut copy = copy_of(&author);
        let first = author.proof(&ProofRequest {
            upgrade: Some(UpgradeRequest { start: 0, length: author.length() }),
            manifest: true,
            ..Default::default()
        });
        copy.apply(&first.unwrap(), Durability::Relaxed).unwrap();
        fetch_all(&mut copy, &author);
        for _ in 0..5 {
            let common = author.length() - random.below(author.length().min(30) + 1);
            author.truncate(common, None, Durability::Relaxed).unwrap();
            author.append(&random.blocks(40), Durability::Relaxed).unwrap();
            let before = copy.length();

            let mut forged = whole(&author);
            forged.upgrade.as_mut().unwrap().nodes[0].hash[0] ^= 1;
            assert!(copy.begin_reorg(&forged).unwrap_err().blames_peer());

            let mut reorg = copy.begin_reorg(&whole(&author)).unwrap();
            while let Some(want) = reorg.want().cloned() {
                let index = 2 * (want.blocks.start + random.below(want.blocks.end - want.blocks.start));
                let hash = Some(HashRequest { index, nodes: want.nodes });
                let request = ProofRequest { fork: author.fork(), hash, ..Default::default() };
                let proof = author.proof(&request).unwrap();
                let _ = copy.advance_reorg(&mut reorg, &lie(&mut random, &proof));
                copy.advance_reorg(&mut reorg, &proof).unwrap();
            }
            // Equal blocks may follow the cut by chance, so the common part may be longer.
            assert!(reorg.ancestors() >= common.min(before), "{} {common}", reorg.ancestors());
            let kept = reorg.ancestors();
            copy.finish_reorg(reorg, Durability::Relaxed).unwrap();
            assert_eq!((copy.tree(), copy.fork()), (author.tree(), author.fork()));
            assert!(copy.contiguous_length() >= kept);
            faithful(&copy, &author);
            copy = Log::open(copy.into_storage()).unwrap();
            fetch_all(&mut copy, &author);
        }
    }
}

#[test]
fn a_copy_whose_tree_is_damaged_gets_it_again_from_its_peer() {
    for seed in seeds(30) {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut author = author();
        author
            .append(&(0..100).map(|i| vec![i; 5].into()).collect::<Vec<Bytes>>(), Durability::Relaxed)
            .unwrap();
        let storage = MemoryStorage::new();
        let mut copy = Log::create(storage.clone(), Create::remote(*author.key())).unwrap();
        copy.apply(&author.proof(&ask_all(&author)).unwrap(), Durability::Relaxed).unwrap();
        fetch_all(&mut copy, &author);
        let lost = random.below(90);
        copy.clear(lost..lost + 10, Durability::Relaxed).unwrap();
        // The record of the last blocks holds roots; without them a log does not open.
        let slots: Vec<Slot> =
            (0..12).filter(|_| random.once_in(2)).map(|key| Slot::new(Table::Tree, key)).collect();
        let roots = [Slot::new(Table::Tree, 7), Slot::new(Table::Tree, 11)];
        for slot in slots.iter().filter(|slot| !roots.contains(slot)) {
            storage.damage(*slot, Some(Bytes::from_static(b"damage")));
        }
        let mut copy = Log::open(storage).unwrap();
        fetch_all(&mut copy, &author);
        assert_eq!(copy.contiguous_length(), 100);
    }
}

#[test]
fn sizes_that_no_hash_covers_are_not_believed_for_long() {
    for seed in seeds(30) {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut author = author();
        let blocks: Vec<Bytes> = (0..64_u8).map(|i| vec![i; 10 + usize::from(i)].into()).collect();
        author.append(&blocks, Durability::Relaxed).unwrap();
        let mut copy = copy_of(&author);
        copy.apply(&author.proof(&ask_all(&author)).unwrap(), Durability::Relaxed).unwrap();
        // A node and its sibling, both only told, with bytes moved from one to the other: the sum is right.
        let liar = |random: &mut Random, copy: &mut MemoryLog| {
            let index = random.below(126);
            let nodes = copy.missing_nodes(index).unwrap();
            let hash = Some(HashRequest { index, nodes });
            let request = ProofRequest { hash, ..Default::default() };
            let mut proof = author.proof(&request).unwrap();
            let told = &mut proof.hash.as_mut().unwrap().nodes;
            if told.len() > 1 && told[1].size > 3 {
                told[0].size += 3;
                told[1].size -= 3;
            }
            copy.apply(&proof, Durability::Relaxed).unwrap();
        };
        for _ in 0..20 {
            liar(&mut random, &mut copy);
        }
        // Whoever seeks and looks at the block that was found ends at the right one.
        for _ in 0..20 {
            let byte = random.below(author.byte_length());
            let found = loop {
                let index = match copy.seek(byte).unwrap() {
                    Seek::Found { index, offset } if copy.has(index) => break (index, offset),
                    Seek::Found { index, .. } => index,
                    Seek::Within(blocks) => blocks.start,
                    Seek::Past => panic!("{byte} is not past the end"),
                };
                let block = Some(BlockRequest { index, nodes: copy.missing_nodes(2 * index).unwrap() });
                let request = ProofRequest { block, ..Default::default() };
                copy.apply(&author.proof(&request).unwrap(), Durability::Relaxed).unwrap();
                liar(&mut random, &mut copy);
            };
            assert_eq!(Seek::Found { index: found.0, offset: found.1 }, author.seek(byte).unwrap());
        }
        fetch_all(&mut copy, &author);
        for index in 0..64 {
            assert_eq!(copy.byte_offset(index).unwrap(), author.byte_offset(index).unwrap());
        }
    }
}

fn ask_all(log: &MemoryLog) -> ProofRequest {
    let upgrade = Some(UpgradeRequest { start: 0, length: log.length() });
    ProofRequest { upgrade, manifest: true, ..Default::default() }
}

#[test]
fn two_signed_histories_are_seen() {
    let mut one = author();
    let mut two = author();
    one.append(&[Bytes::from_static(b"a"), Bytes::from_static(b"b")], Durability::Relaxed).unwrap();
    two.append(&[Bytes::from_static(b"a")], Durability::Relaxed).unwrap();
    assert_eq!(one.check_conflict(&whole(&two)).unwrap(), None);
    two.append(&[Bytes::from_static(b"c"), Bytes::from_static(b"d")], Durability::Relaxed).unwrap();
    let request = UpgradeRequest { start: 0, length: 2 };
    let proof = two.proof(&ProofRequest { upgrade: Some(request), ..Default::default() }).unwrap();
    let conflict = one.check_conflict(&proof).unwrap().unwrap();
    assert_eq!((conflict.fork, conflict.length), (0, 2));
    let auth = one.auth().unwrap();
    for (tree, signature) in [&conflict.ours, &conflict.theirs] {
        assert!(auth.verify(tree, signature));
    }
    assert_ne!(conflict.ours.0, conflict.theirs.0);

    one.freeze(Durability::Relaxed).unwrap();
    let mut one = Log::open(one.into_storage()).unwrap().with_key_pair(pair());
    assert!(one.is_frozen() && !one.writable());
    assert!(one.append(&[Bytes::new()], Durability::Relaxed).is_err());
    assert!(matches!(one.apply(&proof, Durability::Relaxed), Err(ProofError::Frozen)));
    assert_eq!(one.get(1).unwrap().unwrap(), "b");
}
