//! A mint in this process, and a proxy before it that loses requests or replies.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cloudpal_mint::{Service, State, totals};
use cloudpal_purse::Purse;
use cloudpal_till::Till;
use tokio::runtime::Runtime;

pub const SEED: [u8; 64] = [0x42; 64];

/// A mint behind a [`Proxy`], and the folders of everyone.
pub struct World {
    pub runtime: Runtime,
    pub dir: tempfile::TempDir,
    pub state: State,
    pub service: Option<Service>,
    pub proxy: Proxy,
}

impl World {
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let state = State::init(&dir.path().join("mint")).unwrap();
        let service = runtime.block_on(Service::start(&state, "127.0.0.1:0".parse().unwrap())).unwrap();
        let target = service.url().trim_start_matches("http://").parse().unwrap();
        Self { runtime, dir, state, service: Some(service), proxy: Proxy::before(target) }
    }

    pub fn url(&self) -> &str {
        &self.proxy.url
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn voucher(&self, amount: u64) -> String {
        self.state.ledger().unwrap().print(amount).unwrap().reveal()
    }

    pub fn purse(&self) -> Purse {
        Purse::open(&self.path("purse"), self.url(), &SEED).unwrap()
    }

    /// A purse of the same seed words in another, empty folder.
    pub fn purse_in(&self, folder: &str) -> Purse {
        Purse::open(&self.path(folder), self.url(), &SEED).unwrap()
    }

    pub fn till(&self) -> Till {
        self.till_in("till")
    }

    pub fn till_in(&self, folder: &str) -> Till {
        let till = Till::open(&self.path(folder)).unwrap();
        let direct = format!("http://{}", self.proxy.target);
        let keysets = cloudpal_till::fetch_keysets(&direct).unwrap();
        till.trust(self.url(), &keysets).unwrap();
        till
    }

    /// What the mint owes in all, in cpm.
    pub fn outstanding(&self) -> u64 {
        self.runtime.block_on(totals(&self.state)).unwrap().iter().map(|keyset| keyset.outstanding).sum()
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            self.runtime.block_on(service.stop());
        }
    }
}

/// Which half of a call is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    Request,
    Reply,
}

/// Forwards one HTTP call a connection, until told to lose some.
pub struct Proxy {
    pub url: String,
    pub target: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    left: AtomicI64,
    lost: AtomicUsize,
    calls: AtomicUsize,
}

impl Proxy {
    fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            left: AtomicI64::new(i64::MAX),
            lost: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        });
        let theirs = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = theirs.clone();
                std::thread::spawn(move || forward(stream.unwrap(), target, &shared));
            }
        });
        Self { url, target, shared }
    }

    /// Lets `calls` more through; of the next one `lost` is lost, and all after it fail.
    pub fn cut_after(&self, calls: usize, lost: Lost) {
        self.shared.lost.store(usize::from(lost == Lost::Reply), Ordering::SeqCst);
        self.shared.left.store(calls as i64, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.shared.left.store(i64::MAX, Ordering::SeqCst);
    }

    /// Calls seen so far.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

fn forward(mut client: TcpStream, target: SocketAddr, shared: &Shared) -> Option<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 16384];
    let head = loop {
        let read = client.read(&mut buffer).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let length = text
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    while request.len() < head + length {
        let read = client.read(&mut buffer).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
    }
    shared.calls.fetch_add(1, Ordering::SeqCst);
    let left = shared.left.fetch_sub(1, Ordering::SeqCst);
    if left < 0 || (left == 0 && shared.lost.load(Ordering::SeqCst) == 0) {
        return None;
    }
    let mut server = TcpStream::connect(target).ok()?;
    let closing = text.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(closing.as_bytes()).ok()?;
    server.write_all(&request[head..]).ok()?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply).ok()?;
    if left == 0 {
        return None;
    }
    client.write_all(&reply).ok()
}

/// A reproducible stream of choices; print its seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed:#x}");
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

pub fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub const MONTH: u64 = 30 * 24 * 3600;

/// Every byte of every file in a folder.
pub fn bytes_in(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        all.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    all
}
