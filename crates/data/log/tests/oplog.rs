//! Logs that npm hypercore 10.38.2 wrote are taken over, and damaged ones as far as they are true.
#![allow(clippy::unwrap_used)]

use cloudpal_log::{Durability, ImportError, KeyPair, Log, MemoryStorage, OldFile, OldFiles, Oplog};
use serde_json::Value;
use std::collections::HashMap;
use std::io;

struct Files(HashMap<OldFile, Vec<u8>>);

impl OldFiles for Files {
    fn read(&self, file: OldFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = self.0.get(&file).map_or(&[][..], Vec::as_slice);
        let start = bytes.len().min(offset as usize);
        Ok(bytes[start..bytes.len().min(start.saturating_add(length))].to_vec())
    }
}

fn vectors() -> Value {
    let path = format!("{}/tests/vectors/oplog.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Hexadecimal digits with long runs of zeros written as their count: see make.mjs.
fn unpack(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, part) in text.split(['(', ')']).enumerate() {
        match place % 2 {
            0 => bytes.extend(hex::decode(part).unwrap()),
            _ => bytes.resize(bytes.len() + part.parse::<usize>().unwrap(), 0),
        }
    }
    bytes
}

fn files(vector: &Value) -> Files {
    let names = [
        (OldFile::Oplog, "oplog"),
        (OldFile::Tree, "tree"),
        (OldFile::Bitfield, "bitfield"),
        (OldFile::Data, "data"),
        (OldFile::Header, "header"),
    ];
    let files = names.into_iter().filter_map(|(file, name)| Some((file, vector["files"][name].as_str()?)));
    Files(files.map(|(file, text)| (file, unpack(text))).collect())
}

#[test]
fn a_log_of_ten_is_taken_over_and_goes_on() {
    for name in ["fresh", "flushed", "external"] {
        let vector = &vectors()[name];
        let files = files(vector);
        assert!(name != "fresh" || !Oplog::decode(&files.0[&OldFile::Oplog]).unwrap().entries.is_empty());
        let (log, imported) = Log::import(MemoryStorage::new(), &files).unwrap();
        assert_eq!(hex::encode(log.key()), vector["key"]);
        assert_eq!(log.length(), vector["length"]);
        assert_eq!(log.fork(), vector["fork"]);
        assert_eq!(hex::encode(log.tree_hash()), vector["treeHash"]);
        assert!(imported.lost.is_empty());
        for (i, held) in (0..).zip(vector["has"].as_array().unwrap()) {
            assert_eq!(log.has(i), held.as_bool().unwrap(), "{i}");
            let block = vec![i as u8; (i as usize * 37) % 300];
            assert_eq!(log.get(i).unwrap(), log.has(i).then(|| block.into()));
        }
        let big = log.user_data("big").unwrap();
        assert_eq!(big.map(|value| value.len()), (name == "external").then_some(5000));
        assert_eq!(log.user_data("colour").unwrap().unwrap(), "green");

        let pair = imported.key_pair.unwrap();
        assert_eq!(pair.public_key(), KeyPair::from_seed(&[1; 32]).public_key());
        let mut log = Log::open(log.into_storage()).unwrap().with_key_pair(pair);
        log.append(&[bytes::Bytes::from_static(b"more")], Durability::Relaxed).unwrap();
    }
}

#[test]
fn damage_is_named_or_refused_and_never_believed() {
    let vector = &vectors()["flushed"];
    let whole = files(vector);
    let (good, _) = Log::import(MemoryStorage::new(), &whole).unwrap();
    let (mut lost, mut refused) = (0, 0);
    for (file, bytes) in &whole.0 {
        for place in (0..bytes.len()).step_by(if bytes.len() > 2000 { 13 } else { 1 }) {
            let mut damaged = files(vector);
            damaged.0.get_mut(file).unwrap()[place] ^= 0x10;
            match Log::import(MemoryStorage::new(), &damaged) {
                Ok((log, imported)) => {
                    lost += imported.lost.len();
                    for i in (0..log.length()).filter(|i| log.has(*i)) {
                        let block = vec![i as u8; (i as usize * 37) % 300];
                        assert_eq!(log.get(i).unwrap().unwrap(), block, "{file:?} {place}");
                    }
                    // An older header or fewer entries are an older state of the same log.
                    assert!(log.key() == good.key() && log.length() <= good.length());
                }
                Err(ImportError::Storage(error)) => panic!("{error}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(lost > 100 && refused >= 5, "{lost} {refused}");
}
