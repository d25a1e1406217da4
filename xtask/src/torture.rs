//! `cargo xtask torture`: tries to make the data crates lose what they acknowledged.

use crate::run::step;
use crate::{build, root, tree};
use anyhow::{Context as _, Result};

/// What can be tortured.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Subject {
    /// The store of logs
    Data,
}

#[derive(clap::Args)]
pub struct Options {
    /// What to torture
    #[arg(value_enum)]
    subject: Subject,
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// What chance follows from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Do one part only, such as `cuts` or `kills`
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// A hundredth of everything
    #[arg(long)]
    quick: bool,
}

/// Builds the program that tortures, then runs it as root: it mounts a file system of its own.
pub fn torture(options: &Options) -> Result<()> {
    let Subject::Data = options.subject;
    step("the program that tortures, optimised", || build::release("cloudpal-benches"))?;
    let mut torture = root::program(&tree::release_program("cloudpal-torture")?);
    torture.args(["data", "--commit", &tree::commit(), "--seed", &options.seed.to_string()]);
    torture.args(options.only.iter().flat_map(|only| ["--only", only]));
    torture.args(options.quick.then_some("--quick")).args(options.json.then_some("--json"));
    let status = torture.status().context("cannot start cloudpal-torture")?;
    std::process::exit(status.code().unwrap_or(1));
}
