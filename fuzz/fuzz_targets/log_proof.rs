//! A log takes any changed proof or refuses it, and never holds a block that its author did not sign.
#![no_main]
use bytes::Bytes;
use cloudpal_log::{
    BlockRequest, Create, Durability, HashRequest, KeyPair, Log, MemoryStorage, Proof, ProofRequest,
    SeekRequest, UpgradeRequest,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [length, start, many, index, parents, kind, changes @ ..] = bytes else { return };
    let pair = KeyPair::from_seed(&[1; 32]);
    let mut author = Log::create(MemoryStorage::new(), Create::single(pair.public_key()))
        .expect("empty memory takes a log")
        .with_key_pair(pair);
    let blocks: Vec<Bytes> = (0..1 + length % 40).map(|i| vec![i; usize::from(i) * 3].into()).collect();
    author.append(&blocks, Durability::Relaxed).expect("memory has room");
    let request = ProofRequest {
        fork: u64::from(kind & 128),
        block: (kind & 1 != 0)
            .then_some(BlockRequest { index: u64::from(*index), nodes: u64::from(*parents) }),
        hash: (kind & 2 != 0).then_some(HashRequest { index: u64::from(*index), nodes: u64::from(*parents) }),
        seek: (kind & 4 != 0)
            .then_some(SeekRequest { bytes: u64::from(*index) * 9, padding: u64::from(*parents) }),
        upgrade: (kind & 8 != 0)
            .then_some(UpgradeRequest { start: u64::from(*start), length: u64::from(*many) }),
        manifest: kind & 16 != 0,
    };
    let Ok(mut proof) = author.proof(&request) else { return };
    for change in changes.chunks_exact(3) {
        alter(&mut proof, change[0], change[1], change[2]);
    }
    let mut copy = Log::create(MemoryStorage::new(), Create::remote(*author.key())).expect("empty memory");
    let _ = copy.apply(&proof, Durability::Relaxed);
    for index in 0..copy.length() {
        if let Some(block) = copy.get(index).expect("memory is whole") {
            assert_eq!(block, blocks[index as usize]);
        }
    }
});

/// Changes one byte or number of the proof.
fn alter(proof: &mut Proof, what: u8, place: u8, value: u8) {
    let mut lists = Vec::new();
    lists.extend(proof.block.as_mut().map(|block| &mut block.nodes));
    lists.extend(proof.hash.as_mut().map(|hash| &mut hash.nodes));
    lists.extend(proof.seek.as_mut().map(|seek| &mut seek.nodes));
    if let Some(upgrade) = &mut proof.upgrade {
        lists.extend([&mut upgrade.nodes, &mut upgrade.additional_nodes]);
    }
    let count = lists.len().max(1);
    if let Some(node) =
        lists.get_mut(usize::from(what) % count).and_then(|nodes| nodes.get_mut(usize::from(place) % 8))
    {
        match what % 3 {
            0 => node.index = node.index.rotate_left(u32::from(value)),
            1 => node.size = node.size.wrapping_sub(u64::from(value)).rotate_left(u32::from(place)),
            _ => node.hash[usize::from(place) % 32] ^= value,
        }
        return;
    }
    match (&mut proof.block, &mut proof.upgrade) {
        (Some(block), _) if what.is_multiple_of(2) => block.index = block.index.rotate_left(u32::from(value)),
        (_, Some(upgrade)) => upgrade.length = upgrade.length.rotate_left(u32::from(value)),
        _ => proof.fork = u64::from(value),
    }
}
