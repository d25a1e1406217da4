//! What the database costs as it grows to ten million keys in 512 MiB of memory, as writers become more, and what it takes a new
//! device to come up to a million operations.

use crate::limit::Limit;
use crate::run::{Side, Stage};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

/// Bytes of memory that the process may have.
const LIMIT: u64 = 512 << 20;

/// Keys at which costs are measured.
const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];

/// How many devices write at the same time.
const WRITERS: [u64; 6] = [2, 4, 8, 16, 32, 64];

/// Keys that a million operations are spread over, when a new device comes up to them.
const LIVE: [u64; 3] = [1_000, 10_000, 100_000];

/// The curves. They are shown; nothing is asked of them.
pub fn measure(stage: &Stage, scale: u64) -> Result<Value> {
    let sizes = SIZES.map(|size| (size / scale).to_string());
    let by_size = lines(stage, "db_growth", &sizes, Some(Limit::new(LIMIT)?))?;
    let by_writers = WRITERS.map(|writers| {
        let arguments = [writers.to_string(), (100_000 / scale).to_string(), "100".to_owned()];
        lines(stage, "db_merge", &arguments, None).map(|mut said| {
            let mut said = said.pop().unwrap_or_default();
            said["writers"] = json!(writers);
            said
        })
    });
    let by_writers: Vec<Value> = by_writers.into_iter().collect::<Result<_>>()?;
    let mut catch_up = Vec::new();
    for live in LIVE {
        let arguments = [1_000_000, live].map(|number| (number / scale).to_string());
        catch_up.extend(lines(stage, "db_catch_up", &arguments, None)?);
    }
    Ok(json!({
        "memory_limit_bytes": LIMIT, "met": true, "by_size": by_size, "by_writers": by_writers, "catch_up": catch_up,
    }))
}

/// Runs a task and gives what it says, line by line.
fn lines(stage: &Stage, task: &str, arguments: &[String], limit: Option<Limit>) -> Result<Vec<Value>> {
    let folder = stage.folder.path().join(format!("{task}-{}", arguments.join("-")));
    std::fs::create_dir_all(&folder).context("cannot make a folder")?;
    let mut command = stage.command(Side::Ours, task, &folder);
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).spawn().context("cannot start what is measured")?;
    if let Some(limit) = &limit {
        limit.add(child.id())?;
    }
    // It waits for this line, if all it does is to happen under the limit.
    let mut input = child.stdin.take().context("its input was asked for")?;
    // A process that does not read it may have ended already.
    let _ = input.write_all(b"go\n");
    let output = BufReader::new(child.stdout.take().context("its output was asked for")?);
    let mut said = Vec::new();
    for line in output.lines() {
        let line: Value = serde_json::from_str(&line?).context("what it says")?;
        eprintln!("    {task} {line}");
        said.push(line);
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "{task} ended with {status}");
    let _ = std::fs::remove_dir_all(&folder);
    Ok(said)
}
