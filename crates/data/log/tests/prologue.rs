//! Logs that begin with what nobody signs: the manifest names its hash.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use cloudpal_log::{
    AppendError, Create, Durability, KeyPair, Log, Manifest, MemoryStorage, Prologue, Proof, ProofRequest,
    Tree, TruncateError, UpgradeRequest,
};

fn pair() -> KeyPair {
    KeyPair::from_seed(&[1; 32])
}

fn blocks(count: u8) -> Vec<Bytes> {
    (0..count).map(|i| vec![i; 10].into()).collect()
}

/// A manifest whose prologue is the first five of [`blocks`].
fn manifest() -> Manifest {
    let mut source = Log::create(MemoryStorage::new(), Create::single([9; 32])).unwrap();
    let hash = source.tree_after(&blocks(5)).unwrap().hash();
    assert_eq!(source.append(&blocks(5), Durability::Relaxed).unwrap_err().to_string(), {
        AppendError::NotWritable.to_string()
    });
    Manifest { prologue: Some(Prologue { hash, length: 5 }), ..Manifest::single(pair().public_key()) }
}

fn log() -> Log<MemoryStorage> {
    Log::create(MemoryStorage::new(), Create::with_manifest(manifest())).unwrap().with_key_pair(pair())
}

fn ask(log: &Log<MemoryStorage>, start: u64, length: u64) -> Proof {
    let upgrade = Some(UpgradeRequest { start, length });
    log.proof(&ProofRequest { upgrade, ..Default::default() }).unwrap()
}

#[test]
fn a_log_takes_its_prologue_unsigned_and_nothing_else() {
    let mut log = log();
    assert!(matches!(log.append(&blocks(4), Durability::Relaxed), Err(AppendError::Prologue { length: 5 })));
    let mut wrong = blocks(5);
    wrong[2] = Bytes::from_static(b"no");
    assert!(matches!(
        log.append_signed(&wrong, Bytes::new(), Durability::Relaxed),
        Err(AppendError::Signature)
    ));
    log.append_signed(&blocks(5), Bytes::new(), Durability::Relaxed).unwrap();
    log.append(&blocks(3), Durability::Relaxed).unwrap();
    assert!(matches!(log.truncate(4, None, Durability::Relaxed), Err(TruncateError::Prologue { length: 5 })));
    log.truncate(5, None, Durability::Relaxed).unwrap();
}

#[test]
fn a_copy_gets_the_whole_prologue_at_once() {
    let mut author = log();
    author.append_signed(&blocks(5), Bytes::new(), Durability::Relaxed).unwrap();
    let mut copy = Log::create(MemoryStorage::new(), Create::with_manifest(manifest())).unwrap();
    // Asked for less, a peer answers with all of it.
    let proof = ask(&author, 0, 2);
    assert_eq!(proof.upgrade.as_ref().unwrap().length, 5);
    let mut forged = proof.clone();
    forged.upgrade.as_mut().unwrap().nodes[0].hash[0] ^= 1;
    assert!(copy.apply(&forged, Durability::Relaxed).unwrap_err().blames_peer());
    copy.apply(&proof, Durability::Relaxed).unwrap();

    author.append(&blocks(3), Durability::Relaxed).unwrap();
    copy.apply(&ask(&author, 5, 3), Durability::Relaxed).unwrap();
    assert_eq!(copy.tree(), author.tree());
    assert_ne!(*copy.tree(), Tree::empty(0));
}
