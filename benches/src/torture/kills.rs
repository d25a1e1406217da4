//! `kill -9` at any moment, on a real disk: the same store is killed, looked at and taken on again and again.

use crate::chance::Chance;
use crate::judge::{self, Wrong};
use crate::place;
use crate::program::Program;
use crate::subject::{Subject, take};
use crate::workers::Progress;
use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What to kill and how often.
pub struct Plan<'a> {
    /// What is tortured.
    pub subject: Subject,
    /// What it is told.
    pub program: Program,
    /// How often.
    pub kills: u64,
    /// This program, which is also the one that is killed.
    pub program_file: &'a Path,
}

/// What came of it.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Processes killed.
    pub kills: u64,
    /// Of those, while the store was being opened or made.
    pub while_opening: u64,
    /// Steps acknowledged over all.
    pub steps: u64,
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

/// Kills until the plan is done or something is wrong (what follows would be wrong because of that).
pub fn run(plan: &Plan<'_>) -> Result<Outcome> {
    let folder = place::disk_folder()?;
    let progress = Progress::new("kills", plan.kills);
    let mut outcome = Outcome::default();
    let (mut step, mut state) = (0, Vec::new());
    for number in 0..plan.kills {
        let mut chance = Chance::of(plan.program.seed, number);
        let (begun, done) = kill_one(plan, folder.path(), step, &mut chance)?;
        outcome.kills += 1;
        progress.at(outcome.kills);
        outcome.while_opening += u64::from(begun == step);
        for passed in step + 1..=done {
            state = plan.program.after(passed, state);
        }
        let next = plan.program.after(done + 1, state.clone());
        let states = [state.as_slice(), next.as_slice()];
        let states = if begun > done { &states[..] } else { &states[..1] };
        let looked =
            plan.subject.open(folder.path()).map_err(|error| Wrong::Unopenable(format!("{error:#}")));
        match looked.and_then(|mut victim| judge::holds(victim.as_mut(), &plan.program, states)) {
            Ok(0) => step = done,
            Ok(_) => (step, state) = (begun, next),
            Err(wrong) => {
                outcome.wrong.push((format!("kill {number}, step {done} done, {begun} begun"), wrong));
                return Ok(outcome);
            }
        }
        outcome.steps = step;
    }
    Ok(outcome)
}

/// Starts the program that takes steps, kills it, and gives the last step that it began and the last that it did.
fn kill_one(plan: &Plan<'_>, folder: &Path, from: u64, chance: &mut Chance) -> Result<(u64, u64)> {
    let mut child = Command::new(plan.program_file)
        .arg("victim")
        .args(["--subject", plan.subject.name(), "--seed", &plan.program.seed.to_string()])
        .args(["--from", &from.to_string(), "--folder"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process that is to be killed")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output was asked for")?).lines();
    let (mut begun, mut done) = (from, from);
    let mut note = |line: std::io::Result<String>| {
        let line = line.unwrap_or_default();
        match line.split_once(' ').map(|(word, number)| (word, number.parse().unwrap_or(0))) {
            Some(("begun", number)) => begun = number,
            Some(("done", number)) => done = number,
            _ => {}
        }
    };
    // One in eight dies while opening. The others are let to some step, and then a little further.
    if chance.once_in(8) {
        thread::sleep(Duration::from_micros(chance.below(30_000)));
    } else {
        let heard = 1 + chance.below(40) as usize;
        lines.by_ref().take(heard).for_each(&mut note);
        thread::sleep(Duration::from_micros(chance.below(2_000)));
    }
    child.kill().context("cannot kill the process")?;
    lines.for_each(&mut note);
    child.wait().context("lost track of the killed process")?;
    Ok((begun, done))
}

/// What is killed: takes step after step and says so before and after each. It never ends by itself.
pub fn victim(subject: Subject, program: &Program, folder: &Path, from: u64) -> Result<()> {
    let mut victim = subject.open(folder)?;
    let mut out = std::io::stdout().lock();
    for number in from + 1.. {
        writeln!(out, "begun {number}")?;
        take(victim.as_mut(), program, number)?;
        writeln!(out, "done {number}")?;
    }
    Ok(())
}
