//! `cargo xtask torture`: tries to make the data crates lose what they acknowledged.

use crate::run::step;
use crate::{build, root, tree};
use anyhow::{Context as _, Result};
use std::process::Command;

#[derive(clap::Args)]
pub struct Options {
    /// What to torture
    #[command(subcommand)]
    subject: Subject,
}

/// What can be tortured.
#[derive(clap::Subcommand)]
enum Subject {
    /// The store of logs
    Data {
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
    },
    /// The database, in simulated worlds and on a disk
    Db {
        /// Print exactly one JSON object on standard output
        #[arg(long)]
        json: bool,
        /// How many worlds, with the seeds from 0 on
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        seeds: u64,
        /// Play the world of this seed only, and tell what happens in it
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Do one part only: `worlds`, `cuts`, `kills`, `faults` or `flips`
        #[arg(long, value_name = "PART")]
        only: Option<String>,
        /// How often a process that writes is killed
        #[arg(long, value_name = "N", default_value_t = 300)]
        kills: u64,
        /// Flip every byte, lose power at every point, fail every call: otherwise some are chosen, spread evenly
        #[arg(long)]
        every: bool,
        /// A small part of everything on the disk
        #[arg(long)]
        quick: bool,
    },
}

/// Builds the program that tortures, then runs it, as root unless it needs no disk: it mounts a file system of its own.
pub fn torture(options: &Options) -> Result<()> {
    step("the program that tortures, optimised", || build::release("cloudpal-benches"))?;
    let program = tree::release_program("cloudpal-torture")?;
    let mut torture = match &options.subject {
        Subject::Data { json, seed, only, quick } => {
            let mut torture = root::program(&program);
            torture.args(["data", "--seed", &seed.to_string()]);
            torture.args(only.iter().flat_map(|only| ["--only", only]));
            torture.args(quick.then_some("--quick")).args(json.then_some("--json"));
            torture
        }
        Subject::Db { json, seeds, seed, only, kills, every, quick } => {
            // Worlds need no disk.
            let worlds = only.as_deref() == Some("worlds") || seed.is_some();
            let mut torture = if worlds { Command::new(&program) } else { root::program(&program) };
            torture.args(["db", "--seeds", &seeds.to_string(), "--kills", &kills.to_string()]);
            torture.args(only.iter().flat_map(|only| ["--only", only]));
            torture.args(quick.then_some("--quick")).args(json.then_some("--json"));
            torture.args(every.then_some("--every"));
            if let Some(seed) = seed {
                torture.args(["--seed", &seed.to_string()]);
            }
            torture
        }
    };
    torture.args(["--commit", &tree::commit()]);
    let status = torture.status().context("cannot start cloudpal-torture")?;
    std::process::exit(status.code().unwrap_or(1));
}
