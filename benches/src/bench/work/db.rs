//! The multi-writer database, as an app uses it through the Rust interface.

use super::{Job, open_store, peak_bytes, timed};
use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use cloudpal_base::{Batch, Database, Durability, Range, Rights, Role, Standing, Sub};
use cloudpal_store::{Access, Connection, Options, Server, Store, StoreKey};
use serde_json::json;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of a key and of a value.
pub const LIVE: u64 = 16 + 100;

/// The key with a number: the same ones as `db.mjs` has.
pub fn key(number: u64) -> String {
    format!("{:016x}", mix(number))
}

/// Bytes that no compression makes smaller.
pub struct Values(Bytes);

impl Values {
    pub fn new() -> Self {
        Values((0..8192).flat_map(|at: u64| mix(at * 8).to_le_bytes()).collect())
    }

    /// The value with a number.
    pub fn get(&self, number: u64) -> Bytes {
        let at = (number * 13 % 60_000) as usize;
        self.0.slice(at..at + 100)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Batches of `at_once` puts, of the keys with the numbers `from..to`.
fn batches(from: u64, to: u64, at_once: u64) -> Vec<Batch> {
    let (values, sub) = (Values::new(), Sub::root());
    let batch = |first: u64| {
        let mut batch = Batch::new();
        for number in first..to.min(first + at_once) {
            batch.put(&sub, key(number), values.get(number));
        }
        batch
    };
    (from..to).step_by(at_once as usize).map(batch).collect()
}

fn durability(sync: u64) -> Durability {
    if sync == 1 { Durability::Durable } else { Durability::Relaxed }
}

/// Puts, so many in a batch, each durable or not.
pub fn put(job: &Job<'_>) -> Result<()> {
    let (count, at_once, durability) = (job.number(0)?, job.number(1)?, durability(job.number(2)?));
    // What is written is made before, on both sides.
    let batches = batches(0, count, at_once);
    let store = open_store(job)?;
    let db = open(&store)?;
    let start = Instant::now();
    for batch in batches {
        db.write(batch, durability)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    db.close()?;
    store.close()?;
    let disk_bytes = folder_bytes(job.folder)?;
    println!(
        "{}",
        json!({
            "count": count, "seconds": seconds, "peak_bytes": peak_bytes()?,
            "disk_bytes": disk_bytes, "live_bytes": count * LIVE
        })
    );
    Ok(())
}

/// Values of keys anywhere among so many.
pub fn get(job: &Job<'_>) -> Result<()> {
    let (count, length) = (job.number(0)?, job.number(1)?);
    let store = open_store(job)?;
    let db = open(&store)?;
    let sub = Sub::root();
    timed(count, || {
        for number in 0..count {
            let at = (number * 7919 + 12345) % length;
            let got = db.snapshot().get(&sub, key(at).as_bytes())?;
            ensure!(got.is_some_and(|value| value.len() == 100), "no value {at}");
        }
        Ok(())
    })
}

/// All keys and values in order, some times over.
pub fn scan(job: &Job<'_>) -> Result<()> {
    let (rounds, length) = (job.number(0)?, job.number(1)?);
    let store = open_store(job)?;
    let db = open(&store)?;
    timed(rounds * length, || {
        for _ in 0..rounds {
            let (mut seen, mut bytes) = (0, 0);
            db.snapshot().scan(&Sub::root(), &Range::default(), &mut |key, value| {
                seen += 1;
                bytes += key.len() + value.len();
                ControlFlow::Continue(())
            })?;
            ensure!(seen == length && bytes as u64 == length * LIVE, "saw {seen}");
        }
        Ok(())
    })
}

/// `writers` devices, connected over TCP, write so many keys in all, so many in a batch; it is over when each shows what all
/// have written.
pub fn merge(job: &Job<'_>) -> Result<()> {
    let (writers, count, at_once) = (job.number(0)?, job.number(1)?, job.number(2)?);
    let devices = devices(job.folder, writers)?;
    let each = count / writers;
    let work: Vec<Vec<Batch>> =
        (0..writers).map(|writer| batches(writer * each, (writer + 1) * each, at_once)).collect();
    let last: Vec<String> = (0..writers).map(|writer| key(writer * each + each - 1)).collect();
    timed(each * writers, || {
        std::thread::scope(|scope| {
            let mut started = Vec::new();
            for (device, batches) in devices.iter().zip(work) {
                started.push(scope.spawn(move || {
                    let mut batches = batches.into_iter();
                    batches.try_for_each(|batch| device.db.write(batch, Durability::Relaxed).map(drop))
                }));
            }
            for it in started {
                it.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            Ok::<_, anyhow::Error>(())
        })?;
        devices.iter().try_for_each(|device| until_shows(&device.db, &last))
    })
}

fn until_shows(db: &Database, keys: &[String]) -> Result<()> {
    let start = Instant::now();
    loop {
        let version = db.version();
        let view = db.snapshot();
        let mut shown = keys.iter().map(|key| view.get(&Sub::root(), key.as_bytes()));
        if shown.try_fold(true, |all, got| got.map(|got| all && got.is_some()))? {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(300), "not everything came");
        db.wait(version, Duration::from_secs(1));
    }
}

struct Device {
    db: Database,
    /// Where the founder serves.
    address: Option<SocketAddr>,
    _line: (Option<Server>, Option<Connection>),
}

/// The founder's database and others that were admitted to it, all connected with the founder.
fn devices(folder: &Path, count: u64) -> Result<Vec<Device>> {
    let store = |number: u64| {
        let dir = folder.join(format!("device-{number}"));
        std::fs::create_dir_all(&dir)?;
        // Another key for each: logs get their keys from it.
        Ok::<_, anyhow::Error>(Store::open(&dir, &StoreKey::new([number as u8; 32]), Options::default())?)
    };
    let home = store(0)?;
    let founder = Database::create(&home, "bench")?;
    let server = home.serve("127.0.0.1:0", Access::Anyone)?;
    let address = server.address();
    let mut devices =
        vec![Device { db: founder.clone(), address: Some(address), _line: (Some(server), None) }];
    for number in 1..count {
        let store = store(number)?;
        let db = Database::join(&store, "bench", founder.key())?;
        founder.admit(&db.request(), &format!("device {number}"), Rights::all(Role::Writer))?;
        let line = store.connect(address, &Access::Anyone)?;
        let start = Instant::now();
        while db.standing() != Standing::Member {
            ensure!(start.elapsed() < Duration::from_secs(60), "device {number} was not admitted");
            std::thread::sleep(Duration::from_millis(5));
        }
        devices.push(Device { db, address: None, _line: (None, Some(line)) });
    }
    Ok(devices)
}

/// Opens the database of a task, or makes it.
pub fn open(store: &Store) -> Result<Database> {
    let names = Database::names(store)?;
    let db = if names.is_empty() { Database::create(store, "bench") } else { Database::open(store, "bench") };
    db.context("cannot open the database")
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// Operations measured at each size.
const SAMPLE: u64 = 20_000;

/// Grows a database to each size and says what puts, gets and a scan of 10,000 cost there. Waits for a line first.
pub fn grow(job: &Job<'_>) -> Result<()> {
    std::io::stdin().read_line(&mut String::new())?;
    let store = open_store(job)?;
    let db = open(&store)?;
    let (values, sub) = (Values::new(), Sub::root());
    let mut length = 0;
    for place in 0.. {
        let Ok(size) = job.number(place) else { break };
        let sample = SAMPLE.min(size / 2);
        while length < size - sample {
            let to = (length + 1000).min(size - sample);
            write_all(&db, batches(length, to, 1000))?;
            length = to;
        }
        let put = timed_us(sample, || write_all(&db, batches(length, size, 1000)))?;
        length = size;
        let single = timed_us(1000, || {
            (0..1000).try_for_each(|number| {
                let mut batch = Batch::new();
                batch.put(&sub, key(number * 7919 % size), values.get(number));
                db.write(batch, Durability::Relaxed).map(drop).map_err(Into::into)
            })
        })?;
        let get = timed_us(sample, || {
            (0..sample).try_for_each(|number| {
                let at = (number * 7919 + 12345) % size;
                let got = db.snapshot().get(&sub, key(at).as_bytes())?;
                ensure!(got.is_some(), "no value {at}");
                Ok(())
            })
        })?;
        let range = Range { limit: Some(10_000), ..Range::default() };
        let scan = timed_us(10_000, || {
            Ok(db.snapshot().scan(&sub, &range, &mut |_, _| ControlFlow::Continue(()))?)
        })?;
        println!(
            "{}",
            json!({
                "keys": size, "put_1000_us": put, "put_single_us": single, "random_get_us": get, "scan_us": scan,
                "disk_bytes_per_live_byte": folder_bytes(job.folder)? as f64 / (size * LIVE) as f64,
                "peak_bytes": peak_bytes()?
            })
        );
    }
    Ok(())
}

fn write_all(db: &Database, batches: Vec<Batch>) -> Result<()> {
    for batch in batches {
        db.write(batch, Durability::Relaxed)?;
    }
    Ok(())
}

/// Microseconds for each of `count`.
fn timed_us(count: u64, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / count as f64)
}

/// Operations in a batch of what a new device is to come up to.
const SMALL: u64 = 10;

/// A device writes so many operations over so many keys. A new one joins and comes up to them over TCP: one before the founder has made
/// a checkpoint and forgotten what lies before it, one after.
pub fn catch_up(job: &Job<'_>) -> Result<()> {
    let (operations, keys) = (job.number(0)?, job.number(1)?);
    let devices = devices(job.folder, 1)?;
    let founder = &devices[0].db;
    let (values, sub) = (Values::new(), Sub::root());
    for first in (0..operations).step_by(SMALL as usize) {
        let mut batch = Batch::new();
        for number in first..(first + SMALL).min(operations) {
            batch.put(&sub, key(number % keys), values.get(number));
        }
        founder.write(batch, Durability::Relaxed)?;
    }
    let mut last = Batch::new();
    last.put(&sub, "last", "one");
    founder.write(last, Durability::Relaxed)?;
    let address = devices[0].address.context("the founder serves")?;
    let say = |seconds: f64, making: Option<f64>| {
        println!(
            "{}",
            json!({
                "operations": operations, "operations_in_a_batch": SMALL, "live_keys": keys, "checkpoint": making.is_some(),
                "seconds": seconds, "seconds_to_make_it": making
            })
        );
    };
    say(newcomer(job.folder, 98, founder, address)?, None);
    let start = Instant::now();
    founder.checkpoint()?;
    let making = start.elapsed().as_secs_f64();
    founder.forget(Duration::ZERO)?;
    say(newcomer(job.folder, 99, founder, address)?, Some(making));
    Ok(())
}

/// Seconds until a new device shows what was written last.
fn newcomer(folder: &Path, number: u8, founder: &Database, address: SocketAddr) -> Result<f64> {
    let dir = folder.join(format!("newcomer-{number}"));
    std::fs::create_dir_all(&dir)?;
    let store = Store::open(&dir, &StoreKey::new([number; 32]), Options::default())?;
    let db = Database::join(&store, "bench", founder.key())?;
    founder.admit(&db.request(), &format!("newcomer {number}"), Rights::all(Role::Writer))?;
    let start = Instant::now();
    let _line = store.connect(address, &Access::Anyone)?;
    until_shows(&db, &["last".to_owned()])?;
    Ok(start.elapsed().as_secs_f64())
}
