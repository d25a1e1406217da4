//! A short part of the torture with a fixed seed. `cargo xtask torture data` and `cargo xtask torture db` are the whole.
//!
//! It mounts a file system, so it takes root and /dev/fuse, and says so where they are missing.

#![allow(clippy::unwrap_used, reason = "a test says what failed by failing")]

use serde_json::Value;
use std::process::Command;

const SEED: &str = "1";

fn torture() -> Value {
    let mut torture = Command::new(env!("CARGO_BIN_EXE_cloudpal-torture"));
    let out = torture.args(["data", "--json", "--quick", "--seed", SEED]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    println!("{said}");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn simulated_worlds_are_played_and_their_controls_noticed() {
    let mut torture = Command::new(env!("CARGO_BIN_EXE_cloudpal-torture"));
    let out = torture.args(["db", "--json", "--only", "worlds", "--seeds", "20"]).output().unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    println!("{report:#}");
    let worlds = &report["worlds"];
    assert_eq!((&report["ok"], &worlds["failing"]), (&Value::Bool(true), &serde_json::json!([])));
    assert!(worlds["control_diverged"].as_u64() > Some(0) && worlds["control_lost"].as_u64() > Some(0));
}

#[test]
fn a_database_loses_nothing_on_a_disk_that_fails() {
    for (part, count) in
        [("cuts", "cut_points"), ("kills", "kills"), ("faults", "faults"), ("flips", "flips")]
    {
        let mut torture = Command::new(env!("CARGO_BIN_EXE_cloudpal-torture"));
        let out =
            torture.args(["db", "--json", "--quick", "--only", part, "--disk-seed", SEED]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        let report: Value =
            serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        println!("{said}{report:#}");
        assert_eq!(report["ok"], true, "{part}, seed {SEED}");
        assert!(report["parts"][part][count].as_u64() > Some(10), "{part} did nothing");
        assert!(report["controls"][0]["wrong"].as_u64() > Some(0), "{part} is blind");
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_every_control_is_caught() {
    let report = torture();
    println!("{report:#}");
    for count in ["lost", "false_acks", "unopenable", "panicked", "hung"] {
        assert_eq!(report[count], 0, "{count}, seed {SEED}");
    }
    for (part, count) in [
        ("cuts", "cut_points"),
        ("kills", "kills"),
        ("faults", "faults"),
        ("flips", "flips"),
        ("liars", "lies"),
    ] {
        assert!(report["parts"][part][count].as_u64() > Some(10), "{part} did nothing");
    }
    assert!(report["parts"]["flips"]["healed"].as_u64() > Some(0), "nothing was healed");
    let controls = report["controls"].as_array().unwrap();
    assert!(controls.len() >= 6);
    for control in controls {
        assert!(control["wrong"].as_u64() > Some(0), "a probe is blind: {control}");
    }
}
