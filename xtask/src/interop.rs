//! `cargo xtask interop`: our data crates against unmodified npm peers.

use crate::run::{step, watched};
use crate::{build, npm, tree};
use anyhow::{Context as _, Result, bail};
use std::process::Command;

#[derive(clap::Args)]
pub struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Random programs of each scenario
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Everything else follows from it [default: the time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Play only scenarios whose name contains this, such as `drive` or `ours-ten`
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Play again only the program of this seed, as a report named it
    #[arg(long, value_name = "SEED", requires = "only")]
    program: Option<u64>,
}

/// Builds the program that plays, installs the npm peers, and plays.
pub fn interop(options: &Options) -> Result<()> {
    prepare()?;
    let mut play = play()?;
    let seed = options.seed.unwrap_or_else(seconds);
    play.args(["--seed", &seed.to_string(), "--seeds", &options.seeds.to_string()]);
    play.args(options.only.iter().flat_map(|only| ["--only", only]));
    play.args(options.program.iter().flat_map(|program| ["--program".to_owned(), program.to_string()]));
    play.args(options.json.then_some("--json"));
    let status = step("ours and npm's peers", || play.status().context("cannot start cloudpal-interop"))?;
    if status.success() && options.only.is_none() {
        step("LevelDB folders", folders)?;
    }
    std::process::exit(status.code().unwrap_or(1));
}

/// The short part of fixed seeds that tests run.
pub fn short() -> Result<()> {
    npm::install(&tree::root().join(PEERS))?;
    watched(play()?.arg("--short"))?;
    folders()
}

/// LevelDB folders between npm's classic-level and `cloudpal db`. What they print goes to standard error.
fn folders() -> Result<()> {
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=tap", "--test-reporter-destination=stderr", "leveldb.mjs"]);
    node.current_dir(tree::root().join(PEERS)).env("CLOUDPAL", tree::program("cloudpal")?);
    watched(&mut node)
}

const PEERS: &str = "interop/peers";

fn prepare() -> Result<()> {
    npm::install(&tree::root().join(PEERS))?;
    step("the program that plays", build::interop)?;
    step("the program that imports and exports", build::cli)
}

fn play() -> Result<Command> {
    let program = tree::program("cloudpal-interop")?;
    if !program.is_file() {
        bail!("{} is not built; run `cargo xtask interop`", program.display());
    }
    let mut play = Command::new(program);
    play.arg("run").arg("--peers").arg(tree::root().join(PEERS)).args(["--commit", &tree::commit()]);
    Ok(play)
}

fn seconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |since| since.as_secs())
}
