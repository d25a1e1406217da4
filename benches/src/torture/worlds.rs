//! The database in simulated worlds, many of them: what came out is judged by the reference model.
//!
//! Two controls go with it, as a count of zero says nothing about a judge who sees nothing: worlds in which one copy is kept from a
//! block, and worlds in which a write that was said to last is taken from every disk.

use crate::workers::{Progress, all};
use cloudpal_simulator::{Counts, Flaw, History, Trouble, Verdict, play_aloud, play_with};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Which worlds.
pub struct Plan {
    /// The seeds from 0 on.
    pub seeds: u64,
    /// The world of this seed only, aloud.
    pub seed: Option<u64>,
    /// Things that happen in each world.
    pub steps: u64,
}

/// Worlds with a flaw of each kind.
const CONTROLS: u64 = 20;

/// What came of one world.
enum Outcome {
    Right(Box<Verdict>),
    Diverged(String),
    Lost(String),
    Deadlocked(String),
    Panicked,
}

/// Plays the worlds; what the report says of them, whose `ok` is false when one of them came out wrong or a control was not noticed.
pub fn run(plan: &Plan) -> Value {
    let seeds = plan.seed.map_or(0..plan.seeds, |seed| seed..seed + 1);
    let count = seeds.end - seeds.start;
    eprintln!("==> {count} worlds of {} steps", plan.steps);
    let progress = Progress::new("worlds", count);
    let done = AtomicU64::new(0);
    let worlds = all(seeds, |seed| {
        let aloud = plan.seed.is_some();
        let mut tell = |what: String| {
            if aloud {
                eprintln!("    {what}");
            }
        };
        let outcome = outcome(|| play_aloud(seed, plan.steps, History::of(seed), &mut tell));
        if let Some((_, what)) = outcome.wrong() {
            eprintln!("    seed {seed}: {what}");
        }
        progress.at(done.fetch_add(1, Ordering::Relaxed) + 1);
        (seed, outcome)
    });
    eprintln!("==> {CONTROLS} worlds with a block withheld from one copy, {CONTROLS} with one lost to all");
    let control = |flaw| all(0..CONTROLS, |seed| outcome(|| play_with(flaw, seed, plan.steps)));
    let noticed = |outcomes: &[Outcome], as_what| {
        outcomes.iter().filter(|outcome| outcome.wrong().is_some_and(|(kind, _)| kind == as_what)).count()
    };
    let control_diverged = noticed(&control(Flaw::BlockWithheld), "diverged");
    let control_lost = noticed(&control(Flaw::BlockLost), "lost");
    let mut report = sum(&worlds);
    let ok = report["failing"] == json!([]) && control_diverged > 0 && control_lost > 0;
    for (name, value) in [
        ("ok", json!(ok)),
        ("seeds", json!(count)),
        ("steps", json!(plan.steps)),
        ("control_worlds", json!(CONTROLS)),
        ("control_diverged", json!(control_diverged)),
        ("control_lost", json!(control_lost)),
    ] {
        report[name] = value;
    }
    report
}

impl Outcome {
    /// The kind of what was wrong, and what it was.
    fn wrong(&self) -> Option<(&'static str, &str)> {
        match self {
            Outcome::Right(_) => None,
            Outcome::Diverged(what) => Some(("diverged", what)),
            Outcome::Lost(what) => Some(("lost", what)),
            Outcome::Deadlocked(what) => Some(("deadlocked", what)),
            Outcome::Panicked => Some(("panicked", "it panicked, as printed above")),
        }
    }
}

fn outcome(world: impl FnOnce() -> Result<Verdict, Trouble>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(world)) {
        Ok(Ok(verdict)) => Outcome::Right(Box::new(verdict)),
        Ok(Err(Trouble::Diverged(what))) => Outcome::Diverged(what),
        Ok(Err(Trouble::Lost(what))) => Outcome::Lost(what),
        Ok(Err(trouble)) => Outcome::Deadlocked(format!("{:#}", anyhow::Error::from(trouble))),
        Err(_) => Outcome::Panicked,
    }
}

/// What all worlds come to.
fn sum(worlds: &[(u64, Outcome)]) -> Value {
    let of_kind =
        |kind| worlds.iter().filter(|(_, world)| world.wrong().is_some_and(|(of, _)| of == kind)).count();
    let verdicts: Vec<&Verdict> = worlds
        .iter()
        .filter_map(|(_, world)| match world {
            Outcome::Right(verdict) => Some(&**verdict),
            _ => None,
        })
        .collect();
    let total = |of: fn(&Verdict) -> u64| verdicts.iter().map(|verdict| of(verdict)).sum::<u64>();
    let counted = |of: fn(&Counts) -> u64| verdicts.iter().map(|verdict| of(&verdict.counts)).sum::<u64>();
    let mut failing: Vec<(u64, &str)> =
        worlds.iter().filter_map(|(seed, world)| Some((*seed, world.wrong()?.1))).collect();
    failing.sort_unstable();
    let failing: Vec<Value> =
        failing.into_iter().map(|(seed, what)| json!({ "seed": seed, "what": what })).collect();
    json!({
        "diverged": of_kind("diverged"), "lost": of_kind("lost"), "deadlocked": of_kind("deadlocked"),
        "panicked": of_kind("panicked"), "failing": failing,
        "entries": total(|verdict| verdict.entries), "rows": total(|verdict| verdict.rows),
        "conflicts": total(|verdict| verdict.conflicts), "acknowledged": total(|verdict| verdict.acknowledged),
        "copies": total(|verdict| verdict.copies),
        "worlds_with_three_copies_or_more": verdicts.iter().filter(|verdict| verdict.copies >= 3).count(),
        "writes": counted(|counts| counts.writes), "refused": counted(|counts| counts.refused),
        "crashes": counted(|counts| counts.crashes), "restores": counted(|counts| counts.restores),
        "cuts": counted(|counts| counts.cuts), "admissions": counted(|counts| counts.admissions),
        "compactions": counted(|counts| counts.compactions), "disordered": counted(|counts| counts.disordered),
        "checkpoints": counted(|counts| counts.checkpoints), "loads": counted(|counts| counts.loads),
        "forgotten": counted(|counts| counts.forgotten),
    })
}
