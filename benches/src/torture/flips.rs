//! Every byte of a small store changed, one at a time. Whoever reads must get the right bytes or be told.

use crate::alarm;
use crate::chance::Chance;
use crate::disk::{Mounted, Node, Op, Recorder, Tree};
use crate::judge::Wrong;
use crate::place::fast_folder;
use crate::trial::{Found, Trial};
use crate::workers::{self, Progress};
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What to flip.
pub struct Plan<T> {
    /// What is tortured.
    pub trial: T,
    /// Steps that make the store; few and small, as every byte costs an opening.
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
    /// Of those, it was noticed and put right by itself.
    pub mended: u64,
    /// Of those, it was noticed when opening or reading, and told.
    pub noticed: u64,
    /// Of those, repaired and healed from a peer: all blocks there again.
    pub healed: u64,
    /// What was wrong, with where.
    pub wrong: Vec<(String, Wrong)>,
}

/// Makes the store, flips, reads.
pub fn run<T: Trial>(plan: &Plan<T>) -> Result<Outcome> {
    let (tree, state) = small_store(plan)?;
    let (tree, state) = (Arc::new(tree), Arc::new(state));
    let peer = plan.trial.peer(&tree)?.map(Arc::new);
    let places: Vec<(Node, u64)> = places(&tree);
    let spread = plan.at_most.map_or(1, |most| (places.len() as u64).div_ceil(most.max(1)));
    let mut outcome = Outcome { bytes: places.len() as u64, ..Outcome::default() };
    let progress = Progress::new("bytes", outcome.bytes);
    let noticed = AtomicU64::new(0);
    let flips = (1..).zip(&places).step_by(spread.max(1) as usize);
    let ended = workers::all(flips, |(number, &(node, offset))| {
        progress.at(number);
        let flip = Flip::new(&tree, node, offset, Chance::of(plan.trial.seed(), number));
        let trial = plan.trial;
        let guarded = (Arc::clone(&flip.tree), Arc::clone(&state));
        let found = alarm::guarded(move || survey(trial, &guarded.0, &guarded.1));
        let found = found.and_then(|found| found).map_err(|wrong| (flip.place.clone(), wrong))?;
        let told = if found == Found::Noticed { 1 + noticed.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let chosen = told > 0 && told.is_multiple_of(plan.heal_once_in);
        let Some(peer) = peer.clone().filter(|_| chosen) else { return Ok((found, Healed::NotTried)) };
        let guarded = (flip.tree, Arc::clone(&state));
        let healed = alarm::guarded(move || heal(trial, &guarded.0, &guarded.1, &peer));
        healed.and_then(|healed| healed).map_err(|wrong| (format!("{}, healing", flip.place), wrong))?;
        Ok((found, Healed::Whole))
    });
    for ended in ended {
        outcome.add(ended);
    }
    Ok(outcome)
}

/// What became of a store that had told of damage.
enum Healed {
    NotTried,
    Whole,
}

impl Outcome {
    fn add(&mut self, ended: Result<(Found, Healed), (String, Wrong)>) {
        self.flips += 1;
        let (found, healed) = match ended {
            Ok(ended) => ended,
            Err(wrong) => return self.wrong.push(wrong),
        };
        match found {
            Found::Unharmed => self.unharmed += 1,
            Found::Mended => self.mended += 1,
            Found::Noticed => self.noticed += 1,
        }
        self.healed += u64::from(matches!(healed, Healed::Whole));
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

fn small_store<T: Trial>(plan: &Plan<T>) -> Result<(Tree, T::State)> {
    let mounted = Mounted::new(Recorder::new(Tree::default(), None))?;
    let mut victim = plan.trial.open(mounted.path())?;
    for number in 1..=plan.steps {
        plan.trial.take(&mut victim, number)?;
    }
    drop(victim);
    Ok((mounted.recorder().tree(), plan.trial.state(plan.steps)))
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
fn heal<T: Trial>(trial: T, tree: &Tree, state: &T::State, peer: &T::Peer) -> Result<(), Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("not healed: {error:#}"));
    let folder = fast_folder().map_err(fail)?;
    tree.lay(folder.path()).map_err(fail)?;
    let mut victim = trial.heal(folder.path(), peer).map_err(fail)?;
    trial.holds(&mut victim, &[state]).map(drop)
}

fn survey<T: Trial>(trial: T, tree: &Tree, state: &T::State) -> Result<Found, Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("the image: {error:#}"));
    let folder = fast_folder().map_err(fail)?;
    tree.lay(folder.path()).map_err(fail)?;
    trial.survey(folder.path(), state)
}
