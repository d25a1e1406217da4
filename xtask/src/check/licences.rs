//! What we depend on: licences, registries and banned crates, as `deny.toml` says. `cargo deny` judges
//! where it is installed; else a smaller check of our own reads the same file.

use super::{metadata, spdx, verdict};
use crate::run::{output, watched};
use crate::tree;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::fs;

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    #[serde(default)]
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    allow_registry: Vec<String>,
}

/// Checks everything that `Cargo.lock` names.
pub fn check() -> Result<()> {
    if output(tree::cargo().args(["deny", "--version"])).is_ok() {
        return watched(tree::cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]));
    }
    eprintln!("    cargo-deny is not installed: checking licences, bans and registries only");
    let text = fs::read_to_string(tree::root().join("deny.toml")).context("cannot read deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("deny.toml")?;
    let metadata = metadata(&[])?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    verdict(packages.iter().flat_map(|package| judge(package, &deny)).collect())
}

fn judge(package: &serde_json::Value, deny: &Deny) -> Vec<String> {
    let field = |name: &str| package[name].as_str().unwrap_or_default();
    let (name, licence, source) = (field("name"), field("license"), field("source"));
    let mut wrong = Vec::new();
    let exceptions = deny.licenses.exceptions.iter().filter(|exception| exception.name == name);
    let allowed: Vec<_> = deny
        .licenses
        .allow
        .iter()
        .chain(exceptions.flat_map(|exception| &exception.allow))
        .cloned()
        .collect();
    if !spdx::met(licence, &allowed) {
        wrong.push(format!("{name}: licence {licence:?} is not allowed by deny.toml"));
    }
    if deny.bans.deny.iter().any(|banned| banned.name == name) {
        wrong.push(format!("{name} is banned by deny.toml"));
    }
    let registry = source.strip_prefix("registry+").unwrap_or(source);
    if !source.is_empty() && !deny.sources.allow_registry.iter().any(|allowed| allowed == registry) {
        wrong.push(format!("{name} comes from {source}, which deny.toml does not allow"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_file_in_the_tree_can_be_read_and_bites() {
        let text = fs::read_to_string(tree::root().join("deny.toml")).unwrap();
        let deny: Deny = toml::from_str(&text).unwrap();
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        let good = json!({ "name": "a", "license": "MIT OR Apache-2.0", "source": registry });
        assert!(judge(&good, &deny).is_empty());
        assert_eq!(judge(&json!({ "name": "a", "license": "GPL-3.0", "source": registry }), &deny).len(), 1);
        assert_eq!(
            judge(&json!({ "name": "a", "license": "MIT", "source": "git+https://x" }), &deny).len(),
            1
        );
        assert_eq!(
            judge(&json!({ "name": "openssl", "license": "MIT", "source": registry }), &deny).len(),
            1
        );
        assert_eq!(judge(&json!({ "name": "a", "source": registry }), &deny).len(), 1, "no licence at all");
    }
}
