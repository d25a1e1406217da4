//! Where the sources and what is built from them lie.

use crate::run::{command, output};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Cargo, as the one that runs us.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The folder that cargo builds in: this program lies in its `debug`.
pub fn target() -> Result<PathBuf> {
    let me = std::env::current_exe().context("cannot find out where xtask itself lies")?;
    let target = me.parent().and_then(Path::parent).context("xtask does not lie in cargo's target folder")?;
    Ok(target.to_owned())
}

/// A program built for this machine.
pub fn program(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("debug").join(name))
}

/// A program built for this machine, optimised.
pub fn release_program(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("release").join(name))
}

/// A static program built for micro-VMs.
pub fn guest_program(name: &str) -> Result<PathBuf> {
    Ok(target()?.join(GUEST_TARGET).join("debug").join(name))
}

/// What guest programs are built for.
pub const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The commit that was built, with `+` when there are changes on top.
pub fn commit() -> String {
    let git = |line: &str| output(command(line).current_dir(root())).ok();
    let Some(commit) = git("git rev-parse --short=12 HEAD") else { return "unknown".into() };
    let changed = git("git status --porcelain --untracked-files=no").is_some_and(|lines| !lines.is_empty());
    format!("{}{}", commit.trim(), if changed { "+" } else { "" })
}
