//! A disk on which the n-th call fails: once, for ever, or for want of space. The store may refuse; it may not panic, hang,
//! acknowledge what is not there later, or refuse to open once the disk works again.

use crate::alarm;
use crate::chance::Chance;
use crate::disk::{Fate, Fault, History, Mounted, Recorder, Tree, Trouble};
use crate::judge::{self, Wrong};
use crate::place::fast_folder;
use crate::trial::Trial;
use crate::workers::{self, Progress};
use anyhow::{Context as _, Result};
use std::sync::Arc;

/// What to break and how often.
pub struct Plan<T> {
    /// What is tortured.
    pub trial: T,
    /// Steps that were done before, on a disk that works.
    pub before: u64,
    /// Steps that are tried on the one that does not.
    pub steps: u64,
    /// Calls that are made to fail: every one, or about this many spread evenly, for each kind of trouble.
    pub at_most: Option<u64>,
}

/// What came of it.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Faults that a call ran into.
    pub faults: u64,
    /// Steps that were refused because of one.
    pub refusals: u64,
    /// Steps that were acknowledged after or despite one.
    pub acknowledged: u64,
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

/// A run on a disk with a fault.
struct Run {
    hit: bool,
    refusals: u64,
    acknowledged: u64,
}

/// Every fault of the plan, on a store that is there already and on one that is being made.
pub fn run<T: Trial>(plan: &Plan<T>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for before in [plan.before, 0] {
        let start = Arc::new(healthy(plan, before)?);
        let calls = calls(plan, before, &start)?;
        let spread = plan.at_most.map_or(1, |most| calls.div_ceil(most.max(1)));
        let troubles = [Trouble::Once, Trouble::ForEver, Trouble::Full].into_iter();
        let faults = troubles
            .flat_map(|trouble| (0..calls).step_by(spread as usize).map(move |at| Fault { at, trouble }));
        let (trial, steps) = (plan.trial, plan.steps);
        let progress = Progress::new("faults", 3 * calls.div_ceil(spread));
        let ended = workers::all((1..).zip(faults), |(number, fault)| {
            progress.at(number);
            let start = Arc::clone(&start);
            let ended = alarm::guarded(move || one(trial, before, steps, &start, fault));
            let place = format!("call {} fails, {:?}, after {before} good steps", fault.at, fault.trouble);
            ended.and_then(|ended| ended).map_err(|wrong| (place, wrong))
        });
        for ended in ended {
            outcome.add(ended);
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, ended: Result<Run, (String, Wrong)>) {
        match ended {
            Ok(run) => {
                self.faults += u64::from(run.hit);
                self.refusals += run.refusals;
                self.acknowledged += run.acknowledged;
            }
            Err(wrong) => {
                self.faults += 1;
                self.wrong.push(wrong);
            }
        }
    }
}

/// A disk with a store on it that took some steps, or an empty one.
fn healthy<T: Trial>(plan: &Plan<T>, steps: u64) -> Result<Tree> {
    if steps == 0 {
        return Ok(Tree::default());
    }
    let mounted = Mounted::new(Recorder::new(Tree::default(), None))?;
    let mut victim = plan.trial.open(mounted.path())?;
    for number in 1..=steps {
        plan.trial.take(&mut victim, number)?;
    }
    drop(victim);
    Ok(mounted.recorder().tree())
}

/// How many calls a run makes when none fails.
fn calls<T: Trial>(plan: &Plan<T>, before: u64, start: &Tree) -> Result<u64> {
    let mounted = Mounted::new(Recorder::new(start.clone(), None))?;
    let mut victim = plan.trial.open(mounted.path()).context("the store must open on a disk that works")?;
    for number in before + 1..=before + plan.steps {
        plan.trial.take(&mut victim, number)?;
    }
    drop(victim);
    Ok(mounted.recorder().calls().0)
}

fn one<T: Trial>(trial: T, before: u64, steps: u64, start: &Tree, fault: Fault) -> Result<Run, Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("the disk itself: {error:#}"));
    let mounted = Mounted::new(Recorder::new(start.clone(), Some(fault))).map_err(fail)?;
    let disk = mounted.recorder();
    let mut run = Run { hit: false, refusals: 0, acknowledged: 0 };
    // What it may hold. A step that lasts settles what was before it.
    let mut believed = vec![trial.state(before)];
    let mut number = before;
    let ops = match trial.open(mounted.path()) {
        Err(error) => {
            run.refused(trial, &error)?;
            disk.ops()
        }
        Ok(mut victim) => {
            while number < before + steps && run.refusals < 4 {
                number += 1;
                let Ok(shown) = looks_like(trial, &mut victim, &believed) else { break };
                match trial.take(&mut victim, number) {
                    Ok(()) if shown.is_empty() => {
                        return Err(Wrong::FalseAck("while open it came to something else".into()));
                    }
                    Ok(()) => {
                        run.acknowledged += u64::from(disk.calls().1 > 0);
                        let after = shown.into_iter().map(|state| trial.after(number, state)).collect();
                        if trial.lasts(number) {
                            believed = after;
                        } else {
                            believed.extend(after);
                        }
                    }
                    Err(error) => {
                        run.refused(trial, &error)?;
                        believed.extend(shown.into_iter().map(|state| trial.after(number, state)));
                    }
                }
            }
            // Power may be lost before it is closed.
            disk.ops()
        }
    };
    run.hit = disk.calls().1 > 0;
    disk.heal();
    let mut history = History::new(start.clone(), ops);
    while history.advance().is_some() {}
    let mut images = vec![(disk.tree(), "as it is")];
    for fate in [Fate::Dropped, Fate::Torn, Fate::Reordered] {
        let mut chance = Chance::of(trial.seed() ^ fate as u64, fault.at);
        images.push((history.image(fate, &mut chance), "after a loss of power"));
    }
    for (image, how) in images {
        let what = disk.first_failed();
        again(trial, number, &image, &believed).map_err(|wrong| match wrong {
            Wrong::Lost(text) => Wrong::FalseAck(format!("{what}; {how}: {text}")),
            Wrong::Unopenable(text) => Wrong::Unopenable(format!("{what}; {how}: {text}")),
            other => other,
        })?;
    }
    Ok(run)
}

impl Run {
    fn refused<T: Trial>(&mut self, trial: T, error: &anyhow::Error) -> Result<(), Wrong> {
        self.refusals += 1;
        trial.complaint_about(error).map_or(Ok(()), |text| Err(Wrong::Unhelpful(text)))
    }
}

/// Those of `states` that an open one seems to hold.
fn looks_like<T: Trial>(trial: T, victim: &mut T::Open, states: &[T::State]) -> Result<Vec<T::State>> {
    let mut shown = Vec::new();
    for state in states {
        if trial.looks_like(victim, state)? {
            shown.push(state.clone());
        }
    }
    Ok(shown)
}

/// Opens what a fault left, on a disk that works: all there, and it takes another step.
fn again<T: Trial>(trial: T, number: u64, image: &Tree, states: &[T::State]) -> Result<(), Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("after the fault: {error:#}"));
    let folder = fast_folder().map_err(fail)?;
    image.lay(folder.path()).map_err(fail)?;
    let mut victim = trial.open(folder.path()).map_err(|error| Wrong::Unopenable(format!("{error:#}")))?;
    let states: Vec<&T::State> = states.iter().collect();
    let held = trial.holds(&mut victim, &states)?;
    judge::goes_on(trial, &mut victim, number + 1, states[held])
}
