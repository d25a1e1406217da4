//! npm's packages for the programs that are compared or talked with: exactly the versions that a lockfile names.

use crate::packages;
use crate::run::{step, watched};
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Installs what `folder/package-lock.json` says, unless that is there already.
pub fn install(folder: &Path) -> Result<()> {
    packages::install_node()?;
    // npm notes what it installed in this file, and only when it was done.
    let installed = modified(&folder.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(&folder.join("package-lock.json")) {
        return Ok(());
    }
    step("packages of npm", || {
        watched(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
    })
}

fn modified(file: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(file).and_then(|about| about.modified()).ok()
}
