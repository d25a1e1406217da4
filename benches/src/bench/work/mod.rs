//! Our side of each row. A process does one task and says how much it did, in how long and with how much memory.

mod bare;
mod bee;
mod db;
mod drive;
mod log;
mod many;
mod replicate;

use anyhow::{Context as _, Result, bail};
use cloudpal_log::Durability;
use cloudpal_store::{Options, Store, StoreKey};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// What a task is given: where, and how much of what.
pub struct Job<'a> {
    /// A folder of its own.
    pub folder: &'a Path,
    arguments: &'a [String],
}

impl Job<'_> {
    /// An argument by its place.
    pub fn text(&self, place: usize) -> Result<&str> {
        self.arguments.get(place).map(String::as_str).with_context(|| format!("argument {place} is missing"))
    }

    /// The same as a number.
    pub fn number(&self, place: usize) -> Result<u64> {
        self.text(place)?.parse().with_context(|| format!("argument {place} is no number"))
    }
}

/// Does a task by name.
pub fn work(task: &str, folder: &Path, arguments: &[String]) -> Result<()> {
    let job = Job { folder, arguments };
    match task {
        "append_single" => log::append(&job, 1, Durability::Relaxed),
        "append_1000" => log::append(&job, 1000, Durability::Relaxed),
        "append_single_durable" => log::append(&job, 1, Durability::Durable),
        "append_writers_durable" => log::append_from_many(&job),
        "append_1000_durable" => log::append(&job, 1000, Durability::Durable),
        "fill" => log::fill(&job),
        "random_get" => log::random_get(&job),
        "growth" => log::grow(&job),
        "serve" => replicate::serve(&job),
        "fetch" => replicate::fetch(&job),
        "bee_put" => bee::put(&job),
        "bee_get" => bee::get(&job),
        "drive_put" => drive::put(&job),
        "drive_get" => drive::get(&job),
        "db_put" => db::put(&job),
        "db_get" => db::get(&job),
        "db_scan" => db::scan(&job),
        "db_merge" => db::merge(&job),
        "db_growth" => db::grow(&job),
        "db_catch_up" => db::catch_up(&job),
        "fill_store" => many::fill(&job),
        "open_store" => many::open(&job),
        "fjall_append_single_durable" => bare::append(&job, 1, 1),
        "fjall_append_writers_durable" => bare::append(&job, 1, job.number(1)?),
        "fjall_append_1000_durable" => bare::append(&job, 1000, 1),
        "fjall_db_put" => bare::put(&job),
        "fjall_db_get" => bare::get(&job),
        "fjall_db_scan" => bare::scan(&job),
        _ => bail!("no task is called {task}"),
    }
}

/// The store of a task, as anybody gets it by default: all at rest encrypted, synced every second.
pub fn open_store(job: &Job<'_>) -> Result<Store> {
    let opened = Store::open(job.folder, &StoreKey::new([7; 32]), Options::default());
    opened.with_context(|| format!("cannot open the store in {}", job.folder.display()))
}

/// Does something in so many threads at the same time.
pub fn in_threads(threads: u64, work: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        started.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

/// Runs what is measured, then says so.
pub fn timed(count: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    work()?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", json!({ "count": count, "seconds": seconds, "peak_bytes": peak_bytes()? }));
    Ok(())
}

/// The most memory this process had, resident.
pub fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmHWM is no number")?;
    Ok(kib * 1024)
}
