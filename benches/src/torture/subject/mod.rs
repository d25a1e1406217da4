//! What is tortured. The real store is; bare fjall shows what the engine below it withstands by itself; toys with
//! a known flaw are the control: a probe that finds no loss in them finds none anywhere.

mod bare;
mod blocks;
mod peer;
mod store;
mod toy;

pub use blocks::Blocks;
pub use peer::Peer as LogPeer;
pub use store::options as store_options;

use crate::disk::Tree;
use crate::program::{Program, Step};
use anyhow::{Result, bail, ensure};
use std::path::Path;
use std::str::FromStr;

/// Something that keeps one log of blocks in a folder and says when a change is there for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The real one.
    Store,
    /// fjall and nothing else.
    Fjall,
    /// A file of blocks that acknowledges without syncing.
    ToyWithoutSync,
    /// The same that syncs bytes, and never the folder that has their name.
    ToyWithoutFolderSync,
    /// The same that writes its length before its blocks and syncs them in one go.
    ToyLengthFirst,
    /// The same that takes errors of sync for success.
    ToyDeafToErrors,
    /// The same that acknowledges what it only holds in its own memory.
    ToyThatBuffers,
}

/// An open one.
pub trait Victim {
    /// Adds blocks for good and says where the first of them is.
    fn append(&mut self, blocks: &[Vec<u8>]) -> Result<u64>;
    /// Forgets blocks from `length` on, for good.
    fn truncate(&mut self, length: u64) -> Result<()>;
    /// Gives back the space of what was forgotten, where it knows how.
    fn tidy(&mut self) -> Result<()> {
        Ok(())
    }
    /// How many blocks there are.
    fn length(&mut self) -> Result<u64>;
    /// One of them.
    fn get(&mut self, index: u64) -> Result<Vec<u8>>;
    /// What it says by itself that it lost of what it had acknowledged.
    fn complaint(&mut self) -> Option<String> {
        None
    }
    /// Whether it says by itself that something may be missing, acknowledged or not.
    fn tells_of_loss(&mut self) -> bool {
        false
    }
}

/// Takes one step of a program.
pub fn take(victim: &mut dyn Victim, program: &Program, number: u64) -> Result<()> {
    let length = victim.length()?;
    match program.step(number, length) {
        Step::Append(blocks) => {
            let first = victim.append(&blocks)?;
            ensure!(first == length, "appended at {first} when there were {length} blocks");
            Ok(())
        }
        Step::Truncate(length) => victim.truncate(length),
        Step::Tidy => victim.tidy(),
    }
}

impl Subject {
    /// Those that must lose something under some probe.
    pub const TOYS: [Subject; 5] = [
        Subject::ToyWithoutSync,
        Subject::ToyWithoutFolderSync,
        Subject::ToyLengthFirst,
        Subject::ToyDeafToErrors,
        Subject::ToyThatBuffers,
    ];

    /// Its name on a command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Store => "store",
            Subject::Fjall => "fjall",
            Subject::ToyWithoutSync => "toy-without-sync",
            Subject::ToyWithoutFolderSync => "toy-without-folder-sync",
            Subject::ToyLengthFirst => "toy-length-first",
            Subject::ToyDeafToErrors => "toy-deaf-to-errors",
            Subject::ToyThatBuffers => "toy-that-buffers",
        }
    }

    /// A peer that has all that is on `disk`, for those that can heal.
    pub fn peer(self, disk: &Tree) -> Result<Option<LogPeer>> {
        if self == Subject::Store { peer::of(disk).map(Some) } else { Ok(None) }
    }

    /// Repairs what is in a folder, and opens it with a peer connected.
    pub fn heal(self, folder: &Path, peer: &LogPeer) -> Result<Box<dyn Victim>> {
        match self {
            Subject::Store => Ok(Box::new(peer::heal(folder, peer)?)),
            other => bail!("{} cannot heal", other.name()),
        }
    }

    /// Opens what is in a folder, or makes it there.
    pub fn open(self, folder: &Path) -> Result<Box<dyn Victim>> {
        match self {
            Subject::Store => Ok(Box::new(store::Real::open(folder)?)),
            Subject::Fjall => Ok(Box::new(bare::Bare::open(folder)?)),
            toy => Ok(Box::new(toy::Toy::open(folder, toy)?)),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Subject::Store, Subject::Fjall].into_iter().chain(Subject::TOYS);
        all.into_iter()
            .find(|subject| subject.name() == text)
            .ok_or_else(|| format!("no subject is called {text}"))
    }
}
