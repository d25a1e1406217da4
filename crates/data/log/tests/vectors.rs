//! What npm hypercore 11.37.1 and 10.38.2 wrote (tests/vectors/make.mjs), made again here: equal byte by byte.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use cloudpal_core::Secret;
use cloudpal_log::{
    BlockRequest, Create, Durability, EncryptionKey, HashRequest, KeyPair, Log, Manifest, MemoryStorage,
    Node, PartialSignature, Proof, ProofRequest, RequestError, SeekRequest, Signer, UpgradeProof,
    UpgradeRequest, hash,
};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Bytes {
    hex::decode(value.as_str().unwrap()).unwrap().into()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value)[..].try_into().unwrap()
}

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

/// As in make.mjs.
fn block(i: u64) -> Bytes {
    vec![i as u8; (i as usize * 37) % 300].into()
}

fn blocks(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(block).collect()
}

fn new_log(create: Create, signer: u8) -> Log<MemoryStorage> {
    Log::create(MemoryStorage::new(), create).unwrap().with_key_pair(pair(signer))
}

fn node(value: &Value) -> Node {
    Node { index: value[0].as_u64().unwrap(), size: value[1].as_u64().unwrap(), hash: array(&value[2]) }
}

fn nodes(value: &Value) -> Vec<Node> {
    value.as_array().unwrap().iter().map(node).collect()
}

#[test]
fn manifests_have_the_same_bytes_and_keys() {
    let all = vectors("manifests");
    assert_eq!(all.as_object().unwrap().len(), 12);
    for (name, vector) in all.as_object().unwrap() {
        println!("{name}");
        let manifest = Manifest::decode(&bytes(&vector["bytes"])).unwrap();
        assert_eq!(manifest.encode(), bytes(&vector["bytes"]));
        assert_eq!(manifest.key(), array(&vector["key"]));
        for cut in 0..manifest.encode().len() {
            assert!(Manifest::decode(&manifest.encode()[..cut]).is_err());
        }
    }
    assert_eq!(Manifest::single(pair(1).public_key()).encode(), bytes(&all["single"]["bytes"]));
}

#[test]
fn the_same_operations_make_the_same_trees_and_signatures() {
    let key = pair(1).public_key();
    let old =
        Manifest { version: 0, ..Manifest::quorum(1, vec![Signer { namespace: [9; 32], public_key: key }]) };
    for (name, create) in [
        ("default11", Create::single(key)),
        ("default10", Create::single(key)),
        ("compat11", Create::compat(key)),
        ("compat10", Create::compat(key)),
        ("v0", Create::with_manifest(old)),
    ] {
        let vector = &vectors("states")[name];
        let mut log = new_log(create, 1);
        assert_eq!(*log.key(), array(&vector["key"]), "{name}");
        assert_eq!(*log.discovery_key(), array(&vector["discoveryKey"]));
        for (step, expected) in vector["steps"].as_array().unwrap().iter().enumerate() {
            if let Some(count) = expected["append"].as_u64() {
                let first = log.length();
                log.append(&blocks(first..first + count), Durability::Relaxed).unwrap();
            } else {
                let fork = expected["toFork"].as_u64();
                log.truncate(expected["truncate"].as_u64().unwrap(), fork, Durability::Relaxed).unwrap();
            }
            let at = format!("{name}, step {step}");
            assert_eq!(log.length(), expected["length"], "{at}");
            assert_eq!(log.byte_length(), expected["byteLength"], "{at}");
            assert_eq!(log.fork(), expected["fork"], "{at}");
            assert_eq!(log.tree_hash(), array(&expected["treeHash"]), "{at}");
            assert_eq!(*log.signature(), bytes(&expected["signature"]), "{at}");
            assert_eq!(log.contiguous_length(), log.length());
        }
        let opened = Log::open(log.into_storage()).unwrap();
        for i in 0..opened.length() {
            assert_eq!(opened.get(i).unwrap().unwrap(), block(i));
        }
    }
}

#[test]
fn encrypted_blocks_are_the_same() {
    let secret = Secret::new([42; 32]);
    let key = pair(1).public_key();
    for (name, encryption) in [
        ("default11", EncryptionKey::Log(secret.clone())),
        ("default10", EncryptionKey::Log(secret.clone())),
        ("block11", EncryptionKey::Block(secret.clone())),
    ] {
        let vector = &vectors("encrypted")[name];
        let mut log = new_log(Create::single(key), 1).with_encryption(encryption);
        log.append(&blocks(0..3), Durability::Relaxed).unwrap();
        log.truncate(2, Some(5), Durability::Relaxed).unwrap();
        log.append(&blocks(2..4), Durability::Relaxed).unwrap();
        for (i, expected) in (0..).zip(vector["blocks"].as_array().unwrap()) {
            assert_eq!(log.get_raw(i).unwrap().unwrap(), bytes(expected), "{name} {i}");
            assert_eq!(log.get(i).unwrap().unwrap(), block(i), "{name} {i}");
        }
        assert_eq!(log.byte_length(), vector["byteLength"]);
        assert_eq!(log.tree_hash(), array(&vector["treeHash"]));
        assert_eq!(*log.signature(), bytes(&vector["signature"]));
    }
}

#[test]
fn encrypted_compat_logs_are_read_and_not_written() {
    let vector = &vectors("encrypted")["compat10"];
    let mut log = Log::create(MemoryStorage::new(), Create::compat(array(&vector["key"]))).unwrap();
    let stored: Vec<Bytes> = vector["blocks"].as_array().unwrap().iter().map(bytes).collect();
    // The log was cut once, to fork 5: make that fork, then take the rest as signed.
    let mut author = new_log(Create::compat(array(&vector["key"])), 1);
    author.append(&stored[..3], Durability::Relaxed).unwrap();
    author.truncate(2, Some(5), Durability::Relaxed).unwrap();
    author.append_signed(&stored[2..], bytes(&vector["signature"]), Durability::Relaxed).unwrap();
    let request = ProofRequest {
        fork: 5,
        upgrade: Some(UpgradeRequest { start: 0, length: 4 }),
        ..ProofRequest::default()
    };
    let reorg = log.begin_reorg(&author.proof(&request).unwrap()).unwrap();
    log.finish_reorg(reorg, Durability::Relaxed).unwrap();
    for index in 0..4 {
        let nodes = log.missing_nodes(2 * index).unwrap();
        let request = ProofRequest { fork: 5, block: Some(BlockRequest { index, nodes }), ..request };
        let request = ProofRequest { upgrade: None, ..request };
        log.apply(&author.proof(&request).unwrap(), Durability::Relaxed).unwrap();
    }
    let mut log = log.with_encryption(EncryptionKey::Log(Secret::new([42; 32]))).with_key_pair(pair(1));
    for i in 0..4 {
        assert_eq!(log.get(i).unwrap().unwrap(), block(i));
    }
    assert_eq!(log.byte_length(), vector["byteLength"]);
    assert!(log.append(&blocks(4..5), Durability::Relaxed).is_err());
}

fn request(value: &Value) -> ProofRequest {
    let number = |value: &Value| value.as_u64().unwrap();
    let there = |name: &str| value.get(name).filter(|value| !value.is_null());
    ProofRequest {
        fork: 0,
        block: there("block")
            .map(|b| BlockRequest { index: number(&b["index"]), nodes: number(&b["nodes"]) }),
        hash: there("hash").map(|h| HashRequest { index: number(&h["index"]), nodes: number(&h["nodes"]) }),
        seek: there("seek")
            .map(|s| SeekRequest { bytes: number(&s["bytes"]), padding: number(&s["padding"]) }),
        upgrade: there("upgrade")
            .map(|u| UpgradeRequest { start: number(&u["start"]), length: number(&u["length"]) }),
        manifest: false,
    }
}

fn same(ours: &Proof, theirs: &Value) {
    let length = |value: &Value| value["length"].as_u64().unwrap();
    match (&ours.block, theirs["block"].is_null()) {
        (Some(block), false) => assert_eq!(block.nodes, nodes(&theirs["block"]["nodes"])),
        (None, true) => {}
        _ => panic!("block"),
    }
    match (&ours.hash, theirs["hash"].is_null()) {
        (Some(hash), false) => assert_eq!(hash.nodes, nodes(&theirs["hash"]["nodes"])),
        (None, true) => {}
        _ => panic!("hash"),
    }
    match (&ours.seek, theirs["seek"].is_null()) {
        (Some(seek), false) => assert_eq!(seek.nodes, nodes(&theirs["seek"]["nodes"])),
        (None, true) => {}
        _ => panic!("seek"),
    }
    let expected =
        Some(&theirs["upgrade"]).filter(|upgrade| !upgrade.is_null()).map(|upgrade| UpgradeProof {
            start: upgrade["start"].as_u64().unwrap(),
            length: length(upgrade),
            nodes: nodes(&upgrade["nodes"]),
            additional_nodes: nodes(&upgrade["additionalNodes"]),
            signature: bytes(&upgrade["signature"]),
        });
    assert_eq!(ours.upgrade, expected);
}

#[test]
fn proofs_are_the_same_node_by_node_and_hold() {
    let mut log = new_log(Create::single(pair(1).public_key()), 1);
    log.append(&blocks(0..50), Durability::Relaxed).unwrap();
    let all = vectors("proofs");
    assert_eq!(all.as_array().unwrap().len(), 29);
    for vector in all.as_array().unwrap() {
        println!("{}", vector["request"]);
        let request = request(&vector["request"]);
        let ours = log.proof(&request);
        if vector["answer"].is_null() {
            assert!(matches!(ours, Err(RequestError::Invalid(_) | RequestError::NotHeld)), "{ours:?}");
            continue;
        }
        let ours = ours.unwrap();
        same(&ours, &vector["answer"]);
        // Whoever begins with nothing can check those that begin there.
        if request.upgrade.is_some_and(|upgrade| upgrade.start == 0) {
            let create = Create::with_manifest(log.manifest().unwrap().clone());
            let mut copy = Log::create(MemoryStorage::new(), create).unwrap();
            let applied = copy.apply(&ours, Durability::Relaxed).unwrap();
            assert_eq!(applied.upgraded, Some((0, 50)));
            assert_eq!(applied.block, request.block.map(|block| block.index));
            assert_eq!(copy.tree_hash(), log.tree_hash());
        }
    }
}

#[test]
fn several_signers_sign_the_same() {
    let all = vectors("several");
    assert_eq!(all.as_array().unwrap().len(), 6);
    for vector in all.as_array().unwrap() {
        println!("version {} patch {}", vector["version"], vector["allowPatch"]);
        let manifest = Manifest::decode(&bytes(&vector["bytes"])).unwrap();
        assert_eq!(manifest.key(), array(&vector["key"]));
        let parts: Vec<PartialSignature> = vector["parts"].as_array().unwrap().iter().map(part).collect();
        let signature = bytes(&vector["signature"]);
        assert_eq!(manifest.assemble(&parts), signature);

        // Our own signers make the same parts: the second has three blocks more when a patch is allowed.
        let mut longer = Log::create(MemoryStorage::new(), Create::with_manifest(manifest.clone())).unwrap();
        let auth = longer.auth().unwrap().clone();
        let more = if parts[0].patch > 0 { 8 } else { 5 };
        let tree = longer.tree_after(&blocks(0..more)).unwrap();
        assert_eq!(auth.sign_part(&tree, &pair(2)).unwrap().signature, parts[0].signature);
        let tree = longer.tree_after(&blocks(0..5)).unwrap();
        assert_eq!(auth.sign_part(&tree, &pair(3)).unwrap(), parts[1]);

        let mut forged = signature.to_vec();
        forged[5] ^= 1;
        assert!(longer.append_signed(&blocks(0..5), forged.into(), Durability::Relaxed).is_err());
        assert!(longer.append_signed(&blocks(0..6), signature.clone(), Durability::Relaxed).is_err());
        longer.append_signed(&blocks(0..5), signature, Durability::Relaxed).unwrap();
        assert_eq!(longer.tree_hash(), array(&vector["treeHash"]));
    }
}

fn part(value: &Value) -> PartialSignature {
    PartialSignature {
        signer: value["signer"].as_u64().unwrap(),
        signature: array(&value["signature"]),
        patch: value["patch"].as_u64().unwrap(),
        nodes: nodes(&value["nodes"]),
    }
}

#[test]
fn a_capability_is_bound_to_the_handshake() {
    let [a, b] = [[1; 64], [2; 64]].map(|hs| hash::capability(&hash::REPLICATE_INITIATOR, &[3; 32], &hs));
    assert_ne!(a, b);
}
