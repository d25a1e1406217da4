//! # What developers and newcomers run
//!
//! | command | what it does |
//! | --- | --- |
//! | `cargo xtask up` | installs what is missing, builds, and starts a seller, a data centre and a pal on this machine |
//! | `cargo xtask down` | stops them and leaves nothing running or mounted |
//! | `cargo xtask test` | formats, lints, structure, unit, integration and end-to-end tests |
//! | `cargo xtask demo` | plays a pal's first day with the real programs and prints what it measured |
//! | `cargo xtask interop` | plays random programs with our data crates and unmodified npm peers, and compares |
//! | `cargo xtask level-suite` | runs abstract-level's test suite on the client for databases, in Node.js and Chromium |
//! | `cargo xtask bench data` | measures the data crates beside npm's |
//! | `cargo xtask torture data` | tries to make the data crates lose what they acknowledged |
//! | `cargo xtask torture db` | plays the database in simulated worlds, judged by a model, and does to one on a disk what `data` does |
//! | `cargo xtask fuzz` | random bytes into every parser of bytes from outside |
//!
//! It depends on none of the product's crates, so that it starts within seconds on a fresh machine;
//! it drives the programs from outside, as a person would. It never changes the machine's own
//! firewall or kernel settings, except for what `up --listen` needs, which `down` takes back.
//!
//! Progress goes to standard error, results to standard output. Exit codes: 0 done, 1 failed, 2 used wrongly.
//!
//! ```text
//! cargo xtask up --detach --state /var/tmp/try --json
//! cargo xtask down --state /var/tmp/try --purge
//! ```

mod bench;
mod build;
mod check;
mod demo;
mod down;
mod fuzz;
mod interop;
mod kernel;
mod level;
mod net;
mod npm;
mod outside;
mod packages;
mod root;
mod run;
mod service;
mod state;
mod test;
mod torture;
mod tree;
mod up;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What developers and newcomers run", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start a seller, a data centre and a pal on this machine
    Up(up::Options),
    /// Stop what `up` started; data is kept
    Down(down::Options),
    /// Format check, lints, structure, unit, integration and end-to-end tests
    Test(test::Options),
    /// Play a pal's first day with the real programs and print what it measured
    Demo(demo::Options),
    /// Play random programs with our data crates and unmodified npm peers, and compare
    Interop(interop::Options),
    /// Run abstract-level's test suite on the client for databases, in Node.js and in Chromium
    LevelSuite(level::Options),
    /// Measure the data crates beside npm's
    Bench(bench::Options),
    /// Try to make the data crates lose what they acknowledged
    Torture(torture::Options),
    /// Random bytes into every parser of bytes from outside
    Fuzz(fuzz::Options),
}

/// The state folder is an option of `up` and `down` alike.
#[derive(clap::Args, Clone)]
struct StateOption {
    /// Folder for everything that is kept [default: .cloudpal beside the sources, or
    /// /var/lib/cloudpal-try-* where other users cannot reach that]
    #[arg(long = "state", value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Up(options) => up::up(&options),
        Task::Down(options) => down::down(&options),
        Task::Test(options) => test::test(&options),
        Task::Demo(options) => demo::demo(&options),
        Task::Interop(options) => interop::interop(&options),
        Task::LevelSuite(options) => level::suite(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Torture(options) => torture::torture(&options),
        Task::Fuzz(options) => fuzz::fuzz(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
