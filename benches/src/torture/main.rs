//! # Tries to make the data crates lose what they acknowledged
//!
//! `data` does this to a store with a log,
//!
//! | part | what is done to a store |
//! | --- | --- |
//! | cuts | power lost after any operation of its disk; what was not synced is dropped, torn, reordered |
//! | kills | `kill -9` at any moment |
//! | faults | the n-th call fails once, for ever, or for want of space |
//! | flips | any byte of its files changed; healed from a peer |
//! | liars | a peer whose answers are forged, replayed, reordered or another log's |
//!
//! and to a database in a store: the first four with batches in place of blocks, and
//!
//! | part | what is done |
//! | --- | --- |
//! | worlds | the database in simulated worlds, which need no disk, judged by a model |
//!
//! Each part also runs on toys that have a flaw which this part must find, or on a database that is told to have one: a probe that
//! finds no loss in those proves nothing. It takes root and `/dev/fuse`. Everything follows from one seed.
//!
//! `cargo xtask torture data --json` and `cargo xtask torture db --json` run it whole; `cargo test -p cloudpal-benches` a small part of it.

mod alarm;
mod base;
mod chance;
mod cuts;
mod db;
mod disk;
mod faults;
mod flips;
mod judge;
mod kills;
mod liars;
mod place;
mod program;
mod report;
mod subject;
mod trial;
mod workers;
mod worlds;

use anyhow::Result;
use base::Batches;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use subject::{Blocks, Subject};

#[derive(Parser)]
#[command(
    about = "Tries to make the data crates lose what they acknowledged",
    disable_help_subcommand = true
)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Tortures the data crates
    Data(report::Options),
    /// Tortures the database
    Db(db::Options),
    /// Takes steps until killed
    #[command(hide = true)]
    Victim {
        /// None for the database
        #[arg(long)]
        subject: Option<Subject>,
        #[arg(long, default_value = "none")]
        flaw: base::Flaw,
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        from: u64,
    },
}

fn main() -> Result<ExitCode> {
    match Args::parse().task {
        Task::Data(options) => report::torture(&options),
        Task::Db(options) => db::torture(&options),
        Task::Victim { subject, flaw, folder, seed, from } => {
            match subject {
                Some(subject) => {
                    let program = program::Program::of(seed);
                    kills::victim(Blocks { subject, program }, &folder, from)?;
                }
                None => kills::victim(Batches { flaw, ..Batches::of(seed) }, &folder, from)?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
