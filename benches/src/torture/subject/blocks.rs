//! A log of blocks as a trial.

use super::{LogPeer, Subject, Victim, take};
use crate::disk::Tree;
use crate::judge::{self, Wrong};
use crate::program::{Block, Program};
use crate::trial::{Found, Trial};
use anyhow::Result;
use std::path::Path;

/// A subject that is told a program.
#[derive(Clone, Copy)]
pub struct Blocks {
    pub subject: Subject,
    pub program: Program,
}

impl Trial for Blocks {
    type State = Vec<Block>;
    type Open = Box<dyn Victim>;
    type Peer = LogPeer;

    fn seed(&self) -> u64 {
        self.program.seed
    }

    fn open(&self, folder: &Path) -> Result<Self::Open> {
        self.subject.open(folder)
    }

    fn take(&self, open: &mut Self::Open, number: u64) -> Result<()> {
        take(open.as_mut(), &self.program, number)
    }

    fn lasts(&self, _: u64) -> bool {
        true
    }

    fn after(&self, number: u64, state: Vec<Block>) -> Vec<Block> {
        self.program.after(number, state)
    }

    fn looks_like(&self, open: &mut Self::Open, state: &Vec<Block>) -> Result<bool> {
        Ok(open.length()? == state.len() as u64)
    }

    fn holds(&self, open: &mut Self::Open, states: &[&Vec<Block>]) -> Result<usize, Wrong> {
        let states: Vec<&[Block]> = states.iter().map(|state| state.as_slice()).collect();
        judge::holds(open.as_mut(), &self.program, &states)
    }

    fn survey(&self, folder: &Path, state: &Vec<Block>) -> Result<Found, Wrong> {
        let Ok(mut victim) = self.subject.open(folder) else { return Ok(Found::Noticed) };
        let Ok(length) = victim.length() else { return Ok(Found::Noticed) };
        if victim.tells_of_loss() {
            return Ok(Found::Noticed);
        }
        if length != state.len() as u64 {
            let text = format!("{length} blocks where there were {}, and not a word", state.len());
            return Err(Wrong::Lost(text));
        }
        let mut found = Found::Unharmed;
        for (index, block) in (0..).zip(state) {
            match victim.get(index) {
                Ok(bytes) if bytes == self.program.bytes(*block) => {}
                Ok(_) => return Err(Wrong::Lost(format!("block {index} has wrong bytes"))),
                Err(_) => found = Found::Noticed,
            }
        }
        Ok(found)
    }

    fn peer(&self, disk: &Tree) -> Result<Option<LogPeer>> {
        self.subject.peer(disk)
    }

    fn heal(&self, folder: &Path, peer: &LogPeer) -> Result<Self::Open> {
        self.subject.heal(folder, peer)
    }

    fn arguments(&self) -> Vec<String> {
        vec!["--subject".into(), self.subject.name().into()]
    }

    fn complaint_about(&self, _: &anyhow::Error) -> Option<String> {
        None
    }
}
