//! System packages: what building and running takes, and installing what is missing.

use crate::root;
use crate::run::{command, has_program, output, watched};
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

/// Package, a program that shows it is there, and what needs it.
const NEEDED: [(&str, &str, &str); 10] = [
    ("gcc", "cc", "linking; SQLite and ring bring C"),
    ("libc6-dev", "cc", "linking, also the static guest programs"),
    ("protobuf-compiler", "protoc", "building the mint"),
    ("qemu-system-x86", "qemu-system-x86_64", "machines where KVM cannot be used"),
    ("iproute2", "ip", "namespaces, taps and routes"),
    ("nftables", "nft", "packet rules, on the host and in the pal"),
    ("e2fsprogs", "mke2fs", "the pal formats its data disk with it"),
    ("iputils-ping", "ping", "the demo and the tests count its replies"),
    ("wireguard-go", "wireguard-go", "the stock client of demo and tests"),
    ("wireguard-tools", "wg", "the stock client of demo and tests"),
];

/// Installs what is missing: as root, through sudo, or by saying what to run.
pub fn install_missing() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Node.js with npm, which only tests and comparisons with npm's packages take: where it is not there in any form.
pub fn install_node() -> Result<()> {
    let missing: Vec<_> = [("nodejs", "node"), ("npm", "npm")]
        .into_iter()
        .filter(|(_, program)| !has_program(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing.into_iter().map(|(package, _)| package).collect::<Vec<_>>())
}

/// Chromium, in which the client for databases is tested. Gives the program.
pub fn install_chromium() -> Result<PathBuf> {
    let installed = || {
        ["/usr/bin/chromium", "/usr/bin/google-chrome"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.is_file())
    };
    if installed().is_none() {
        install(&["chromium"])?;
    }
    installed().context("chromium is installed, but /usr/bin/chromium is not there")
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !has_program("apt-get") {
        bail!("these are missing and this is not Debian; install what corresponds to: {list}");
    }
    let install = format!("apt-get install -y --no-install-recommends {list}");
    if !root::reachable() {
        bail!("missing packages; as root run `apt-get update && {install}`, then start again");
    }
    eprintln!("    missing: {list}");
    refresh_lists()?;
    watched(root::command(&install).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Refreshes the package lists. A list that is stale asks for files which are gone.
pub fn refresh_lists() -> Result<()> {
    if !root::reachable() {
        bail!("the package lists must be refreshed; as root run `apt-get update`, then start again");
    }
    watched(root::command("apt-get update -qq"))
}

fn missing() -> Result<Vec<&'static str>> {
    if !has_program("dpkg-query") {
        return Ok(NEEDED
            .iter()
            .filter(|(_, program, _)| !has_program(program))
            .map(|need| need.0)
            .collect());
    }
    let known = output(command("dpkg-query -W -f=${db:Status-Status}\\t${Package}\\n"))?;
    let installed =
        |package: &str| known.lines().any(|line| line.split_once('\t') == Some(("installed", package)));
    Ok(NEEDED.iter().map(|need| need.0).filter(|package| !installed(package)).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_that_pulls_in_a_kernel_to_run() {
        assert!(super::NEEDED.iter().all(|(package, ..)| !package.starts_with("linux-image")));
    }
}
