//! Every byte of a small store changed, one at a time. Whoever reads must get the right bytes or be told.

use crate::alarm;
use crate::chance::Chance;
use crate::disk::{Mounted, Node, Op, Recorder, Tree};
use crate::judge::{self, Wrong};
use crate::place::fast_folder;
use crate::program::{Block, Program, Step};
use crate::subject::{Peer, Subject};
use anyhow::Result;
use std::sync::Arc;

/// What to flip.
pub struct Plan {
    /// What is tortured.
    pub subject: Subject,
    /// What it is told; small, as every byte costs an opening.
    pub program: Program,
    /// Steps that make the store.
    pub steps: u64,
    /// Bytes flipped: every one, or about this many spread evenly.
    pub at_most: Option<u64>,
    /// One in so many of those that are noticed is repaired and healed from a peer.
    pub heal_once_in: u64,
}

/// What came of it.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Bytes in the store's files.
    pub bytes: u64,
    /// Bytes that were changed, one at a time.
    pub flips: u64,
    /// Of those, it made no difference.
    pub unharmed: u64,
    /// Of those, it was noticed when opening or reading.
    pub noticed: u64,
    /// Of those, repaired and healed from a peer: all blocks there again.
    pub healed: u64,
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

/// Makes the store, flips, reads.
pub fn run(plan: &Plan) -> Result<Outcome> {
    let (tree, state) = small_store(plan)?;
    let (tree, state) = (Arc::new(tree), Arc::new(state));
    let peer = plan.subject.peer(&tree)?.map(Arc::new);
    let places: Vec<(Node, u64)> = places(&tree);
    let spread = plan.at_most.map_or(1, |most| (places.len() as u64).div_ceil(most.max(1)));
    let mut outcome = Outcome { bytes: places.len() as u64, ..Outcome::default() };
    for (number, &(node, offset)) in places.iter().enumerate().step_by(spread.max(1) as usize) {
        let mut chance = Chance::of(plan.program.seed, number as u64);
        let mut flipped = Tree::clone(&tree);
        let old = flipped.files.get(&node).map_or(0, |file| file.read(offset, 1)[0]);
        let new = old ^ (1 << chance.below(8));
        flipped.apply(&Op::Write { node, offset, data: Arc::from([new]) });
        let (subject, program) = (plan.subject, plan.program);
        outcome.flips += 1;
        let flipped = Arc::new(flipped);
        let guarded = (Arc::clone(&flipped), Arc::clone(&state));
        let read = alarm::guarded(move || read(subject, &program, &guarded.0, &guarded.1));
        let place = || format!("{} byte {offset}: {old:#x} to {new:#x}", tree.path(node));
        match read.and_then(|read| read) {
            Ok(true) => outcome.unharmed += 1,
            Ok(false) => {
                outcome.noticed += 1;
                let Some(peer) = peer.clone().filter(|_| outcome.noticed.is_multiple_of(plan.heal_once_in))
                else {
                    continue;
                };
                let state = Arc::clone(&state);
                let healed = alarm::guarded(move || heal(subject, &program, &flipped, &state, &peer));
                match healed.and_then(|healed| healed) {
                    Ok(()) => outcome.healed += 1,
                    Err(wrong) => outcome.wrong.push((format!("{}, healing", place()), wrong)),
                }
            }
            Err(wrong) => outcome.wrong.push((place(), wrong)),
        }
    }
    Ok(outcome)
}

fn small_store(plan: &Plan) -> Result<(Tree, Vec<Block>)> {
    let mounted = Mounted::new(Recorder::new(Tree::default(), None))?;
    let mut victim = plan.subject.open(mounted.path())?;
    for number in 1..=plan.steps {
        match plan.program.step(number, victim.length()?) {
            Step::Append(blocks) => drop(victim.append(&blocks)?),
            Step::Truncate(length) => victim.truncate(length)?,
        }
    }
    drop(victim);
    Ok((mounted.recorder().tree(), plan.program.state(plan.steps)))
}

/// Every byte that has a name and was ever written. Space that was only set aside reads as zeros and holds nothing.
fn places(tree: &Tree) -> Vec<(Node, u64)> {
    let named = tree.folders.values().flat_map(|names| names.values());
    let files = named.filter_map(|node| Some((*node, tree.files.get(node)?)));
    files
        .flat_map(|(node, file)| {
            file.written().flat_map(move |(start, bytes)| {
                // Zeros at the end of a page were never written.
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                (0..used as u64).map(move |at| (node, start + at))
            })
        })
        .collect()
}

/// Repairs the store and looks whether everything is there again.
fn heal(subject: Subject, program: &Program, tree: &Tree, state: &[Block], peer: &Peer) -> Result<(), Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("not healed: {error:#}"));
    let folder = fast_folder().map_err(fail)?;
    tree.lay(folder.path()).map_err(fail)?;
    let mut victim = subject.heal(folder.path(), peer).map_err(fail)?;
    judge::holds(victim.as_mut(), program, &[state]).map(drop)
}

/// True when everything reads as before, false when an error said that something is wrong.
fn read(subject: Subject, program: &Program, tree: &Tree, state: &[Block]) -> Result<bool, Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("the image: {error:#}"));
    let folder = fast_folder().map_err(fail)?;
    tree.lay(folder.path()).map_err(fail)?;
    let Ok(mut victim) = subject.open(folder.path()) else { return Ok(false) };
    let Ok(length) = victim.length() else { return Ok(false) };
    if victim.tells_of_loss() {
        return Ok(false);
    }
    if length != state.len() as u64 {
        return Err(Wrong::Lost(format!("{length} blocks where there were {}, and not a word", state.len())));
    }
    let mut whole = true;
    for (index, block) in (0..).zip(state) {
        match victim.get(index) {
            Ok(bytes) if bytes == program.bytes(*block) => {}
            Ok(_) => return Err(Wrong::Lost(format!("block {index} has wrong bytes"))),
            Err(_) => whole = false,
        }
    }
    Ok(whole)
}
