//! `kill -9` at any moment, on a real disk: the same store is killed, looked at and taken on again and again.

use crate::chance::Chance;
use crate::judge::Wrong;
use crate::place;
use crate::trial::Trial;
use crate::workers::Progress;
use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What to kill and how often.
pub struct Plan<'a, T> {
    /// What is tortured.
    pub trial: T,
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
    /// Steps that were there in the end.
    pub steps: u64,
    /// Steps that were done, would not have survived a loss of power for sure, and were not there after a kill.
    pub forgotten: u64,
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

/// Kills until the plan is done or something is wrong (what follows would be wrong because of that).
pub fn run<T: Trial>(plan: &Plan<'_, T>) -> Result<Outcome> {
    let folder = place::disk_folder()?;
    let progress = Progress::new("kills", plan.kills);
    let mut outcome = Outcome::default();
    let (mut step, mut state) = (0, T::State::default());
    for number in 0..plan.kills {
        let mut chance = Chance::of(plan.trial.seed(), number);
        let Heard { begun, done, lasts } = kill_one(plan, folder.path(), step, &mut chance)?;
        outcome.kills += 1;
        progress.at(outcome.kills);
        outcome.while_opening += u64::from(begun == step);
        let mut states = vec![state];
        for number in step + 1..=begun {
            let next = plan.trial.after(number, states[states.len() - 1].clone());
            states.push(next);
        }
        let first = (lasts - step) as usize;
        let allowed: Vec<&T::State> = states[first..].iter().collect();
        let looked = plan.trial.open(folder.path()).map_err(|error| Wrong::Unopenable(format!("{error:#}")));
        match looked.and_then(|mut victim| plan.trial.holds(&mut victim, &allowed)) {
            Ok(held) => {
                step = lasts + held as u64;
                outcome.forgotten += done.saturating_sub(step);
                state = states.swap_remove(first + held);
            }
            Err(wrong) => {
                let place = format!("kill {number}, step {done} done, {lasts} to last, {begun} begun");
                outcome.wrong.push((place, wrong));
                return Ok(outcome);
            }
        }
        outcome.steps = step;
    }
    Ok(outcome)
}

/// What the killed process had said: the last step that it began, the last that it did, and the last of those that lasts.
struct Heard {
    begun: u64,
    done: u64,
    lasts: u64,
}

/// Starts the program that takes steps, and kills it.
fn kill_one<T: Trial>(plan: &Plan<'_, T>, folder: &Path, from: u64, chance: &mut Chance) -> Result<Heard> {
    let mut child = Command::new(plan.program_file)
        .arg("victim")
        .args(plan.trial.arguments())
        .args(["--seed", &plan.trial.seed().to_string(), "--from", &from.to_string(), "--folder"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process that is to be killed")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output was asked for")?).lines();
    let mut heard = Heard { begun: from, done: from, lasts: from };
    let mut note = |line: std::io::Result<String>| {
        let line = line.unwrap_or_default();
        match line.split_once(' ').map(|(word, number)| (word, number.parse().unwrap_or(0))) {
            Some(("begun", number)) => heard.begun = number,
            Some(("done", number)) => {
                heard.done = number;
                if plan.trial.lasts(number) {
                    heard.lasts = number;
                }
            }
            _ => {}
        }
    };
    // One in eight dies while opening. The others are let to some step, and then a little further.
    if chance.once_in(8) {
        thread::sleep(Duration::from_micros(chance.below(30_000)));
    } else {
        let lines_heard = 1 + chance.below(40) as usize;
        lines.by_ref().take(lines_heard).for_each(&mut note);
        thread::sleep(Duration::from_micros(chance.below(2_000)));
    }
    child.kill().context("cannot kill the process")?;
    lines.for_each(&mut note);
    child.wait().context("lost track of the killed process")?;
    Ok(heard)
}

/// What is killed: takes step after step and says so before and after each. It never ends by itself.
pub fn victim<T: Trial>(trial: T, folder: &Path, from: u64) -> Result<()> {
    let mut victim = trial.open(folder)?;
    let mut out = std::io::stdout().lock();
    for number in from + 1.. {
        writeln!(out, "begun {number}")?;
        trial.take(&mut victim, number)?;
        writeln!(out, "done {number}")?;
    }
    Ok(())
}
