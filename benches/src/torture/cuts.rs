//! Power lost at any point: records what a store does to its disk, then opens what could be left of it
//! after each operation.

use crate::chance::Chance;
use crate::disk::{Fate, History, Mounted, Op, Recorder, Tree};
use crate::judge::{self, Wrong};
use crate::program::{Block, Program, Step};
use crate::subject::Subject;
use anyhow::{Context as _, Result};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

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
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

struct Image {
    tree: Tree,
    states: [Arc<[Block]>; 2],
    place: String,
}

/// Records a run.
pub fn record(subject: Subject, program: &Program, steps: u64) -> Result<Vec<Op>> {
    let mounted = Mounted::new(Recorder::new(Tree::default(), None))?;
    let disk = mounted.recorder();
    let mut victim = subject.open(mounted.path()).context("cannot make a store on the recording disk")?;
    for number in 1..=steps {
        disk.mark(Op::Begun(number));
        match program.step(number, victim.length()?) {
            Step::Append(blocks) => drop(victim.append(&blocks)?),
            Step::Truncate(length) => victim.truncate(length)?,
        }
        disk.mark(Op::Done(number));
    }
    drop(victim);
    Ok(disk.ops())
}

/// Records a run, cuts it, opens what is left, judges.
pub fn run(plan: &Plan) -> Result<Outcome> {
    let ops = record(plan.subject, &plan.program, plan.steps)?;
    let total = ops.iter().filter(|op| !matches!(op, Op::Begun(_))).count() as u64;
    let spread = plan.at_most.map_or(1, |most| total.div_ceil(most.max(1)));
    let outcome = Mutex::new(Outcome { ops: total, ..Outcome::default() });
    let (sender, receiver) = mpsc::sync_channel::<Image>(8);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                loop {
                    let next = receiver.lock().map(|receiver| receiver.recv());
                    let Ok(Ok(image)) = next else { return };
                    let verdict = open(plan, &image);
                    if let Ok(mut outcome) = outcome.lock() {
                        outcome.images += 1;
                        outcome.wrong.extend(verdict.err().map(|wrong| (image.place, wrong)));
                    }
                }
            });
        }
        let cuts = cut(plan, ops, spread, |image| sender.send(image).is_ok());
        drop(sender);
        if let Ok(mut outcome) = outcome.lock() {
            outcome.cuts = cuts;
        }
    });
    Ok(outcome.into_inner().unwrap_or_default())
}

fn cut(plan: &Plan, ops: Vec<Op>, spread: u64, mut send: impl FnMut(Image) -> bool) -> u64 {
    let mut history = History::new(Tree::default(), ops);
    let (mut done, mut begun) = (Arc::<[Block]>::from([]), Arc::<[Block]>::from([]));
    let (mut done_step, mut begun_step) = (0, 0);
    let (mut number, mut cuts) = (0, 0);
    while let Some(point) = history.advance() {
        if history.begun > begun_step {
            begun_step = history.begun;
            begun = plan.program.after(begun_step, begun.to_vec()).into();
        }
        if history.done > done_step {
            (done_step, done) = (history.done, Arc::clone(&begun));
        }
        if !point {
            continue;
        }
        number += 1;
        if number % spread != 0 {
            continue;
        }
        cuts += 1;
        let turn = Fate::ALL[(cuts % Fate::ALL.len() as u64) as usize];
        for fate in Fate::ALL {
            let wanted = fate == turn || cuts % plan.all_fates_once_in == 0;
            if !wanted || (history.certain() && fate != turn) {
                continue;
            }
            let mut chance = Chance::of(plan.program.seed ^ fate as u64, number);
            let tree = history.image(fate, &mut chance);
            let place = format!("after operation {}, {fate:?}, step {done_step} done", history.position());
            if !send(Image { tree, states: [Arc::clone(&done), Arc::clone(&begun)], place }) {
                return cuts;
            }
        }
    }
    cuts
}

fn open(plan: &Plan, image: &Image) -> Result<(), Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("the image cannot be laid out: {error:#}"));
    let folder = crate::place::fast_folder().map_err(fail)?;
    image.tree.lay(folder.path()).map_err(fail)?;
    let states = [&*image.states[0], &*image.states[1]];
    judge::folder(plan.subject, folder.path(), &plan.program, &states)
}
