//! # Ours against unmodified npm peers
//!
//! `cloudpal-interop run` plays random programs of operations with our data crates and with unmodified npm
//! hypercore 11, hypercore 10, hyperbee, hyperdrive and corestore, each peer in a process of its own,
//! connected over TCP or found on a distributed hash table, in both directions; and compares what they hold afterwards. `cargo xtask interop`
//! installs the npm peers, builds this and runs it.
//!
//! - [`content`] and [`dice`]: bytes and chance that come back by their seed.
//! - [`stage`]: peers as child processes that take JSON commands, all of them the same ones.
//! - [`logs`], [`bees`] and [`drives`]: programs as plain data, and playing them.
//! - [`swarms`]: a log found by its discovery key on a table of this machine.
//! - [`peer`]: our data crates behind the same commands.
//! - [`catalogue`]: which programs are played by whom.
//! - [`report`]: one JSON object.
//!
//! The same programs played by npm peers alone are the control: they show that the harness can see a
//! healthy pair as healthy, and which programs npm itself cannot play.
//!
//! What it never does: leave a process running, or compare a peer with nothing but itself: blocks are judged
//! by what was appended.

mod bees;
mod catalogue;
mod content;
mod dice;
mod drives;
mod logs;
mod peer;
mod report;
mod stage;
mod swarms;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Ours against unmodified npm peers")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Play programs and compare
    Run(catalogue::Options),
    /// Be our peer: JSON commands on standard input
    Peer,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cloudpal-interop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    match Args::parse().task {
        Task::Run(options) => catalogue::run(&options),
        Task::Peer => peer::serve().map(|()| true),
    }
}
