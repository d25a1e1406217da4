//! What a store is told to do: steps that follow from a seed, so that every process and every check
//! knows what must be in it.

use crate::chance::Chance;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put these at the end.
    Append(Vec<Vec<u8>>),
    /// Forget everything from here on.
    Truncate(u64),
    /// Give back the space of what was forgotten. Changes no block.
    Tidy,
}

/// A block by where it came from: step and position in it. Its bytes follow from that.
pub type Block = (u64, u32);

/// An endless list of steps, numbered from 1.
#[derive(Clone, Copy)]
pub struct Program {
    /// What everything follows from.
    pub seed: u64,
    /// A truncate comes once in so many steps.
    pub truncate_once_in: u64,
    /// And a tidying once in so many.
    pub tidy_once_in: u64,
    /// Bytes of the largest block.
    pub largest: u64,
}

impl Program {
    /// What most runs use: mostly small blocks, a drive's 65,536 now and then.
    pub fn of(seed: u64) -> Self {
        Self { seed, truncate_once_in: 40, tidy_once_in: 250, largest: 65_536 }
    }

    /// A step, for a log that has `length` blocks before it.
    pub fn step(&self, number: u64, length: u64) -> Step {
        let mut chance = Chance::of(self.seed, number);
        if chance.once_in(self.truncate_once_in) && length > 0 {
            // Mostly a little, sometimes nearly all: so that the log stays small enough to be read whole.
            let keep = if chance.once_in(2) {
                length - chance.below(length.min(8)) - 1
            } else {
                chance.below(length)
            };
            return Step::Truncate(keep);
        }
        if chance.once_in(self.tidy_once_in) {
            return Step::Tidy;
        }
        let count = if chance.once_in(8) { 1 + chance.below(24) } else { 1 };
        Step::Append((0..count as u32).map(|position| self.bytes((number, position))).collect())
    }

    /// The bytes of a block.
    pub fn bytes(&self, (step, position): Block) -> Vec<u8> {
        let mut chance = Chance::of(self.seed ^ 0x00b1_0c00, (step << 16) | u64::from(position));
        let length = match chance.below(64) {
            0 => 0,
            1 => self.largest.min(65_536),
            2..8 => chance.below(self.largest.min(5_000) + 1),
            _ => chance.below(201),
        };
        chance.bytes(length as usize)
    }

    /// What a log holds after a step.
    pub fn after(&self, number: u64, mut blocks: Vec<Block>) -> Vec<Block> {
        match self.step(number, blocks.len() as u64) {
            Step::Append(new) => blocks.extend((0..new.len() as u32).map(|position| (number, position))),
            Step::Truncate(length) => blocks.truncate(length as usize),
            Step::Tidy => {}
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::{Blocks, Subject};
    use crate::trial::Trial as _;

    #[test]
    fn a_program_appends_truncates_tidies_and_stays_small() {
        let program = Program::of(3);
        let mut blocks = Vec::new();
        let (mut appends, mut truncates, mut tidied, mut longest) = (0, 0, 0, 0);
        for number in 1..=5000 {
            match program.step(number, blocks.len() as u64) {
                Step::Append(_) => appends += 1,
                Step::Truncate(length) => {
                    assert!(length < blocks.len() as u64);
                    truncates += 1;
                }
                Step::Tidy => tidied += 1,
            }
            blocks = program.after(number, blocks);
            longest = longest.max(blocks.len());
        }
        assert!(appends > 4000 && truncates > 50 && tidied > 5, "{appends} {truncates} {tidied}");
        assert!((100..5000).contains(&longest), "{longest}");
        let trial = Blocks { subject: Subject::Store, program };
        assert_eq!(trial.state(5000), blocks);
    }
}
