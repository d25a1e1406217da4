//! What a map costs on pages in memory: `cargo bench -p cloudpal-sorted [-- put|get|scan|table|rising [ENTRIES [MIB]]]`.
//! Prints operations a second. Keys have 16 bytes and values 100; ENTRIES is a million and MIB (of `Options::memory`) 64
//! unless said otherwise.

use bytes::Bytes;
use cloudpal_sorted::{Batch, MemoryPages, Options, Order, Progress, Sorted};
use std::error::Error;
use std::hint::black_box;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Map = Sorted<MemoryPages>;

const VALUE: usize = 100;
const BATCH: u64 = 1_000;

/// Runs beyond which the writer waits for compaction, as a caller would.
const TOO_MANY_RUNS: usize = 24;

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// The key of a number: eight bytes that all share, as sub-databases do, then eight that are spread.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"database00000000";
    key[8..].copy_from_slice(&Random(number).next().to_be_bytes());
    key
}

/// A moment, on the clock and on the processor: on a machine that is shared the two differ.
#[derive(Clone, Copy)]
struct Since {
    clock: Instant,
    processor: u64,
}

impl Since {
    fn now() -> Self {
        Since { clock: Instant::now(), processor: processor_ns() }
    }
}

/// Time that this thread has had on a processor.
fn processor_ns() -> u64 {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    said.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

fn report(what: &str, count: u64, since: Since) {
    let clock = since.clock.elapsed().as_secs_f64();
    let processor = (processor_ns() - since.processor) as f64 / 1e9;
    let count = count as f64;
    println!(
        "{what:<32} {:>9.0} per s, {:>9.0} per s of this thread's processor time",
        count / clock,
        count / processor
    );
}

/// Memory of this process beside the pages themselves.
fn beside_pages_mib(pages: &MemoryPages) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident =
        line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or_default();
    (resident * 1024).saturating_sub(pages.bytes()) >> 20
}

fn put(map: &Map, pages: &MemoryPages, entries: u64, keys: impl Fn(u64) -> [u8; 16]) -> Result {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let tending = scope.spawn(|| -> Result<u64> {
            while !ended.load(Ordering::Relaxed) {
                if map.compact()? == Progress::Done {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(processor_ns())
        });
        let (mut random, mut most) = (Random(1), 0);
        let mut value = [0; VALUE];
        for batch in 0..entries / BATCH {
            let mut changes = Batch::new();
            for i in 0..BATCH {
                value[..8].copy_from_slice(&random.next().to_le_bytes());
                value[50..58].copy_from_slice(&random.next().to_le_bytes());
                changes.put(keys(batch * BATCH + i), value);
            }
            map.write(changes);
            if map.full() {
                map.flush(batch.to_le_bytes().to_vec().into())?;
                most = most.max(beside_pages_mib(pages));
                while map.usage().runs > TOO_MANY_RUNS && !tending.is_finished() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        ended.store(true, Ordering::Relaxed);
        let compacting = tending.join().map_err(|_| "compaction panicked")??;
        let compacting = compacting as f64 / 1e9;
        println!("  compaction had {compacting:.2} s of processor time; {most} MiB at most beside the pages");
        Ok(())
    })
}

fn fill(map: &Map, pages: &MemoryPages, entries: u64) -> Result {
    let since = Since::now();
    put(map, pages, entries, key)?;
    report("put, random, 1,000 at a time", entries, since);
    let (settled, mut steps, mut longest) = (Instant::now(), 0, 0.0_f64);
    let mut step = Instant::now();
    while map.compact()? == Progress::More {
        longest = longest.max(step.elapsed().as_secs_f64());
        (step, steps) = (Instant::now(), steps + 1);
    }
    let usage = map.usage();
    let written = pages.written() as f64 / (entries as f64 * 116.0);
    println!(
        "  then {steps} steps of compaction in {:.1} s, the longest {:.0} ms; {} runs, {} MiB of pages (keeper: {}), \
         written {written:.1} times",
        settled.elapsed().as_secs_f64(),
        longest * 1e3,
        usage.runs,
        usage.pages >> 20,
        pages.bytes() >> 20
    );
    Ok(())
}

fn get(map: &Map, entries: u64) -> Result {
    let mut random = Random(7);
    let mut run = |what: &str, count: u64, shift: u64| -> Result {
        let since = Since::now();
        for _ in 0..count {
            let number = random.next() % entries + shift;
            if map.get(&key(number))?.is_some() != (shift == 0) {
                return Err(format!("{number} is wrong").into());
            }
        }
        report(what, count, since);
        Ok(())
    };
    run("get, random (cold)", entries.min(1_000_000), 0)?;
    run("get, random (warm)", 1_000_000, 0)?;
    run("get, random, what is not there", 1_000_000, 1 << 40)
}

fn scan(map: &Map, entries: u64) -> Result {
    for (order, what) in [(Order::Ascending, "scan, ascending"), (Order::Descending, "scan, descending")] {
        for _ in 0..2 {
            let (since, mut count) = (Since::now(), 0);
            let visit = &mut |key: &[u8], value: &Bytes| {
                black_box((key, value));
                count += 1;
                ControlFlow::Continue(())
            };
            map.snapshot().scan((Bound::Unbounded, Bound::Unbounded), order, visit)?;
            assert_eq!(count, entries, "every key is there once");
            report(what, count, since);
        }
    }
    let (since, mut random) = (Since::now(), Random(9));
    let snapshot = map.snapshot();
    for _ in 0..100_000 {
        let from = key(random.next());
        let cursor = snapshot.cursor((Bound::Included(&from), Bound::Unbounded), Order::Ascending)?;
        black_box(cursor.take(10).count());
    }
    report("seek and ten entries", 100_000, since);
    Ok(())
}

/// The table in memory alone: nothing is flushed.
fn table(entries: u64) -> Result {
    let options = Options { memory: usize::MAX, ..Options::default() };
    let pages = MemoryPages::new();
    let map = Sorted::open(pages.clone(), options)?;
    let since = Since::now();
    put(&map, &pages, entries, key)?;
    report("put into memory, random", entries, since);
    let since = Since::now();
    put(&map, &pages, entries, key)?;
    report("overwrite in memory, random", entries, since);
    let mut random = Random(7);
    let since = Since::now();
    for _ in 0..1_000_000 {
        black_box(map.get(&key(random.next() % entries))?);
    }
    report("get from memory, random", 1_000_000, since);
    let since = Since::now();
    let cursor = map.snapshot().cursor((Bound::Unbounded, Bound::Unbounded), Order::Ascending)?;
    assert_eq!(cursor.count() as u64, entries);
    report("scan memory", entries, since);
    let since = Since::now();
    map.flush(Bytes::new())?;
    report("flush", entries, since);
    Ok(())
}

fn main() -> Result {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let chosen = arguments.first().map(String::as_str);
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>()).transpose();
    let entries = number(1)?.unwrap_or(1_000_000) / BATCH * BATCH;
    let runs = |name: &str| chosen.is_none_or(|chosen| chosen == name);
    if runs("table") {
        table(entries.min(100_000))?;
    }
    let pages = MemoryPages::new();
    let memory = number(2)?.unwrap_or(64) as usize * (1 << 20);
    let map = Sorted::open(pages.clone(), Options { memory, ..Options::default() })?;
    if runs("put") || runs("get") || runs("scan") {
        fill(&map, &pages, entries)?;
    }
    if runs("get") {
        get(&map, entries)?;
    }
    if runs("scan") {
        scan(&map, entries)?;
    }
    if chosen == Some("rising") {
        let since = Since::now();
        put(&map, &pages, entries, |number| u128::from(number).to_be_bytes())?;
        report("put, in the order of keys", entries, since);
        println!("  written {:.2} times", pages.written() as f64 / (entries as f64 * 116.0));
    }
    Ok(())
}
