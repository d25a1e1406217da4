//! # A pal's first day, played with the real programs
//!
//! `demo` plays it once, by the real rule of 180 seconds without use, and judges every figure; `test`
//! plays it twice in a row together with the faults, and judges counts and states, never milliseconds.
//!
//! Seller, data centre, person and pal are brought up by `xtask up` in a folder of their own, as a
//! newcomer would. The device is Debian's wireguard-go and wireguard-tools in a network namespace. This
//! program only watches, sends packets, breaks things and counts; it takes no part in the system.
//!
//! It takes root, leaves nothing behind, and prints results on standard output, progress on standard
//! error. Exit codes: 0 all as promised, 1 something was not, 2 used wrongly.
//!
//! ```text
//! cargo xtask demo --json     # builds everything and runs `cloudpal-e2e demo --json`
//! ```

mod asleep;
mod bare;
mod capture;
mod client;
mod data;
mod day;
mod faults;
mod flood;
mod inside;
mod internet;
mod numbers;
mod page;
mod ping;
mod report;
mod search;
mod stage;
mod steps;
mod vault;
mod wake;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cloudpal-e2e", about = "Plays a pal's day with the real programs")]
struct Args {
    #[command(subcommand)]
    play: Play,
}

#[derive(Subcommand)]
enum Play {
    /// Once, measured: prints a table
    Demo {
        /// Print exactly one JSON object instead
        #[arg(long)]
        json: bool,
        /// Numbers that chance is drawn from [default: another each time]
        #[arg(long)]
        seed: Option<u64>,
        /// Seconds without use until the pal sleeps; the real rule is 180
        #[arg(long, default_value_t = 180)]
        idle_s: u32,
    },
    /// Twice in a row with faults, judged by counts and states
    Test {
        /// Numbers that chance is drawn from [default: another each time]
        #[arg(long)]
        seed: Option<u64>,
    },
}

/// With this argument the program is the helper process of crate `cloudpal-machine`.
pub const HELPER: &str = "machine-helper";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(HELPER) {
        return cloudpal_machine::helper_main();
    }
    let done = match Args::parse().play {
        Play::Demo { json, seed, idle_s } => day::demo(seed, idle_s).map(|report| report.print(json)),
        Play::Test { seed } => day::test(seed),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
