//! What is left of a machine: processes, memory that is charged, secrets that can be found.

use crate::search::Needles;
use crate::stage::Stage;
use crate::vault::Vault;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a pal's machine takes up at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Processes of the machine's user or named after the pal, or inside its namespace.
    pub processes: u64,
    /// Memory charged to the pal's control groups, and files of the machine in memory file systems.
    pub charged_bytes: u64,
    /// Control groups of the pal.
    pub cgroups: u64,
}

/// Looks at everything at once.
pub fn footprint(stage: &Stage) -> Result<Footprint> {
    let (name, user) = (format!("cp-{}", stage.up.pal.id.short()), stage.machine_user());
    let groups = cgroups_named(&name);
    let charged: u64 = groups.iter().map(|group| charge(group)).sum();
    Ok(Footprint {
        processes: processes(&name, user)?,
        charged_bytes: charged + in_memory_file_systems(&name, user),
        cgroups: groups.len() as u64,
    })
}

fn processes(name: &str, user: u32) -> Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir("/proc").context("cannot list processes")?.flatten() {
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // Kernel threads and zombies have no command line.
        let machine = !command.is_empty() && entry.metadata().is_ok_and(|about| about.uid() == user);
        let named = command.split(|byte| *byte == 0).any(|word| word == name.as_bytes());
        count += u64::from(machine || named);
    }
    Ok(count)
}

/// Control groups of that name in every hierarchy.
fn cgroups_named(name: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy() == name {
                    found.push(entry.path());
                }
                if depth > 0 {
                    walk(&entry.path(), name, depth - 1, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), name, 4, &mut found);
    found
}

/// Memory charged to a group, by either version's file.
fn charge(group: &Path) -> u64 {
    let read = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    read("memory.current").or_else(|| read("memory.usage_in_bytes")).unwrap_or(0)
}

/// Files of the machine in file systems that live in memory.
fn in_memory_file_systems(name: &str, user: u32) -> u64 {
    ["/dev/shm", "/run", "/tmp"].iter().map(|folder| size_below(Path::new(folder), name, user, 4)).sum()
}

fn size_below(folder: &Path, name: &str, user: u32, depth: usize) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        let ours = about.uid() == user || entry.file_name().to_string_lossy().contains(name);
        if about.is_file() && ours {
            sum += about.blocks() * 512;
        } else if about.is_dir() && depth > 0 {
            sum += size_below(&entry.path(), name, user, depth - 1);
        }
    }
    sum
}

/// What a search for secrets came to.
#[derive(Clone, Debug)]
pub struct Hits {
    in_files: u64,
    pub in_memory: u64,
    holders: Vec<PathBuf>,
}

impl Hits {
    pub fn all(&self) -> u64 {
        self.in_files + self.in_memory
    }

    /// How many, and in which files.
    pub fn told(&self) -> String {
        let holders: Vec<_> = self.holders.iter().map(|path| path.display().to_string()).collect();
        format!("{} in memory, {} in files {}", self.in_memory, self.in_files, holders.join(" "))
    }
}

/// Looks for the marker and the data key in every file of the host and in the sleeping pal's memory image
/// decrypted with the host's key.
pub fn search(stage: &Stage, vault: &Vault, marker: &str) -> Result<Hits> {
    let key = stage.seed()?.data_disk_key(stage.up.pal.id);
    // The key's halves too: a cipher's schedule holds each of them apart.
    let (first, second) = key.expose().split_at(32);
    let secrets = vec![marker.as_bytes().to_vec(), first.to_vec(), second.to_vec()];
    let in_memory = vault.search(&secrets)?;
    let (in_files, holders) = Needles::new(secrets).count_below(&stage.up.host.state)?;
    Ok(Hits { in_files, in_memory, holders })
}
