//! `cargo xtask bench`: the data crates beside npm's, and the database beside LevelDB and autobase, in one run.

use crate::run::step;
use crate::{build, npm, root, tree};
use anyhow::{Context as _, Result};

/// What can be measured.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Subject {
    /// Logs, sorted maps and drives beside npm's hypercore, hyperbee and hyperdrive
    Data,
    /// The multi-writer database beside LevelDB (classic-level), autobase and bare fjall
    Db,
}

#[derive(clap::Args)]
pub struct Options {
    /// What to measure
    #[arg(value_enum)]
    subject: Subject,
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Measure only rows whose name contains this, such as `bee` or `growth`
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Divide the amount of work by this: for a quick look, not for figures
    #[arg(long, value_name = "N", default_value_t = 1)]
    scale: u64,
    /// Runs of each side; the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Make the stores here, on the disk that is to be measured [default: /var/tmp]
    #[arg(long, value_name = "DIR")]
    folder: Option<std::path::PathBuf>,
}

/// Builds the program that measures and npm's side, then runs it.
pub fn bench(options: &Options) -> Result<()> {
    let subject = match options.subject {
        Subject::Data => "data",
        Subject::Db => "db",
    };
    let peers = tree::root().join("benches/peers");
    npm::install(&peers)?;
    step("the program that measures, optimised", || build::release("cloudpal-benches"))?;
    // Root, for the limit on memory.
    let mut bench = root::program(&tree::release_program("cloudpal-bench")?);
    bench.args([subject, "--commit", &tree::commit(), "--scale", &options.scale.to_string()]);
    bench.args(["--rounds", &options.rounds.to_string(), "--peers"]).arg(peers);
    bench.args(options.only.iter().flat_map(|only| ["--only", only]));
    if let Some(folder) = &options.folder {
        bench.arg("--folder").arg(folder);
    }
    bench.args(options.json.then_some("--json"));
    let status = bench.status().context("cannot start cloudpal-bench")?;
    std::process::exit(status.code().unwrap_or(1));
}
