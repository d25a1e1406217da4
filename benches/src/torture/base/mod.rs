//! The multi-writer database as a trial: batches of all kinds, durable and not, in a real store, with a view so small that it is
//! written out and merged all the time.

mod open;
mod peer;
mod program;
mod show;

use crate::disk::Tree;
use crate::judge::Wrong;
use crate::trial::{Found, Trial};
use anyhow::Result;
use clap::ValueEnum as _;
use cloudpal_base::Durability;
use open::{Open, REFUSED_YET_SHOWN};
use peer::Peer;
use show::{Shown, show};
use std::path::Path;

/// A database that is told batches.
#[derive(Clone, Copy)]
pub struct Batches {
    /// What they follow from.
    pub seed: u64,
    /// Bytes of the longest value.
    pub longest: u64,
    /// Once in so many steps the store is tidied up, which brings it into tables.
    pub tidy_once_in: u64,
    /// What is wrong with it on purpose.
    pub flaw: Flaw,
}

/// What is wrong on purpose with a control: a judge that finds nothing in those sees nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It is not synced what is said to last.
    NeverSynced,
    /// Each batch is written only when the next comes.
    LateByOne,
}

impl Flaw {
    /// Its name on a command line and in reports.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Batches {
    /// What most runs use.
    pub fn of(seed: u64) -> Self {
        Batches { seed, longest: 3_000, tidy_once_in: 100, flaw: Flaw::None }
    }
}

impl Trial for Batches {
    type State = Shown;
    type Open = Open;
    type Peer = Peer;

    fn seed(&self) -> u64 {
        self.seed
    }

    fn open(&self, folder: &Path) -> Result<Open> {
        Open::new(folder)
    }

    fn take(&self, open: &mut Open, number: u64) -> Result<()> {
        if number.is_multiple_of(self.tidy_once_in) {
            open.store.gc()?;
        }
        match self.flaw {
            Flaw::None => open.write(&self.step(number), self.durability(number)),
            Flaw::NeverSynced => open.write(&self.step(number), Durability::Relaxed),
            Flaw::LateByOne if number == 1 => Ok(()),
            Flaw::LateByOne => open.write(&self.step(number - 1), Durability::Durable),
        }
    }

    fn lasts(&self, number: u64) -> bool {
        self.durability(number) == Durability::Durable
    }

    fn after(&self, number: u64, mut state: Shown) -> Shown {
        self.step(number).iter().for_each(|edit| edit.change(&mut state));
        state
    }

    fn looks_like(&self, open: &mut Open, state: &Shown) -> Result<bool> {
        Ok(show(&open.db.snapshot())? == *state)
    }

    fn holds(&self, open: &mut Open, states: &[&Shown]) -> Result<usize, Wrong> {
        if let Some(complaint) = open.complaint() {
            return Err(Wrong::Lost(format!("it says so itself: {complaint}")));
        }
        let shown = show(&open.db.snapshot())
            .map_err(|error| Wrong::Lost(format!("it cannot be read: {error:#}")))?;
        let held = states.iter().position(|state| **state == shown);
        let held = held.ok_or_else(|| Wrong::Lost(show::difference(&shown, states)))?;
        open.check_view()?;
        Ok(held)
    }

    fn survey(&self, folder: &Path, state: &Shown) -> Result<Found, Wrong> {
        open::survey(folder, state)
    }

    fn peer(&self, disk: &Tree) -> Result<Option<Peer>> {
        Peer::of(disk).map(Some)
    }

    fn heal(&self, folder: &Path, peer: &Peer) -> Result<Open> {
        peer::heal(folder, peer)
    }

    fn arguments(&self) -> Vec<String> {
        vec!["--flaw".into(), self.flaw.name()]
    }

    fn complaint_about(&self, error: &anyhow::Error) -> Option<String> {
        let text = format!("{error:#}");
        let helps = ["again", "free some space", "repair", "connect"].iter().any(|word| text.contains(word));
        (!helps || text.starts_with(REFUSED_YET_SHOWN)).then_some(text)
    }
}
