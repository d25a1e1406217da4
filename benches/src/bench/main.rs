//! # The same work on ours and on npm's, in one run
//!
//! Every row of `cargo xtask bench data --json` is a piece of work that both sides do in processes of their own,
//! alternating, five times; what counts is the median and the ratio. Other machines give other figures: the ratios
//! are what is promised (SPECIFICATION.md).
//!
//! - `rows` says what is measured and what it must reach;
//! - `run` starts the processes and reads what they print;
//! - `work` is our side, one short function a task; `../../peers/bench.mjs` is npm's, function by function;
//! - `growth` is the curve up to ten million blocks in 512 MiB;
//! - `rows_db` and `growth_db` are the same for the multi-writer database, beside LevelDB, autobase and bare fjall.
//!
//! npm's packages offer no sync per write, so rows are compared with both sides unsynced. What is synced stands
//! beside bare fjall doing the same writes.

mod growth;
mod growth_db;
mod limit;
mod report;
mod rows;
mod rows_db;
mod run;
mod work;

use anyhow::Result;
use clap::{Parser, Subcommand};
use report::Subject;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Measures the data crates beside npm's", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures the data crates
    Data(report::Options),
    /// Measures the multi-writer database
    Db(report::Options),
    /// One side of one row, in a process of its own
    #[command(hide = true)]
    Work {
        /// Which
        task: String,
        /// Where
        folder: PathBuf,
        /// How much of what
        arguments: Vec<String>,
    },
}

fn main() -> Result<ExitCode> {
    match Args::parse().task {
        Task::Data(options) => {
            report::bench(&options, &Subject { what: "bench data", rows: rows::all, growth: growth::measure })
        }
        Task::Db(options) => report::bench(
            &options,
            &Subject { what: "bench db", rows: rows_db::all, growth: growth_db::measure },
        ),
        Task::Work { task, folder, arguments } => {
            work::work(&task, &folder, &arguments)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
