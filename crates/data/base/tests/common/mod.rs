//! Devices with real stores, and real connections between them.

#![allow(dead_code, reason = "not every test needs all of it")]
use cloudpal_store::{Access, Connection, Server, Store, StoreKey};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A device: a folder with a store.
pub struct Device {
    dir: TempDir,
    key: StoreKey,
    pub store: Store,
}

impl Device {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = StoreKey::random().unwrap();
        let store = Store::open(dir.path(), &key, Default::default()).unwrap();
        Device { dir, key, store }
    }

    /// The same after its program ended.
    pub fn reopen(self) -> Self {
        self.store.close().unwrap();
        let store = Store::open(self.dir.path(), &self.key, Default::default()).unwrap();
        Device { store, ..self }
    }
}

/// Connects two devices for as long as what comes is held.
pub fn connect(one: &Device, other: &Device) -> (Server, Connection) {
    let server = one.store.serve("127.0.0.1:0", Access::Anyone).unwrap();
    let connection = other.store.connect(server.address(), &Access::Anyone).unwrap();
    (server, connection)
}

/// Waits until `done`; a minute is far more than it takes.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
