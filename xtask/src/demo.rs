//! `cargo xtask demo`: the day of a pal, measured.

use crate::run::step;
use crate::{root, tree, up};
use anyhow::{Context as _, Result};
use std::process::Command;

#[derive(clap::Args)]
pub struct Options {
    /// Print exactly one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Everything is built already: go on as root
    #[arg(long, hide = true)]
    prepared: bool,
}

/// Builds, then hands over to the program that plays the day.
pub fn demo(options: &Options) -> Result<()> {
    if !options.prepared {
        up::prepare()?;
    }
    if let Some(status) = root::again(&["--prepared"])? {
        std::process::exit(status.code().unwrap_or(1));
    }
    let mut play = Command::new(tree::program("cloudpal-e2e")?);
    play.arg("demo").args(options.json.then_some("--json"));
    let status = step("a pal's first day", || play.status().context("cannot start cloudpal-e2e"))?;
    std::process::exit(status.code().unwrap_or(1));
}
