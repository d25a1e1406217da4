//! The mint's program is killed with `kill -9` at random moments while a purse and a till work; in the end
//! every cpm is where it should be.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloudpal_mint::{State, totals};
use cloudpal_purse::{LockRequest, Purse, Voucher, step_amounts};
use cloudpal_till::{Route, Seller, Terms, Till, fetch_keysets};

const SEED: u64 = 0x0009_1111;

struct Mint {
    dir: PathBuf,
    listen: String,
    child: Mutex<Child>,
}

impl Mint {
    fn start(dir: &Path) -> Self {
        // The port has to stay the same across restarts, for it is part of the seller's name.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap().to_string();
        drop(free);
        let child = Mutex::new(spawn(dir, &listen));
        Self { dir: dir.to_owned(), listen, child }
    }

    fn kill_and_restart(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        *child = spawn(&self.dir, &self.listen);
    }
}

impl Drop for Mint {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(dir: &Path, listen: &str) -> Child {
    let ready = dir.join("ready");
    let _ = std::fs::remove_file(&ready);
    let child = Command::new(env!("CARGO_BIN_EXE_cloudpal-mint"))
        .arg("--state")
        .arg(dir)
        .args(["serve", "--listen", listen])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !ready.exists() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn nothing_is_lost_or_made_when_the_seller_is_killed() {
    println!("seed {SEED:#x}");
    let dir = tempfile::tempdir().unwrap();
    let state = State::init(&dir.path().join("mint")).unwrap();
    let mint = Arc::new(Mint::start(state.dir()));
    let url = format!("http://{}", mint.listen);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let purse = Purse::open(&dir.path().join("purse"), &url, &[8; 64]).unwrap();
    let till = Till::open(&dir.path().join("till")).unwrap();
    till.trust(&url, &fetch_keysets(&url).unwrap()).unwrap();
    let seller = Seller::new(&url, &Route::Direct).unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let killer = {
        let (mint, over) = (mint.clone(), over.clone());
        std::thread::spawn(move || {
            let (mut chance, mut kills) = (SEED, 0);
            while !over.load(Ordering::SeqCst) {
                chance = chance.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                std::thread::sleep(Duration::from_millis(30 + (chance >> 33) % 250));
                mint.kill_and_restart();
                kills += 1;
            }
            kills
        })
    };

    let (mut bought, mut failed) = (0, 0);
    for round in 0..12 {
        let code = state.ledger().unwrap().print(50 + round).unwrap().reveal();
        bought += Voucher::parse(&code).unwrap().amount();
        let until = Instant::now() + Duration::from_secs(60);
        while runtime.block_on(purse.buy(&code, |_| {})).is_err() {
            failed += 1;
            assert!(Instant::now() < until, "buying never got through");
        }
        let request = LockRequest {
            amounts: step_amounts(30),
            till_pubkey: till.public_key(),
            locktime_unix: now_unix() + 30 * 24 * 3_600,
            host: "dc".into(),
            pal: "pal".into(),
        };
        failed += u32::from(runtime.block_on(purse.lock(request)).is_err());
        for locked in runtime.block_on(purse.unfinished()).unwrap() {
            till.accept("pal", &[locked.ticket], &Terms::at(now_unix())).unwrap();
            runtime.block_on(purse.handed_over(&[locked.id])).unwrap();
        }
        failed += u32::from(till.redeem(&seller).is_err());
        if round % 4 == 3 {
            failed += u32::from(till.settle(&seller, "dc-1").is_err());
        }
    }
    over.store(true, Ordering::SeqCst);
    let kills = killer.join().unwrap();

    runtime.block_on(purse.recover()).unwrap();
    for locked in runtime.block_on(purse.unfinished()).unwrap() {
        till.accept("pal", &[locked.ticket], &Terms::at(now_unix())).unwrap();
        runtime.block_on(purse.handed_over(&[locked.id])).unwrap();
    }
    till.redeem(&seller).unwrap();
    till.settle(&seller, "dc-1").unwrap();
    let balance = runtime.block_on(purse.balance()).unwrap();
    let at_till = till.totals().unwrap();
    println!("{kills} kills, {failed} failed calls; bought {bought}, balance {balance}, {at_till:?}");
    assert!(kills > 3 && failed > 0, "the control: kills were felt");
    assert_eq!((at_till.held, at_till.expired, at_till.own), (0, 0, 0));
    assert_eq!(bought, balance + at_till.settled);
    let keysets = runtime.block_on(totals(&state)).unwrap();
    let outstanding: u64 = keysets.iter().map(|keyset| keyset.outstanding).sum();
    assert_eq!(outstanding, balance);
}
