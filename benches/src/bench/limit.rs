//! A limit on memory for one process, page cache included: a control group of version 2 or 1, made for the time of
//! the run. It takes root.

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A control group with a limit, until dropped. Its processes must have ended by then.
pub struct Limit {
    folder: PathBuf,
}

impl Limit {
    /// So many bytes and no swap beyond.
    pub fn new(bytes: u64) -> Result<Self> {
        let name = format!("cloudpal-bench-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let (folder, limit) = if root.join("memory").is_dir() {
            (root.join("memory").join(name), "memory.limit_in_bytes")
        } else if root.join("cgroup.controllers").is_file() {
            // Version 2 hands a controller on only when told to; where it is handed on already this changes nothing.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
            (root.join(name), "memory.max")
        } else {
            bail!("this machine has no control groups for memory");
        };
        fs::create_dir(&folder)
            .with_context(|| format!("cannot make {}; this takes root", folder.display()))?;
        let limited = Self { folder };
        fs::write(limited.folder.join(limit), bytes.to_string()).context("cannot set the limit on memory")?;
        Ok(limited)
    }

    /// Puts a process under it. What it did before does not count.
    pub fn add(&self, pid: u32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string())
            .context("cannot limit the memory of a process")
    }

    /// The most that was charged so far.
    pub fn peak_bytes(&self) -> Option<u64> {
        let files = ["memory.max_usage_in_bytes", "memory.peak"];
        let text = files.iter().find_map(|name| fs::read_to_string(self.folder.join(name)).ok())?;
        text.trim().parse().ok()
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("    cannot remove {}: {error}", self.folder.display());
        }
    }
}
