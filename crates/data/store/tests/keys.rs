//! Names become the keys that npm corestore 7.12.5 makes of them. `vectors/corestore.json` was written by it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use cloudpal_log::Feed;
use cloudpal_store::{Namespace, Options, PrimaryKey, Store, StoreKey};

#[test]
fn names_and_namespaces_become_the_keys_of_npm_corestore() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("vectors/corestore.json")).unwrap();
    let primary_key = PrimaryKey::new([7; 32]);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { primary_key: Some(primary_key.clone()), ..Options::default() };
    let store = Store::open(dir.path(), &StoreKey::new([1; 32]), options).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 5);
    for vector in vectors {
        let text = |field: &str| vector[field].as_str().unwrap();
        let path = vector["path"].as_array().unwrap().iter();
        let namespace = path.fold(Namespace::ROOT, |ns, part| ns.child(part.as_str().unwrap().as_bytes()));
        assert_eq!(hex::encode(namespace.as_bytes()), text("ns"));
        let name = text("name");
        let key_pair = primary_key.key_pair(&namespace, name);
        assert_eq!(hex::encode(key_pair.public_key()), text("publicKey"), "{name}");
        if let Some(key) = vector["key"].as_str() {
            let log = store.log_in(&namespace, name).unwrap();
            assert_eq!(hex::encode(log.key()), key);
            assert_eq!(hex::encode(log.discovery_key()), text("discoveryKey"));
            assert!(log.writable());
        }
    }
}
