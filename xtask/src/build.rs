//! Building the product's programs, always in the profile that tests use, so that a newcomer builds
//! everything once.

use crate::run::watched;
use crate::tree;
use anyhow::Result;

/// Programs of this machine. `xtask` is listed so that end-to-end tests find the one of this commit.
const PROGRAMS: [&str; 5] = ["cloudpal-mint", "cloudpal-host", "cloudpal-cli", "cloudpal-e2e", "xtask"];

/// Programs inside micro-VMs.
const GUEST_PROGRAMS: [&str; 2] = ["cloudpal-guest", "cloudpal-pal"];

/// Builds the programs that run on this machine.
pub fn programs() -> Result<()> {
    let mut cargo = tree::cargo();
    cargo.arg("build").arg("--locked");
    watched(PROGRAMS.iter().fold(&mut cargo, |cargo, name| cargo.args(["-p", name])))
}

/// Builds the person's program, which also serves.
pub fn cli() -> Result<()> {
    watched(tree::cargo().args(["build", "--locked", "-p", "cloudpal-cli"]))
}

/// Builds the program that plays our data crates against npm's.
pub fn interop() -> Result<()> {
    watched(tree::cargo().args(["build", "--locked", "-p", "cloudpal-interop"]))
}

/// Builds all programs together with all tests: the tests that follow, and the day after them, then
/// find everything built, with the same features of the same dependencies.
pub fn everything() -> Result<()> {
    watched(tree::cargo().args(["build", "--workspace", "--all-targets", "--locked"]))
}

/// Builds the programs of one package optimised: for measuring, and for what takes long.
pub fn release(package: &str) -> Result<()> {
    watched(tree::cargo().args(["build", "--release", "--locked", "-p", package]))
}

/// Builds the programs that run in micro-VMs, which have no libraries: static ones.
pub fn guest_programs() -> Result<()> {
    let mut cargo = tree::cargo();
    // In place of what .cargo/config.toml says.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static --cfg chacha20_avx512");
    cargo.args(["build", "--locked", "--target", tree::GUEST_TARGET]);
    watched(GUEST_PROGRAMS.iter().fold(&mut cargo, |cargo, name| cargo.args(["-p", name])))
}
