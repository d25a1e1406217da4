//! How many tickets a second a till accepts, and what it costs in memory. Run with `--release` or not, on a
//! quiet machine: `cargo run -p cloudpal-till --example rate`. Prints one JSON line.

use std::error::Error;
use std::time::Instant;

use cloudpal_purse::{LockRequest, Purse};
use cloudpal_till::{Route, Seller, Terms, Till, fetch_keysets};

const BATCH: usize = 500;
const BATCHES: usize = 4;
const NOW_UNIX: u64 = 1_795_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let state = cloudpal_mint::State::init(&dir.path().join("mint"))?;
    let listen = "127.0.0.1:0".parse()?;
    let service = runtime.block_on(cloudpal_mint::Service::start(&state, listen))?;
    let purse = Purse::open(&dir.path().join("purse"), service.url(), &[5; 64])?;
    let till = Till::open(&dir.path().join("till"))?;
    till.trust(service.url(), &fetch_keysets(service.url())?)?;
    let code = state.ledger()?.print((BATCH * BATCHES) as u64)?.reveal();
    runtime.block_on(purse.buy(&code, |_| {}))?;

    let (mut lock_ms, mut accept_ms) = (0.0, 0.0);
    for batch in 0..BATCHES {
        let request = LockRequest {
            amounts: vec![1; BATCH],
            till_pubkey: till.public_key(),
            locktime_unix: NOW_UNIX + 90 * 24 * 3_600,
            host: "dc".into(),
            pal: "pal".into(),
        };
        let start = Instant::now();
        let tickets = runtime.block_on(purse.lock(request))?;
        lock_ms += start.elapsed().as_secs_f64() * 1e3;
        let start = Instant::now();
        till.accept(&format!("pal {batch}"), &tickets, &Terms::at(NOW_UNIX))?;
        accept_ms += start.elapsed().as_secs_f64() * 1e3;
    }
    let start = Instant::now();
    let redeemed = till.redeem(&Seller::new(service.url(), &Route::Direct)?)?.amount;
    let redeem_ms = start.elapsed().as_secs_f64() * 1e3;
    let per_s = |ms: f64| ((BATCH * BATCHES) as f64 / ms * 1e3).round();
    println!(
        "{{\"tickets\":{redeemed},\"lock_per_s\":{},\"accept_per_s\":{},\"redeem_per_s\":{}}}",
        per_s(lock_ms),
        per_s(accept_ms),
        per_s(redeem_ms)
    );
    runtime.block_on(service.stop());
    Ok(())
}
