//! What a run found: one JSON object as `architecture.md` has it, or lines for a person.

use crate::catalogue::{Scenario, Task};
use crate::logs::Repairs;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How one program ended.
pub struct Outcome {
    /// Which scenario it belongs to.
    pub scenario: Scenario,
    /// Its seed.
    pub seed: u64,
    /// What npm's peers needed to go on after a log was cut.
    pub repairs: Repairs,
    /// Who disagreed about what.
    pub failure: Option<String>,
}

impl Outcome {
    /// Says on standard error how it ended.
    pub fn tell(&self) {
        let name = &self.scenario.name;
        match &self.failure {
            None => eprintln!("    ok  {name} {}", self.seed),
            Some(why) if self.scenario.is_control() => eprintln!("    npm {name} {}: {why}", self.seed),
            Some(why) => eprintln!("    NOT {name} {}: {why}", self.seed),
        }
    }
}

/// All that was played.
pub struct Report {
    seed: u64,
    commit: String,
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Of a run that began with `seed`.
    pub fn of(seed: u64, commit: &str, outcomes: Vec<Outcome>) -> Self {
        Report { seed, commit: commit.to_owned(), outcomes }
    }

    /// Whether every program that ours took part in ended well, and a judge who was deceived saw it. A run that
    /// judged nothing is not well.
    pub fn ok(&self) -> bool {
        let mut ours = self.ours().peekable();
        let judged = ours.peek().is_some() && ours.all(|outcome| outcome.failure.is_none());
        judged && self.deceived().all(|outcome| outcome.failure.is_none())
    }

    fn deceived(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| matches!(outcome.scenario.task, Task::Deceived))
    }

    fn ours(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.scenario.is_control())
    }

    fn control(&self) -> impl Iterator<Item = &Outcome> {
        let control = self.outcomes.iter().filter(|outcome| outcome.scenario.is_control());
        control.filter(|outcome| !matches!(outcome.scenario.task, Task::Deceived))
    }

    /// The object that programs read.
    pub fn json(&self) -> Value {
        let failed: Vec<_> = self.ours().filter(|outcome| outcome.failure.is_some()).map(one).collect();
        let mut seeds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for outcome in &self.outcomes {
            seeds.entry(&outcome.scenario.name).or_default().push(outcome.seed);
        }
        let unequal: Vec<_> = self.control().filter(|outcome| outcome.failure.is_some()).map(one).collect();
        json!({
            "what": "interop",
            "commit": self.commit,
            "ok": self.ok(),
            "seed": self.seed,
            "machine": machine(),
            "cases": self.ours().count(),
            "failures": failed.len(),
            "failed": failed,
            "npm_reconnects": reconnects(self.ours()),
            "npm_restarts": restarts(self.ours()),
            "control": {
                "what": "the same programs among npm peers alone",
                "cases": self.control().count(),
                "failures": unequal.len(),
                "failed": unequal,
                "npm_reconnects": reconnects(self.control()),
                "npm_restarts": restarts(self.control()),
            },
            "deceived": {
                "what": "programs whose judge expects a block that never was, and how many of them saw it missing",
                "cases": self.deceived().count(),
                "seen": self.deceived().filter(|outcome| outcome.failure.is_none()).count(),
            },
            "seeds": seeds,
        })
    }

    /// The same in a few lines.
    pub fn text(&self) -> String {
        let failed = self.ours().filter(|outcome| outcome.failure.is_some()).count();
        let unequal = self.control().filter(|outcome| outcome.failure.is_some()).count();
        format!(
            "{} programs against npm peers, {failed} failed; {} among npm peers alone, {unequal} failed; seed {}",
            self.ours().count(),
            self.control().count(),
            self.seed
        )
    }
}

/// How often npm's readers stayed behind a cut log until they were connected again.
fn reconnects<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> u64 {
    outcomes.map(|outcome| outcome.repairs.reconnects).sum()
}

/// How often a peer of npm hypercore 10 was started again that had nodes of an older fork in memory.
fn restarts<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> u64 {
    outcomes.map(|outcome| outcome.repairs.restarts).sum()
}

fn one(outcome: &Outcome) -> Value {
    json!({ "scenario": outcome.scenario.name, "seed": outcome.seed, "why": outcome.failure })
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let hypervisor = read("/sys/class/dmi/id/sys_vendor");
    json!({
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "memory_bytes": memory.map(|kib| kib * 1024),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "hypervisor": hypervisor.trim(),
    })
}
