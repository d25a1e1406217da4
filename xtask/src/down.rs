//! `cargo xtask down`: nothing stays running, mounted or in the network; data stays unless purged.

use crate::net::{Net, exists, inhabitants, ip};
use crate::run::{command, output, step};
use crate::service::{Party, program};
use crate::state::{Memory, State};
use crate::{StateOption, root};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    state: StateOption,
    /// Also delete the state folder: seed, credit and data are lost
    #[arg(long)]
    purge: bool,
}

/// Stops what `up` started in the state folder.
pub fn down(options: &Options) -> Result<()> {
    if let Some(status) = root::again(&[])? {
        std::process::exit(status.code().unwrap_or(1));
    }
    let state = State::of_last_up(options.state.dir.as_deref())?;
    let dir = state.dir().display();
    if state.recall()?.is_none() {
        bail!("nothing was ever started in {dir}; name the folder by --state DIR");
    }
    step("stopping", || stop_everything(&state))?;
    if options.purge {
        fs::remove_dir_all(state.dir()).with_context(|| format!("cannot delete {dir}"))?;
        eprintln!("    {dir} is deleted");
    } else {
        eprintln!("    seed, credit and data are kept in {dir}; --purge deletes them");
    }
    Ok(())
}

/// How a person stops what runs in a state folder.
pub fn hint(state: &State) -> String {
    match State::locate(None) {
        Ok(default) if default.dir() == state.dir() => "cargo xtask down".into(),
        _ => format!("cargo xtask down --state {}", state.dir().display()),
    }
}

/// Whether anything that an earlier `up` started there still runs.
pub fn running(state: &State) -> Result<bool> {
    Ok(state.recall()?.is_some_and(|memory| memory.runs()))
}

/// Stops pals, programs and network, in this order. Goes on after a failure and tells it at the end.
pub fn stop_everything(state: &State) -> Result<()> {
    let Some(mut memory) = state.recall()? else { return Ok(()) };
    let mut failed = Vec::new();
    // Without its uplink no pal of this folder has a network, and so no machine: all was stopped before.
    if memory.has_done("host-init") && exists(&Net::new(state, &memory).data_centre()) {
        failed.extend(output(program(state, Party::Host, "cloudpal-host").arg("stop-all")).err());
    }
    for service in memory.services.iter().rev() {
        if service.stop(Duration::from_secs(20)) {
            eprintln!("    {} did not end by itself within 20 s and was killed", service.name);
        }
    }
    memory.services.clear();
    failed.extend(close_network(state, &mut memory).err());
    failed.extend(unmount(state).err());
    remove_empty_cgroups();
    let _ = fs::remove_file(state.join("up.json"));
    state.remember(&memory)?;
    match failed.into_iter().next() {
        Some(error) => Err(error.context("not everything could be stopped")),
        None => Ok(()),
    }
}

fn close_network(state: &State, memory: &mut Memory) -> Result<()> {
    let net = Net::new(state, memory);
    if let Some(before) = memory.forwarded_before.take() {
        net.close_to_outside(&before)?;
    }
    memory.listen = None;
    for namespace in tenants(state).into_iter().chain([net.client(), net.internet(), net.data_centre()]) {
        if exists(&namespace) {
            end_inhabitants(&namespace);
            ip(&format!("netns del {namespace}"))?;
        }
    }
    net.remove()
}

/// Namespaces of the pals that `up.json` names, should the host have left them.
fn tenants(state: &State) -> Vec<String> {
    let report = fs::read_to_string(state.join("up.json")).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
    let id = report.pointer("/pal/id").and_then(|id| id.as_str()).and_then(|id| id.get(..8));
    id.map(|id| format!("cp-{id}")).into_iter().collect()
}

/// Ends what still runs inside a namespace of ours: a client somebody started there, a machine whose
/// host could not stop it.
fn end_inhabitants(namespace: &str) {
    for signal in ["TERM", "KILL"] {
        let pids = inhabitants(namespace);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = output(command(&format!("kill -s {signal} {pid}")));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Unmounts whatever is mounted below the state folder.
fn unmount(state: &State) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the list of mounts")?;
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| std::path::Path::new(point).starts_with(state.dir())) {
        output(command("umount -l").arg(point))?;
    }
    Ok(())
}

/// The group above those of machines, in each hierarchy. One that is in use cannot be removed: it is
/// another state folder's.
fn remove_empty_cgroups() {
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = fs::remove_dir(hierarchy.path().join("cloudpal"));
    }
    let _ = fs::remove_dir("/sys/fs/cgroup/cloudpal");
}
