//! Dependencies point one way: programs -> pillar shells -> pillar cores -> protocol, core. Pillars do
//! not import one another.

use super::{metadata, verdict};
use anyhow::{Context as _, Result};
use std::path::Path;

/// Which of our crates a crate may depend on. `dev` are additions for its tests only.
struct Room {
    name: &'static str,
    may: &'static [&'static str],
    dev: &'static [&'static str],
}

const fn room(name: &'static str, may: &'static [&'static str]) -> Room {
    Room { name, may, dev: &[] }
}

const BASE: [&str; 2] = ["cloudpal-core", "cloudpal-protocol"];

const ROOMS: [Room; 28] = [
    room("cloudpal-core", &[]),
    room("cloudpal-protocol", &["cloudpal-core"]),
    room("cloudpal-plan", &BASE),
    room("cloudpal-meter", &BASE),
    room("cloudpal-form", &BASE),
    room("cloudpal-log", &BASE),
    room("cloudpal-sorted", &[]),
    room("cloudpal-leveldb", &[]),
    room("cloudpal-db", &["cloudpal-core", "cloudpal-log", "cloudpal-sorted"]),
    room("cloudpal-simulator", &["cloudpal-core", "cloudpal-log", "cloudpal-sorted", "cloudpal-db"]),
    room(
        "cloudpal-base",
        &["cloudpal-core", "cloudpal-log", "cloudpal-sorted", "cloudpal-store", "cloudpal-db"],
    ),
    room("cloudpal-store", &["cloudpal-core", "cloudpal-protocol", "cloudpal-log"]),
    Room { name: "cloudpal-serve", may: &["cloudpal-log", "cloudpal-base"], dev: &["cloudpal-store"] },
    room("cloudpal-swarm", &["cloudpal-core", "cloudpal-protocol", "cloudpal-log", "cloudpal-store"]),
    room("cloudpal-bee", &["cloudpal-core", "cloudpal-protocol", "cloudpal-log"]),
    room("cloudpal-drive", &["cloudpal-core", "cloudpal-protocol", "cloudpal-log", "cloudpal-bee"]),
    room(
        "cloudpal-shelf",
        &[
            "cloudpal-core",
            "cloudpal-protocol",
            "cloudpal-log",
            "cloudpal-store",
            "cloudpal-bee",
            "cloudpal-drive",
        ],
    ),
    room("cloudpal-link", &["cloudpal-core", "cloudpal-protocol", "cloudpal-plan"]),
    Room { name: "cloudpal-machine", may: &BASE, dev: &["cloudpal-image"] },
    room("cloudpal-image", &BASE),
    Room {
        name: "cloudpal-purse",
        may: &["cloudpal-core", "cloudpal-protocol", "cloudpal-form"],
        dev: &["cloudpal-mint", "cloudpal-till"],
    },
    Room {
        name: "cloudpal-till",
        may: &["cloudpal-core", "cloudpal-protocol", "cloudpal-form"],
        dev: &["cloudpal-mint", "cloudpal-purse"],
    },
    Room {
        name: "cloudpal-mint",
        may: &["cloudpal-core", "cloudpal-protocol", "cloudpal-form"],
        dev: &["cloudpal-purse", "cloudpal-till"],
    },
    // Programs may join any pillars; these lists say which they do.
    room("cloudpal-guest", &["cloudpal-core", "cloudpal-protocol", "cloudpal-link"]),
    Room {
        name: "cloudpal-pal",
        may: &[
            "cloudpal-core",
            "cloudpal-protocol",
            "cloudpal-plan",
            "cloudpal-link",
            "cloudpal-meter",
            "cloudpal-log",
            "cloudpal-store",
            "cloudpal-bee",
            "cloudpal-drive",
            "cloudpal-base",
            "cloudpal-serve",
            "cloudpal-shelf",
        ],
        // Its tests ask it as a person does.
        dev: &["cloudpal-cli"],
    },
    room(
        "cloudpal-host",
        &[
            "cloudpal-core",
            "cloudpal-protocol",
            "cloudpal-plan",
            "cloudpal-link",
            "cloudpal-machine",
            "cloudpal-image",
            "cloudpal-meter",
            "cloudpal-form",
            "cloudpal-till",
        ],
    ),
    Room {
        name: "cloudpal-cli",
        may: &[
            "cloudpal-core",
            "cloudpal-protocol",
            "cloudpal-plan",
            "cloudpal-meter",
            "cloudpal-purse",
            "cloudpal-log",
            "cloudpal-store",
            "cloudpal-bee",
            "cloudpal-drive",
            "cloudpal-leveldb",
            "cloudpal-base",
            "cloudpal-serve",
            "cloudpal-shelf",
            "cloudpal-swarm",
        ],
        dev: &["cloudpal-mint"],
    },
    room("xtask", &[]),
];

/// Who may join everything: they play all parties at once, and nobody depends on them.
const STAGES: [&str; 4] = ["cloudpal-e2e", "cloudpal-interop", "cloudpal-benches", "cloudpal-fuzz-replay"];

/// Checks the manifest of every crate of the workspace.
pub fn check() -> Result<()> {
    let metadata = metadata(&["--no-deps"])?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if STAGES.contains(&name) {
            continue;
        }
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            wrong.push(format!("{name} is not in the list of rooms; say there what it may depend on"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            wrong.extend(judge(room, dependency));
        }
    }
    verdict(wrong)
}

fn judge(room: &Room, dependency: &serde_json::Value) -> Option<String> {
    let name = dependency["name"].as_str().unwrap_or_default();
    // Only our own crates have a path.
    Path::new(dependency["path"].as_str()?);
    let dev = dependency["kind"].as_str() == Some("dev");
    let allowed = room.may.contains(&name) || (dev && room.dev.contains(&name));
    (!allowed).then(|| format!("{} must not depend on {name}", room.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_arrow_against_the_stream_is_seen() {
        let plan = ROOMS.iter().find(|room| room.name == "cloudpal-plan").unwrap();
        let on = |name: &str| json!({ "name": name, "path": "/x", "kind": null });
        assert!(judge(plan, &on("cloudpal-link")).is_some());
        assert!(judge(plan, &on("cloudpal-core")).is_none());
        assert!(judge(plan, &json!({ "name": "serde", "kind": null })).is_none());
    }

    #[test]
    fn a_dependency_for_tests_does_not_open_the_door_for_more() {
        let purse = ROOMS.iter().find(|room| room.name == "cloudpal-purse").unwrap();
        let on = |kind: serde_json::Value| json!({ "name": "cloudpal-mint", "path": "/x", "kind": kind });
        assert!(judge(purse, &on(json!("dev"))).is_none());
        assert!(judge(purse, &on(json!(null))).is_some());
    }
}
