//! Every byte of a small store changed, one at a time. Whoever reads must get the right bytes or be told.

use crate::alarm;
use crate::chance::Chance;
use crate::disk::{Mounted, Node, Op, Recorder, Tree};
use crate::judge::{self, Wrong};
use crate::place::fast_folder;
use crate::program::{Block, Program};
use crate::subject::{Peer, Subject, take};
use crate::workers::{self, Progress};
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    let progress = Progress::new("bytes", outcome.bytes);
    let noticed = AtomicU64::new(0);
    let flips = (1..).zip(&places).step_by(spread.max(1) as usize);
    let ended = workers::all(flips, |(number, &(node, offset))| {
        progress.at(number);
        let flip = Flip::new(&tree, node, offset, Chance::of(plan.program.seed, number));
        let (subject, program) = (plan.subject, plan.program);
        let guarded = (Arc::clone(&flip.tree), Arc::clone(&state));
        let read = alarm::guarded(move || read(subject, &program, &guarded.0, &guarded.1));
        let whole = read.and_then(|read| read).map_err(|wrong| (flip.place.clone(), wrong))?;
        let number = if whole { 0 } else { 1 + noticed.fetch_add(1, Ordering::Relaxed) };
        let Some(peer) = peer.clone().filter(|_| !whole && number.is_multiple_of(plan.heal_once_in)) else {
            return Ok(if whole { Found::Unharmed } else { Found::Noticed });
        };
        let guarded = (flip.tree, Arc::clone(&state));
        let healed = alarm::guarded(move || heal(subject, &program, &guarded.0, &guarded.1, &peer));
        healed.and_then(|healed| healed).map_err(|wrong| (format!("{}, healing", flip.place), wrong))?;
        Ok(Found::Healed)
    });
    for ended in ended {
        outcome.add(ended);
    }
    Ok(outcome)
}

/// What a flip did.
enum Found {
    Unharmed,
    Noticed,
    /// It was noticed, and mended.
    Healed,
}

impl Outcome {
    fn add(&mut self, ended: Result<Found, (String, Wrong)>) {
        self.flips += 1;
        match ended {
            Ok(Found::Unharmed) => self.unharmed += 1,
            Ok(Found::Noticed) => self.noticed += 1,
            Ok(Found::Healed) => {
                self.noticed += 1;
                self.healed += 1;
            }
            Err(wrong) => self.wrong.push(wrong),
        }
    }
}

/// A store with one bit that is not as it was.
struct Flip {
    tree: Arc<Tree>,
    place: String,
}

impl Flip {
    fn new(tree: &Tree, node: Node, offset: u64, mut chance: Chance) -> Self {
        let mut flipped = tree.clone();
        let old = flipped.files.get(&node).map_or(0, |file| file.read(offset, 1)[0]);
        let new = old ^ (1 << chance.below(8));
        flipped.apply(&Op::Write { node, offset, data: Arc::from([new]) });
        let place = format!("{} byte {offset}: {old:#x} to {new:#x}", tree.path(node));
        Self { tree: Arc::new(flipped), place }
    }
}

fn small_store(plan: &Plan) -> Result<(Tree, Vec<Block>)> {
    let mounted = Mounted::new(Recorder::new(Tree::default(), None))?;
    let mut victim = plan.subject.open(mounted.path())?;
    for number in 1..=plan.steps {
        take(victim.as_mut(), &plan.program, number)?;
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
