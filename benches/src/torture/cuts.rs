//! Power lost at any point: records what a store does to its disk, then opens what could be left of it
//! after each operation.

use crate::alarm;
use crate::chance::Chance;
use crate::disk::{Fate, History, Mounted, Op, Recorder, Tree};
use crate::judge::{self, Wrong};
use crate::program::{Block, Program};
use crate::subject::{Subject, take};
use crate::workers::{self, Progress};
use anyhow::{Context as _, Result};
use std::sync::Arc;

/// While recording, the store is closed and opened again after so many steps.
const REOPENED_AFTER: u64 = 400;

/// What to record and how much of it to try.
pub struct Plan {
    /// What is tortured.
    pub subject: Subject,
    /// What it is told.
    pub program: Program,
    /// How many steps of that.
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
pub fn record(subject: Subject, program: &Program, steps: u64) -> Result<Vec<Op>> {
    let mounted = Mounted::new(Recorder::new(Tree::default(), None))?;
    let disk = mounted.recorder();
    let open = || subject.open(mounted.path()).context("cannot open a store on the recording disk");
    let mut victim = open()?;
    for number in 1..=steps {
        if number.is_multiple_of(REOPENED_AFTER) {
            drop(victim);
            victim = open()?;
        }
        disk.mark(Op::Begun(number));
        take(victim.as_mut(), program, number)?;
        disk.mark(Op::Done(number));
    }
    drop(victim);
    Ok(disk.ops())
}

/// Records a run, cuts it, opens what is left, judges.
pub fn run(plan: &Plan) -> Result<Outcome> {
    let ops = record(plan.subject, &plan.program, plan.steps)?;
    let mut cutter = Cutter::new(plan, ops);
    let (subject, program) = (plan.subject, plan.program);
    let verdicts = workers::all(&mut cutter, |image: Image| {
        let place = image.place.clone();
        let opened = alarm::guarded(move || open(subject, &program, &image));
        opened.and_then(|opened| opened).err().map(|wrong| (place, wrong))
    });
    Ok(Outcome { wrong: verdicts.into_iter().flatten().collect(), ..cutter.outcome })
}

struct Image {
    tree: Tree,
    states: [Arc<[Block]>; 2],
    place: String,
}

/// All images of a run, made one after the other.
struct Cutter<'a> {
    plan: &'a Plan,
    history: History,
    /// Of each so many points one is a cut.
    spread: u64,
    points: u64,
    progress: Progress,
    outcome: Outcome,
    /// Blocks after the last step that was done, and after the last that was begun.
    states: [Arc<[Block]>; 2],
    steps: [u64; 2],
    /// What is still to be tried here.
    fates: Vec<Fate>,
    /// What the last image without anything uncertain came from.
    dropped: Option<(u64, [u64; 2])>,
}

impl<'a> Cutter<'a> {
    fn new(plan: &'a Plan, ops: Vec<Op>) -> Self {
        let ops_of_disk = ops.iter().filter(|op| !matches!(op, Op::Begun(_) | Op::Done(_))).count() as u64;
        let points = ops.iter().filter(|op| !matches!(op, Op::Begun(_))).count() as u64;
        let none = Arc::<[Block]>::from([]);
        Self {
            plan,
            history: History::new(Tree::default(), ops),
            spread: plan.at_most.map_or(1, |most| points.div_ceil(most.max(1))),
            points: 0,
            progress: Progress::new("operations", points),
            outcome: Outcome { ops: ops_of_disk, ..Outcome::default() },
            states: [Arc::clone(&none), none],
            steps: [0, 0],
            fates: Vec::new(),
            dropped: None,
        }
    }

    /// Goes to the next cut. None at the end.
    fn advance(&mut self) -> Option<()> {
        loop {
            let point = self.history.advance()?;
            let [done, begun] = &mut self.states;
            if self.history.begun > self.steps[1] {
                self.steps[1] = self.history.begun;
                *begun = self.plan.program.after(self.steps[1], begun.to_vec()).into();
            }
            if self.history.done > self.steps[0] {
                self.steps[0] = self.history.done;
                *done = Arc::clone(begun);
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
            let now = Some((self.history.syncs, self.steps));
            if self.dropped == now {
                fates.retain(|fate| *fate != Fate::Dropped);
                self.outcome.repeated += 1;
            }
            self.dropped = now;
        }
        fates
    }
}

impl Iterator for Cutter<'_> {
    type Item = Image;

    fn next(&mut self) -> Option<Image> {
        while self.fates.is_empty() {
            self.advance()?;
        }
        let fate = self.fates.pop()?;
        self.outcome.images += 1;
        let mut chance = Chance::of(self.plan.program.seed ^ fate as u64, self.points);
        let at = self.history.position();
        Some(Image {
            tree: self.history.image(fate, &mut chance),
            states: self.states.clone(),
            place: format!("after operation {at}, {fate:?}, step {} done", self.steps[0]),
        })
    }
}

fn open(subject: Subject, program: &Program, image: &Image) -> Result<(), Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("the image cannot be laid out: {error:#}"));
    let folder = crate::place::fast_folder().map_err(fail)?;
    image.tree.lay(folder.path()).map_err(fail)?;
    let states = [&*image.states[0], &*image.states[1]];
    judge::folder(subject, folder.path(), program, &states)
}
