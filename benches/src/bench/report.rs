//! Runs the rows and says what came of them.

use crate::rows::{Memory, Variant, Way, Work};
use crate::run::{Said, Side, Stage};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Folder with bench.mjs and its installed packages
    #[arg(long)]
    peers: PathBuf,
    /// Measure only rows whose name contains this; `growth` is one
    #[arg(long)]
    only: Option<String>,
    /// Divide the amount of work by this: for a quick look, not for figures
    #[arg(long, default_value_t = 1)]
    scale: u64,
    /// Runs of each side; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where stores are made; on the disk that is to be measured
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// The commit this was built from
    #[arg(long, default_value = "unknown")]
    commit: String,
}

/// What is measured.
pub struct Subject {
    /// Its name in the report.
    pub what: &'static str,
    /// The rows, with so much less to do.
    pub rows: fn(u64) -> Vec<Work>,
    /// The curves of growth.
    pub growth: fn(&Stage, u64) -> Result<Value>,
}

/// Measures what was asked for. Fails when a row does not reach what it must.
pub fn bench(options: &Options, subject: &Subject) -> Result<ExitCode> {
    let stage = Stage {
        me: std::env::current_exe().context("cannot find out where this program lies")?,
        peers: options.peers.clone(),
        folder: tempfile::Builder::new()
            .prefix("cloudpal-bench-")
            .tempdir_in(&options.folder)
            .with_context(|| format!("cannot make a folder in {}", options.folder.display()))?,
    };
    let wants = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    let works = (subject.rows)(options.scale);
    let names: Vec<&str> = works.iter().map(|work| work.name).chain(["growth"]).collect();
    if !names.iter().any(|name| wants(name)) {
        bail!("no row has that in its name; there are {}", names.join(", "));
    }
    let mut rows = Vec::new();
    for work in works.iter().filter(|work| wants(work.name)) {
        eprintln!("==> {}", work.name);
        match measure(&stage, work, options.rounds) {
            Ok(measured) => rows.extend(measured),
            Err(error) => {
                eprintln!("    failed: {error:#}");
                rows.push(json!({ "row": work.name, "met": false, "error": format!("{error:#}") }));
            }
        }
        stage.clear(work);
    }
    let mut report =
        json!({ "what": subject.what, "commit": options.commit, "machine": machine(), "rows": rows });
    if wants("growth") {
        eprintln!("==> growth");
        report["growth"] = (subject.growth)(&stage, options.scale)
            .unwrap_or_else(|error| json!({ "met": false, "error": format!("{error:#}") }));
    }
    let met = |row: &Value| row["met"] == json!(true);
    let ok = rows_of(&report).iter().all(met) && report.get("growth").is_none_or(met);
    report["ok"] = json!(ok);
    print(&report, options.json);
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rows_of(report: &Value) -> &[Value] {
    report["rows"].as_array().map_or(&[], Vec::as_slice)
}

/// All variants of a work in turn, so that whatever else the machine does falls on each alike.
fn measure(stage: &Stage, work: &Work, rounds: usize) -> Result<Vec<Value>> {
    let ways: Vec<&Way> =
        std::iter::once(&work.theirs).chain(work.ours.iter().map(|variant| &variant.way)).collect();
    let mut sides: Vec<Side> = Vec::new();
    for way in &ways {
        let of_way = match way {
            Way::Alone(side) => vec![*side],
            Way::Between { server, client } => vec![*server, *client],
        };
        sides.extend(of_way);
    }
    sides.sort_by_key(|side| *side as u8);
    sides.dedup();
    stage.prepare(work, &sides)?;
    let mut said: Vec<Vec<Said>> = vec![Vec::new(); ways.len()];
    for round in 0..rounds {
        for (runs, way) in said.iter_mut().zip(&ways) {
            runs.push(stage.measure(work, way, round)?);
        }
    }
    let (theirs, ours) = said.split_first().context("a work has a side to compare with")?;
    Ok(work.ours.iter().zip(ours).map(|(variant, ours)| row(work, variant, ours, theirs)).collect())
}

fn row(work: &Work, variant: &Variant, ours_said: &[Said], theirs_said: &[Said]) -> Value {
    let figures =
        |said: &[Said]| said.iter().map(|run| work.unit.figure(run.count, run.seconds)).collect::<Vec<_>>();
    let peak = |said: &[Said]| median(said.iter().map(|run| run.peak_bytes as f64).collect());
    let (ours_raw, theirs_raw) = (figures(ours_said), figures(theirs_said));
    let (ours_peak, theirs_peak) = (peak(ours_said), peak(theirs_said));
    let (ours, theirs) = (median(ours_raw.clone()), median(theirs_raw.clone()));
    let ratio = work.unit.ratio(ours, theirs);
    let fits = variant.memory == Memory::Shown || ours_peak <= theirs_peak;
    let met = ratio >= variant.at_least && fits;
    let name = format!("{}{}_{}", work.name, variant.suffix, work.unit.suffix());
    eprintln!(
        "    {name}: {ours:.1} beside {theirs:.1}, ratio {ratio:.2} of {}; peak {:.0} beside {:.0} MiB{}",
        variant.at_least,
        ours_peak / 1048576.0,
        theirs_peak / 1048576.0,
        if met { "" } else { "   NOT MET" }
    );
    let other = if work.theirs_is_engine() { "fjall" } else { "npm" };
    let mut row = json!({
        "row": name, "theirs_is": other, "ours": round(ours), "theirs": round(theirs), "ratio": round(ratio),
        "at_least": variant.at_least, "met": met,
        "ours_raw": ours_raw.into_iter().map(round).collect::<Vec<_>>(),
        "theirs_raw": theirs_raw.into_iter().map(round).collect::<Vec<_>>(),
        "ours_peak_bytes": ours_peak, "theirs_peak_bytes": theirs_peak,
    });
    for (side, name) in
        [(ours_said, "ours_disk_bytes_per_live_byte"), (theirs_said, "theirs_disk_bytes_per_live_byte")]
    {
        let per = |run: &Said| Some(run.disk_bytes? as f64 / run.live_bytes? as f64);
        if let Some(per) = side.iter().map(per).collect::<Option<Vec<f64>>>() {
            row[name] = json!(round(median(per)));
        }
    }
    row
}

impl Work {
    fn theirs_is_engine(&self) -> bool {
        matches!(self.theirs, Way::Alone(Side::Fjall))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let mut machine = json!({
        "cores": std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    });
    if let Some(kib) = total {
        machine["memory_bytes"] = json!(kib * 1024);
    }
    machine
}

fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}
