//! Checks of the sources themselves: what the house rules say that no compiler looks at.

pub mod arrows;
pub mod leftovers;
pub mod licences;
pub mod sources;
mod spdx;

use crate::run::output;
use crate::tree;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// `cargo metadata` of the workspace, with or without everything it depends on.
fn metadata(extra: &[&str]) -> Result<Value> {
    let said = output(tree::cargo().args(["metadata", "--format-version", "1", "--locked"]).args(extra))?;
    serde_json::from_str(&said).context("cargo metadata is not JSON")
}

/// One line for each thing that is wrong.
fn verdict(wrong: Vec<String>) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{} found:\n  {}", wrong.len(), wrong.join("\n  "))
}
