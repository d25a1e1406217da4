//! What an operation costs as a log grows to ten million blocks, in 512 MiB of memory.
//!
//! A log of ten million blocks is three times that memory, so most random reads must go to the disk, whoever does them.
//! What those cost is measured too, as single reads of 4 KiB anywhere in the same files: a get may cost twice that.

use crate::limit::Limit;
use crate::run::{Side, Stage};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

/// Bytes of memory that the process may have.
const LIMIT: u64 = 512 << 20;

/// Lengths at which costs are measured. The first and the last are what is compared.
pub const POINTS: [u64; 7] = [100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000];

/// How much more the last point may cost than the first.
const AT_MOST: f64 = 2.0;

/// Runs the process under the limit and gives the curve. It says a line for each point.
pub fn measure(stage: &Stage, scale: u64) -> Result<Value> {
    let limit = Limit::new(LIMIT)?;
    let folder = stage.folder.path().join("growth");
    std::fs::create_dir_all(&folder).context("cannot make a folder")?;
    let mut command = stage.command(Side::Ours, "growth", &folder);
    command.args(POINTS.map(|point| (point / scale).to_string()));
    let mut child = command.stdin(Stdio::piped()).spawn().context("cannot start the process that grows")?;
    limit.add(child.id())?;
    // It waits for this line, so that all it does happens under the limit.
    child.stdin.take().context("its input was asked for")?.write_all(b"go\n")?;
    let lines = BufReader::new(child.stdout.take().context("its output was asked for")?).lines();
    let mut curve = Vec::new();
    for line in lines {
        let point: Value = serde_json::from_str(&line?).context("a point of the curve")?;
        eprintln!("    {point}");
        curve.push(point);
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "the process that grows ended with {status}");
    let peak = limit.peak_bytes();
    let _ = std::fs::remove_dir_all(&folder);
    let (first, last) = curve.first().zip(curve.last()).context("it said nothing")?;
    let figure = |point: &Value, name: &str| point[name].as_f64().with_context(|| format!("no {name}"));
    let ratio = |name| Ok::<_, anyhow::Error>(figure(last, name)? / figure(first, name)?);
    let (single, thousand, get) =
        (ratio("append_single_us")?, ratio("append_1000_us")?, ratio("random_get_us")?);
    let get_to_bare = figure(last, "random_get_us")? / figure(last, "bare_read_us")?;
    let met = [single, thousand, get.min(get_to_bare)].iter().all(|it| *it <= AT_MOST);
    let mut grown = json!({
        "memory_limit_bytes": LIMIT, "at_most": AT_MOST, "met": met, "curve": curve,
        "last_to_first": { "append_single_us": single, "append_1000_us": thousand, "random_get_us": get },
        "random_get_to_bare_read": get_to_bare,
    });
    if let Some(peak) = peak {
        grown["charged_peak_bytes"] = json!(peak);
    }
    Ok(grown)
}
