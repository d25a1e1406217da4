//! What is tortured. The real store is; bare fjall shows what the engine below it withstands by itself; toys with
//! a known flaw are the control: a probe that finds no loss in them finds none anywhere.

mod bare;
mod toy;

use anyhow::Result;
use std::path::Path;
use std::str::FromStr;

/// Something that keeps one log of blocks in a folder and says when a change is there for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
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
}

/// An open one.
pub trait Victim {
    /// Adds blocks for good and says where the first of them is.
    fn append(&mut self, blocks: &[Vec<u8>]) -> Result<u64>;
    /// Forgets blocks from `length` on, for good.
    fn truncate(&mut self, length: u64) -> Result<()>;
    /// How many blocks there are.
    fn length(&mut self) -> Result<u64>;
    /// One of them.
    fn get(&mut self, index: u64) -> Result<Vec<u8>>;
}

impl Subject {
    /// Those that must lose something under some probe.
    pub const TOYS: [Subject; 4] = [
        Subject::ToyWithoutSync,
        Subject::ToyWithoutFolderSync,
        Subject::ToyLengthFirst,
        Subject::ToyDeafToErrors,
    ];

    /// Its name on a command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Fjall => "fjall",
            Subject::ToyWithoutSync => "toy-without-sync",
            Subject::ToyWithoutFolderSync => "toy-without-folder-sync",
            Subject::ToyLengthFirst => "toy-length-first",
            Subject::ToyDeafToErrors => "toy-deaf-to-errors",
        }
    }

    /// Opens what is in a folder, or makes it there.
    pub fn open(self, folder: &Path) -> Result<Box<dyn Victim>> {
        match self {
            Subject::Fjall => Ok(Box::new(bare::Bare::open(folder)?)),
            toy => Ok(Box::new(toy::Toy::open(folder, toy)?)),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Subject::Fjall].into_iter().chain(Subject::TOYS);
        all.into_iter()
            .find(|subject| subject.name() == text)
            .ok_or_else(|| format!("no subject is called {text}"))
    }
}
