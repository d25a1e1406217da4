//! Equal to npm hyperdrive: vectors/make.mjs wrote vectors/drives.json by running it.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use cloudpal_core::Secret;
use cloudpal_drive::*;
use cloudpal_log::{
    Create, EncryptionKey, Feed, FeedError, KeyPair, Log, Manifest, MemoryFeed, MemoryStorage, hash,
};
use common::*;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/drives.json")).unwrap()
}

fn key(value: &Value) -> [u8; 32] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn off() -> Options {
    Options { dedup: Dedup::Off, ..Options::default() }
}

/// Does what JS did and returns the drive with the questions it asked about its blob log.
fn replay(vector: &Value) -> (TestDrive, Vec<BlobLog>) {
    let manifest = Manifest::decode(&hex::decode(vector["manifest"].as_str().unwrap()).unwrap()).unwrap();
    let (map, blobs) = (TestFeed::new(key(&vector["key"])), TestFeed::new(key(&vector["blobsKey"])));
    let logs = TestLogs::new(Some(manifest.clone()), blobs.clone());
    let asked = logs.asked.clone();
    let drive = Drive::open(map.clone(), logs, off()).unwrap();
    run_program(&drive, vector);
    let asked = asked.lock().unwrap().clone();
    (TestDrive { map, blobs, manifest, drive }, asked)
}

fn run_program(drive: &Drive, vector: &Value) {
    let mut steps = 0;
    for step in vector["program"].as_array().unwrap() {
        let at = path(step[1].as_str().unwrap());
        match step[0].as_str().unwrap() {
            "put" => {
                let about = About {
                    executable: step[4]["executable"] == true,
                    metadata: metadata(at.as_str(), &step[4]["metadata"]),
                };
                let content = content(step[2].as_u64().unwrap() as u32, step[3].as_u64().unwrap() as usize);
                drive.put(&at, content, about).unwrap();
            }
            "del" => drop(drive.del(&at).unwrap()),
            "symlink" => {
                let metadata = metadata(at.as_str(), &step[3]["metadata"]);
                drive.symlink(&at, step[2].as_str().unwrap(), metadata).unwrap();
            }
            "putEntry" => {
                let from = drive.entry(&path(step[2].as_str().unwrap())).unwrap().unwrap();
                let entry = Entry { executable: true, blob: from.entry.blob, ..Entry::default() };
                drive.put_entry(&at, &entry).unwrap();
            }
            other => panic!("{other}"),
        }
        steps += 1;
    }
    assert!(steps > 10);
}

/// Opens the blob log that is asked for as a log of its own, signed and encrypted as the map is.
#[derive(Clone)]
struct RealLogs {
    vector: Value,
    blobs: Arc<Mutex<Option<MemoryFeed>>>,
}

fn real_log(create: Create, pair: &Value, encryption: &Value) -> MemoryFeed {
    let seed = hex::decode(&pair["secretKey"].as_str().unwrap()[..64]).unwrap().try_into().unwrap();
    let log = Log::create(MemoryStorage::new(), create).unwrap().with_key_pair(KeyPair::from_seed(&seed));
    match encryption {
        Value::Null => MemoryFeed::over(log),
        encryption => MemoryFeed::over(log.with_encryption(EncryptionKey::Log(Secret::new(key(encryption))))),
    }
}

impl Logs for RealLogs {
    fn manifest(&self) -> Option<Manifest> {
        Some(Manifest::single(key(&self.vector["keyPair"]["publicKey"])))
    }

    fn blobs(&self, which: BlobLog) -> Result<Arc<dyn Feed>, FeedError> {
        let create = match which {
            BlobLog::Manifest(manifest) => Create::with_manifest(manifest),
            _ => Create::single(key(&self.vector["blobsKeyPair"]["publicKey"])),
        };
        let feed = real_log(create, &self.vector["blobsKeyPair"], &self.vector["encryptionKey"]);
        *self.blobs.lock().unwrap() = Some(feed.clone());
        Ok(Arc::new(feed))
    }
}

/// The keys and the hashes over all blocks as they are stored, so also over how they are encrypted.
#[test]
fn the_logs_below_are_those_of_js() {
    let vectors = vectors();
    let mut encrypted = 0;
    for vector in vectors["drives"].as_array().unwrap() {
        let public_key = key(&vector["keyPair"]["publicKey"]);
        let create =
            if vector["compat"] == true { Create::compat(public_key) } else { Create::single(public_key) };
        let map = real_log(create, &vector["keyPair"], &vector["encryptionKey"]);
        let logs = RealLogs { vector: vector.clone(), blobs: Arc::default() };
        let drive = Drive::open(Arc::new(map.clone()), logs.clone(), off()).unwrap();
        run_program(&drive, vector);
        let blobs = logs.blobs.lock().unwrap().clone().unwrap();
        assert_eq!((map.key(), blobs.key()), (key(&vector["key"]), key(&vector["blobsKey"])));
        assert_eq!(blobs.byte_length(), vector["byteLength"]);
        let hashes = [&map, &blobs].map(|feed| hex::encode(feed.log().tree_hash()));
        assert_eq!(serde_json::json!(hashes), vector["treeHashes"], "{}", vector["name"]);
        assert_ranges(&drive.now(), vector);
        encrypted += u32::from(!vector["encryptionKey"].is_null());
    }
    assert_eq!(encrypted, 1);
}

/// The test's own JSON reader sorts fields, so the text is taken from what the program says in order.
fn metadata(at: &str, value: &Value) -> Option<Metadata> {
    match (at, value) {
        (_, Value::Null) => None,
        ("/docs/readme.md", _) => {
            Some(Metadata::from_json(r#"{"author":"é","n":1.5,"deep":{"b":[1,null,true]}}"#).unwrap())
        }
        (_, value) => Some(Metadata::new(value).unwrap()),
    }
}

fn assert_blocks(feed: &TestFeed, expected: &Value, what: &str) {
    let expected = expected.as_array().unwrap();
    assert_eq!(feed.length(), expected.len() as u64, "{what}");
    for (index, expected) in expected.iter().enumerate() {
        let block = feed.get(index as u64).unwrap();
        match &expected["hex"] {
            Value::String(bytes) => {
                assert_eq!(
                    String::from_utf8_lossy(&block),
                    String::from_utf8_lossy(&hex::decode(bytes).unwrap()),
                    "{what} {index}"
                );
                assert_eq!(&hex::encode(&block), bytes, "{what} {index}");
            }
            _ => {
                assert_eq!(block.len() as u64, expected["length"], "{what} {index}");
                assert_eq!(hex::encode(hash::blake2b(&[&block])), expected["hash"], "{what} {index}");
            }
        }
    }
}

#[test]
fn the_same_operations_make_the_same_blocks() {
    let vectors = vectors();
    for vector in vectors["drives"].as_array().unwrap() {
        let (made, asked) = replay(vector);
        let name = vector["name"].as_str().unwrap();
        assert_blocks(&made.map, &vector["bee"], &format!("{name} map"));
        assert_blocks(&made.blobs, &vector["blobs"], &format!("{name} blobs"));
        let manifest = hex::decode(vector["blobsManifest"].as_str().unwrap()).unwrap();
        match vector["compat"].as_bool().unwrap() {
            true => assert_eq!(asked, [BlobLog::Own], "{name}"),
            false => {
                assert_eq!(asked, [BlobLog::Manifest(Manifest::decode(&manifest).unwrap())], "{name}");
                assert_eq!(Manifest::decode(&manifest).unwrap().key(), key(&vector["blobsKey"]), "{name}");
            }
        }
        // Opened again, a compat drive finds its blob log in the header.
        let logs = TestLogs::new(None, made.blobs.clone());
        let reader = Drive::open(made.map.reader(), logs.clone(), off()).unwrap();
        assert_eq!(reader.blobs().is_ok(), vector["compat"].as_bool().unwrap(), "{name}");
        if vector["compat"] == true {
            assert_eq!(*logs.asked.lock().unwrap(), [BlobLog::Key(key(&vector["blobsKey"]))]);
        }
    }
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn the_same_questions_get_the_same_answers() {
    let vectors = vectors();
    for vector in vectors["drives"].as_array().unwrap() {
        let (made, _) = replay(vector);
        let now = made.drive.now();
        assert_eq!(now.version(), vector["version"]);
        assert_eq!(made.blobs.byte_length(), vector["byteLength"]);
        let listed: Vec<FileEntry> = now.list(&Folder::root()).collect::<Result<_, _>>().unwrap();
        assert_eq!(listed.len(), vector["entries"].as_array().unwrap().len());
        for (ours, js) in listed.iter().zip(vector["entries"].as_array().unwrap()) {
            assert_eq!(
                (ours.path.as_str(), ours.seq),
                (js["key"].as_str().unwrap(), js["seq"].as_u64().unwrap())
            );
            assert_eq!(serde_json::from_slice::<Value>(&ours.entry.encode()).unwrap(), js["value"]);
            assert_eq!(now.entry(&ours.path).unwrap().as_ref(), Some(ours));
        }
        let paths = |checkout: &Checkout, at| -> Vec<String> {
            checkout.list(&folder(at)).map(|file| file.unwrap().path.to_string()).collect()
        };
        assert_eq!(paths(&now, "/docs"), names(&vector["docs"]));
        assert_eq!(paths(&made.drive.checkout(6).unwrap(), "/"), names(&vector["checkout6"]));
        assert_eq!(
            now.follow(&path("/link")).unwrap().unwrap().path.as_str(),
            vector["follow"].as_str().unwrap()
        );
        assert_eq!(now.follow(&path("/docs/up")).unwrap().unwrap().path, path("/a.txt"));
        assert!(matches!(now.follow(&path("/loop")), Err(ReadError::Link { .. })));
        assert_children(&now, vector);
        assert_ranges(&now, vector);
        assert_diffs(&made.drive, vector);
    }
}

fn assert_children(now: &Checkout, vector: &Value) {
    let children = |at| -> Vec<Child> { now.children(&folder(at)).collect::<Result<_, _>>().unwrap() };
    let docs: Vec<String> = children("/docs").iter().map(|child| child.name().into()).collect();
    assert_eq!(docs, names(&vector["readdirDocs"]));
    let mut root: Vec<String> = children("/").iter().map(|child| child.name().into()).collect();
    // JS steps over a file whose name is that of the folder before it and `0`.
    let at = root.iter().position(|name| name == "a0").unwrap();
    root.remove(at);
    assert_eq!(root, names(&vector["readdir"]));
}

fn assert_ranges(now: &Checkout, vector: &Value) {
    let file = now.entry(&path("/docs/big.bin")).unwrap().unwrap();
    for range in vector["ranges"].as_array().unwrap() {
        let start = range["start"].as_u64().unwrap();
        // JS counts the last byte in.
        let end = range["end"].as_u64().map(|end| end + 1);
        let end = end.or_else(|| range["length"].as_u64().map(|length| start + length)).unwrap_or(u64::MAX);
        let mut got = Vec::new();
        now.read(&file, start..end).unwrap().write_to(&mut got).unwrap();
        assert_eq!(got.len() as u64, range["length_got"]);
        assert_eq!(hex::encode(hash::blake2b(&[&got])), range["hash"]);
    }
}

fn assert_diffs(drive: &Drive, vector: &Value) {
    for diff in vector["diffs"].as_array().unwrap() {
        let (from, at) = (diff["from"].as_u64().unwrap(), folder(diff["folder"].as_str().unwrap()));
        let ours: Vec<Difference> =
            drive.now().diff(&drive.checkout(from).unwrap(), &at).collect::<Result<_, _>>().unwrap();
        let js = diff["changes"].as_array().unwrap();
        assert_eq!(ours.len(), js.len());
        for (ours, js) in ours.iter().zip(js) {
            let side = |side: &Option<FileEntry>| side.as_ref().map(|file| (file.path.to_string(), file.seq));
            let theirs = |key: &str, seq: &str| {
                js[key].as_str().map(|key| (key.to_owned(), js[seq].as_u64().unwrap()))
            };
            assert_eq!(side(&ours.left), theirs("left", "leftSeq"));
            assert_eq!(side(&ours.right), theirs("right", "rightSeq"));
        }
    }
}

/// Contents that JS cut at other places, or stored as lists of blocks, are read as they are.
#[test]
fn contents_as_lists_of_blocks_are_read() {
    let vectors = vectors();
    let vector = &vectors["drives"][0];
    let (made, _) = replay(vector);
    let pieces = [(20, 1000), (21, 2000), (22, 10), (23, 5), (24, 10), (25, 70_000), (26, 1)];
    let by_hash: HashMap<String, Bytes> = pieces
        .map(|(seed, length)| content(seed, length))
        .map(|bytes| (hex::encode(hash::blake2b(&[&bytes])), bytes))
        .into();
    fill(&made.map, &vector["mappedBee"], &HashMap::new());
    fill(&made.blobs, &vector["mappedBlobs"], &by_hash);
    for js in vector["mapped"].as_array().unwrap() {
        let file = made.drive.entry(&path(js["name"].as_str().unwrap())).unwrap().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&file.entry.encode()).unwrap(), js["entry"]["value"]);
        let now = made.drive.now();
        let whole = now.content(&file).unwrap().unwrap();
        assert_eq!(whole.len() as u64, js["length"]);
        assert_eq!(now.byte_length(&file).unwrap(), js["length"]);
        assert_eq!(hex::encode(hash::blake2b(&[&whole])), js["hash"]);
        let mut part = Vec::new();
        now.read(&file, 990..1020).unwrap().write_to(&mut part).unwrap();
        assert_eq!(hex::encode(&part), js["range"]);
        for (start, end) in
            [(0, 0), (0, 1), (999, 1001), (1000, 1005), (2999, 9999), (70_010, 70_011), (80_000, 90_000)]
        {
            let mut part = Vec::new();
            now.read(&file, start..end).unwrap().write_to(&mut part).unwrap();
            let end = (end as usize).min(whole.len());
            assert_eq!(part, whole[(start as usize).min(end)..end], "{start}..{end}");
        }
        assert!(now.has(&file).unwrap());
    }
}

fn fill(feed: &Arc<TestFeed>, blocks: &Value, by_hash: &HashMap<String, Bytes>) {
    for block in blocks.as_array().unwrap().iter().skip(feed.length() as usize) {
        let bytes = match block["hex"].as_str() {
            Some(hex) => hex::decode(hex).unwrap().into(),
            None => by_hash[block["hash"].as_str().unwrap()].clone(),
        };
        feed.append(&[bytes]).unwrap();
    }
}

#[test]
fn the_blob_log_follows_from_the_manifest() {
    let vectors = vectors();
    let mut derived = 0;
    for vector in vectors["manifests"].as_array().unwrap() {
        let manifest = Manifest::decode(&hex::decode(vector["manifest"].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(manifest.key(), key(&vector["key"]));
        let content = content_manifest(&manifest, &manifest.key());
        assert_eq!(content.as_ref().map(|m| hex::encode(m.encode())).as_deref(), vector["content"].as_str());
        if let Some(content) = content {
            assert_eq!(content.key(), key(&vector["contentKey"]));
            derived += 1;
        }
    }
    assert_eq!(derived, 6);
}
