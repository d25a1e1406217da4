//! What a run must not leave behind: processes, namespaces, mounts, interfaces and cgroups of ours.

use super::verdict;
use crate::state::{HOST_USER, MACHINE_USERS, MINT_USER};
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// All traces of ours that are there at one moment, each a line for people.
pub struct Traces(BTreeSet<String>);

impl Traces {
    pub fn now() -> Result<Self> {
        let mut traces = BTreeSet::new();
        processes(&mut traces)?;
        names("/run/netns", "namespace", &mut traces);
        names("/sys/class/net", "interface", &mut traces);
        cgroups(Path::new("/sys/fs/cgroup"), 4, &mut traces);
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the list of mounts")?;
        let ours = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| point.contains("cloudpal"));
        traces.extend(ours.map(|point| format!("mount {point}")));
        Ok(Traces(traces))
    }

    /// Fails when `later` has something that was not there before.
    pub fn compare(&self, later: &Traces) -> Result<()> {
        verdict(later.0.difference(&self.0).cloned().collect())
    }
}

/// Processes of our users or of our programs. Those of the person's user bear our programs' names.
fn processes(traces: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir("/proc").context("cannot list processes")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else { continue };
        let Ok(about) = fs::metadata(entry.path()) else { continue };
        let said = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let said = said.trim();
        let user = about.uid();
        let ours = [HOST_USER, MINT_USER].contains(&user)
            || MACHINE_USERS.contains(&user)
            || PROGRAMS.contains(&said);
        if ours && crate::service::start_time(pid).is_some() {
            traces.insert(format!("process {pid} ({said})"));
        }
    }
    Ok(())
}

/// As the kernel shows them: 15 characters at most.
const PROGRAMS: [&str; 4] = ["cloudpal", "cloudpal-host", "cloudpal-mint", "cloudpal-e2e"];

fn names(folder: &str, what: &str, traces: &mut BTreeSet<String>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    traces.extend(
        names
            .filter(|name| name.starts_with("cp-") || name.starts_with("cpal"))
            .map(|name| format!("{what} {name}")),
    );
}

fn cgroups(folder: &Path, depth: usize, traces: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().contains("cloudpal") {
                traces.insert(format!("cgroup {}", entry.path().display()));
            }
            cgroups(&entry.path(), depth - 1, traces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let traces = |list: &[&str]| Traces(list.iter().map(|text| (*text).to_owned()).collect());
        let before = traces(&["namespace cp-1", "process 7 (cloudpal)"]);
        assert!(before.compare(&traces(&["namespace cp-1"])).is_ok());
        let told = before.compare(&traces(&["namespace cp-1", "interface cpal-2"])).unwrap_err().to_string();
        assert!(told.contains("cpal-2") && !told.contains("cp-1"), "{told}");
    }
}
