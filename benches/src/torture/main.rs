//! # Tries to make the data crates lose what they acknowledged
//!
//! | part | what is done to a store |
//! | --- | --- |
//! | cuts | power lost after any operation of its disk; what was not synced is dropped, torn, reordered |
//! | kills | `kill -9` at any moment |
//! | faults | the n-th call fails once, for ever, or for want of space |
//! | flips | any byte of its files changed; healed from a peer |
//! | liars | a peer whose answers are forged, replayed, reordered or another log's |
//!
//! and `db` plays the database in simulated worlds, which needs no disk.
//!
//! Each part also runs on toys that have a flaw which this part must find: a probe that finds no loss in
//! those proves nothing about the store. It takes root and `/dev/fuse`. Everything follows from one seed.
//!
//! `cargo xtask torture data --json` and `cargo xtask torture db --json` run it whole; `cargo test -p cloudpal-benches` a small part of it.

mod alarm;
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
mod workers;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use subject::Subject;

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
        #[arg(long)]
        subject: Subject,
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
        Task::Victim { subject, folder, seed, from } => {
            kills::victim(subject, &program::Program::of(seed), &folder, from)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
