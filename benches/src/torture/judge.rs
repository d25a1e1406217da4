//! What a store holds after a mishap, beside what it may hold.

use crate::program::{Block, Program};
use crate::subject::Victim;
use crate::trial::Trial;

/// What was found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It opened and something acknowledged is not there, or something is there that never was.
    Lost(String),
    /// The same, where the step that is not there was acknowledged although a call of the disk had failed.
    FalseAck(String),
    /// It would not open.
    Unopenable(String),
    /// It panicked, on whatever thread.
    Panicked(String),
    /// It did not answer.
    Hung,
    /// It refused, and what it said helps nobody.
    Unhelpful(String),
}

/// Takes another step, which must be there then.
pub fn goes_on<T: Trial>(trial: T, open: &mut T::Open, number: u64, state: &T::State) -> Result<(), Wrong> {
    let fail = |error: anyhow::Error| Wrong::Lost(format!("it takes no further step: {error:#}"));
    trial.take(open, number).map_err(fail)?;
    match trial.looks_like(open, &trial.after(number, state.clone())).map_err(fail)? {
        true => Ok(()),
        false => Err(Wrong::Lost("a further step that it took is not there".into())),
    }
}

/// Which of `states` an open store holds, judged by every byte of every block.
pub fn holds(victim: &mut dyn Victim, program: &Program, states: &[&[Block]]) -> Result<usize, Wrong> {
    if let Some(complaint) = victim.complaint() {
        return Err(Wrong::Lost(format!("it says so itself: {complaint}")));
    }
    let length = victim.length().map_err(|error| Wrong::Lost(format!("no length: {error:#}")))?;
    let mut found = Err(Wrong::Lost(format!(
        "{length} blocks where there must be {}",
        states.iter().map(|state| state.len().to_string()).collect::<Vec<_>>().join(" or ")
    )));
    for (number, state) in states.iter().enumerate().filter(|(_, state)| state.len() as u64 == length) {
        match same(victim, program, state) {
            Ok(()) => return Ok(number),
            Err(wrong) => found = Err(wrong),
        }
    }
    found
}

fn same(victim: &mut dyn Victim, program: &Program, state: &[Block]) -> Result<(), Wrong> {
    for (index, block) in (0..).zip(state) {
        let got = victim.get(index).map_err(|error| Wrong::Lost(format!("block {index}: {error:#}")))?;
        if got != program.bytes(*block) {
            return Err(Wrong::Lost(format!(
                "block {index} has other bytes than step {} put there",
                block.0
            )));
        }
    }
    Ok(())
}
