//! Power lost at any point: records what a store does to its disk, then opens what could be left of it
//! after each operation.

use crate::alarm;
use crate::chance::Chance;
use crate::disk::{Fate, History, Mounted, Op, Recorder, Tree};
use crate::judge::{self, Wrong};
use crate::trial::Trial;
use crate::workers::{self, Progress};
use anyhow::{Context as _, Result};
use std::collections::VecDeque;
use std::sync::Arc;

/// While recording, the store is closed and opened again after so many steps.
const REOPENED_AFTER: u64 = 400;

/// What to record and how much of it to try.
pub struct Plan<T> {
    /// What is tortured.
    pub trial: T,
    /// How many steps it is told.
    pub steps: u64,
    /// Cut points tried: every one, or about this many spread evenly.
    pub at_most: Option<u64>,
    /// All fates are tried at one in so many cut points, at the others they take turns.
    pub all_fates_once_in: u64,
}

/// What came of it.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Operations of the disk that were recorded.
    pub ops: u64,
    /// Points at which power was lost.
    pub cuts: u64,
    /// Disks that were opened: several for a cut where anything is left to chance.
    pub images: u64,
    /// Disks that were not opened because they are the one before to the last byte, and may hold the same.
    pub repeated: u64,
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

/// Records a run.
pub fn record<T: Trial>(trial: T, steps: u64) -> Result<Vec<Op>> {
    let mounted = Mounted::new(Recorder::new(Tree::default(), None))?;
    let disk = mounted.recorder();
    let open = || trial.open(mounted.path()).context("cannot open a store on the recording disk");
    let mut victim = open()?;
    for number in 1..=steps {
        if number.is_multiple_of(REOPENED_AFTER) {
            drop(victim);
            victim = open()?;
        }
        disk.mark(Op::Begun(number));
        trial.take(&mut victim, number)?;
        disk.mark(Op::Done(number));
    }
    drop(victim);
    Ok(disk.ops())
}

/// Records a run, cuts it, opens what is left, judges.
pub fn run<T: Trial>(plan: &Plan<T>) -> Result<Outcome> {
    let ops = record(plan.trial, plan.steps)?;
    let mut cutter = Cutter::new(plan, ops);
    let trial = plan.trial;
    let verdicts = workers::all(&mut cutter, |image: Image<T>| {
        let place = image.place.clone();
        let opened = alarm::guarded(move || open(trial, &image));
        opened.and_then(|opened| opened).err().map(|wrong| (place, wrong))
    });
    Ok(Outcome { wrong: verdicts.into_iter().flatten().collect(), ..cutter.outcome })
}

struct Image<T: Trial> {
    tree: Tree,
    /// What it may hold, each with its last step.
    states: Vec<(u64, Arc<T::State>)>,
    place: String,
}

/// All images of a run, made one after the other.
struct Cutter<'a, T: Trial> {
    plan: &'a Plan<T>,
    history: History,
    /// Of each so many points one is a cut.
    spread: u64,
    points: u64,
    progress: Progress,
    outcome: Outcome,
    /// What there is after the last step that was done and lasts, and after each begun since.
    states: VecDeque<(u64, Arc<T::State>)>,
    /// The last step that was done.
    done: u64,
    /// What is still to be tried here.
    fates: Vec<Fate>,
    /// What the last image without anything uncertain came from.
    dropped: Option<(u64, [u64; 2])>,
}

impl<'a, T: Trial> Cutter<'a, T> {
    fn new(plan: &'a Plan<T>, ops: Vec<Op>) -> Self {
        let ops_of_disk = ops.iter().filter(|op| !matches!(op, Op::Begun(_) | Op::Done(_))).count() as u64;
        let points = ops.iter().filter(|op| !matches!(op, Op::Begun(_))).count() as u64;
        Self {
            plan,
            history: History::new(Tree::default(), ops),
            spread: plan.at_most.map_or(1, |most| points.div_ceil(most.max(1))),
            points: 0,
            progress: Progress::new("operations", points),
            outcome: Outcome { ops: ops_of_disk, ..Outcome::default() },
            states: VecDeque::from([(0, Arc::default())]),
            done: 0,
            fates: Vec::new(),
            dropped: None,
        }
    }

    /// Goes to the next cut. None at the end.
    fn advance(&mut self) -> Option<()> {
        loop {
            let point = self.history.advance()?;
            if let Some((last, state)) = self.states.back().filter(|(last, _)| *last < self.history.begun) {
                let next = self.plan.trial.after(last + 1, (**state).clone());
                self.states.push_back((last + 1, Arc::new(next)));
            }
            if self.history.done > self.done {
                self.done = self.history.done;
                if self.plan.trial.lasts(self.done) {
                    self.states.retain(|(step, _)| *step >= self.done);
                }
            }
            if point {
                self.points += 1;
                self.progress.at(self.points);
                if self.points.is_multiple_of(self.spread) {
                    self.outcome.cuts += 1;
                    self.fates = self.wanted();
                    return Some(());
                }
            }
        }
    }

    /// What to try at this cut.
    fn wanted(&mut self) -> Vec<Fate> {
        let cuts = self.outcome.cuts;
        let turn = Fate::ALL[(cuts % Fate::ALL.len() as u64) as usize];
        if self.history.certain() {
            return self.once(vec![Fate::Dropped]);
        }
        if cuts.is_multiple_of(self.plan.all_fates_once_in) {
            return self.once(Fate::ALL.to_vec());
        }
        self.once(vec![turn])
    }

    /// Without the one that drops everything uncertain, if nothing became certain since that was tried.
    fn once(&mut self, mut fates: Vec<Fate>) -> Vec<Fate> {
        if fates.contains(&Fate::Dropped) {
            let now = Some((self.history.syncs, [self.done, self.history.begun]));
            if self.dropped == now {
                fates.retain(|fate| *fate != Fate::Dropped);
                self.outcome.repeated += 1;
            }
            self.dropped = now;
        }
        fates
    }
}

impl<T: Trial> Iterator for Cutter<'_, T> {
    type Item = Image<T>;

    fn next(&mut self) -> Option<Image<T>> {
        while self.fates.is_empty() {
            self.advance()?;
        }
        let fate = self.fates.pop()?;
        self.outcome.images += 1;
        let mut chance = Chance::of(self.plan.trial.seed() ^ fate as u64, self.points);
        let at = self.history.position();
        Some(Image {
            tree: self.history.image(fate, &mut chance),
            states: self.states.iter().cloned().collect(),
            place: format!("after operation {at}, {fate:?}, step {} done", self.done),
        })
    }
}

/// Opens an image: all there, and it takes another step.
fn open<T: Trial>(trial: T, image: &Image<T>) -> Result<(), Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("the image cannot be laid out: {error:#}"));
    let folder = crate::place::fast_folder().map_err(fail)?;
    image.tree.lay(folder.path()).map_err(fail)?;
    let mut victim = trial.open(folder.path()).map_err(|error| Wrong::Unopenable(format!("{error:#}")))?;
    let states: Vec<&T::State> = image.states.iter().map(|(_, state)| &**state).collect();
    let held = trial.holds(&mut victim, &states)?;
    let (step, state) = &image.states[held];
    judge::goes_on(trial, &mut victim, step + 1, state)
}
