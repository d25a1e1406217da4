//! Becoming root for the parts that need it, and nothing else.

use crate::run::has_program;
use anyhow::{Context as _, Result, bail};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Whether we are root.
pub fn are_we() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Whether a command can be run as root, perhaps after sudo asked for a password.
pub fn reachable() -> bool {
    are_we() || has_program("sudo")
}

/// A command run as root.
pub fn command(line: &str) -> Command {
    if are_we() { crate::run::command(line) } else { crate::run::command(&format!("sudo -- {line}")) }
}

/// A program of ours run as root.
pub fn program(path: &Path) -> Command {
    if are_we() {
        return Command::new(path);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("--").arg(path);
    sudo
}

/// This program again with the same arguments and `extra`, through sudo. None when we are root already.
pub fn again(extra: &[&str]) -> Result<Option<ExitStatus>> {
    if are_we() {
        return Ok(None);
    }
    if !has_program("sudo") {
        bail!("this takes root (namespaces, taps, other users); run the same command as root");
    }
    let me = std::env::current_exe().context("cannot find out where xtask itself lies")?;
    eprintln!("==> going on as root through sudo (namespaces, taps, other users)");
    let mut sudo = Command::new("sudo");
    // sudo resets PATH; cargo must still be found by `test`.
    sudo.arg("--").arg("env").arg(format!("PATH={}", std::env::var("PATH").unwrap_or_default()));
    sudo.arg(me).args(std::env::args_os().skip(1)).args(extra);
    Ok(Some(sudo.status().context("cannot start sudo")?))
}
