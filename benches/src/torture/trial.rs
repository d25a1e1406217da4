//! The seam between the probes and what they torture: a log of blocks in whatever keeps one, or a database.

use crate::disk::Tree;
use crate::judge::Wrong;
use anyhow::Result;
use std::path::Path;

/// Something that keeps what it is told in a folder: how to open it, what to tell it, and what it then must hold. Steps are numbered
/// from 1 and follow from a seed, so that every process and every check knows them.
pub trait Trial: Copy + Send + Sync + 'static {
    /// What it must hold after some steps.
    type State: Clone + Default + Send + Sync + 'static;
    /// It, open.
    type Open;
    /// Somebody else who holds the same, and from whom it can be healed.
    type Peer: Send + Sync + 'static;

    /// What everything follows from.
    fn seed(&self) -> u64;
    /// Opens what is in a folder, or makes it there.
    fn open(&self, folder: &Path) -> Result<Self::Open>;
    /// Takes a step.
    fn take(&self, open: &mut Self::Open, number: u64) -> Result<()>;
    /// Whether a step survives everything once it is acknowledged. If not, it does so when a later one that lasts is.
    fn lasts(&self, number: u64) -> bool;
    /// What it holds after a step.
    fn after(&self, number: u64, state: Self::State) -> Self::State;
    /// Whether it seems to hold this, by a look that need not go deep.
    fn looks_like(&self, open: &mut Self::Open, state: &Self::State) -> Result<bool>;
    /// Which of `states` it holds, judged by every byte.
    fn holds(&self, open: &mut Self::Open, states: &[&Self::State]) -> Result<usize, Wrong>;
    /// Opens and reads everything in a folder in which something was changed.
    fn survey(&self, folder: &Path, state: &Self::State) -> Result<Found, Wrong>;
    /// A peer that has all that is on `disk`, for those that can heal.
    fn peer(&self, disk: &Tree) -> Result<Option<Self::Peer>>;
    /// Repairs what is in a folder, and opens it with a peer connected; whole, or it is an error.
    fn heal(&self, folder: &Path, peer: &Self::Peer) -> Result<Self::Open>;
    /// What tells the program that is to be killed which trial it is.
    fn arguments(&self) -> Vec<String>;
    /// What is wrong with how an error puts it.
    fn complaint_about(&self, error: &anyhow::Error) -> Option<String>;

    /// What it holds after all steps up to and including one.
    fn state(&self, number: u64) -> Self::State {
        (1..=number).fold(Self::State::default(), |state, step| self.after(step, state))
    }
}

/// What came of a change that nobody made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It made no difference.
    Unharmed,
    /// It was noticed and put right, by itself.
    Mended,
    /// It was noticed and told.
    Noticed,
}
