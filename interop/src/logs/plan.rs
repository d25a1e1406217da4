//! A program of operations as plain data, so that a failing one can be printed and played again.

use super::shape::{Flavour, Make};
use crate::content::Content;
use crate::dice::Dice;
use crate::stage::Kind;
use serde::Serialize;
use std::fmt;

/// Most bytes that the blocks of one program have together.
const MOST_BYTES: usize = 24 << 20;

/// Sizes around which implementations have broken: frames, windows, Hyperdrive's own block size.
const SIZES: [usize; 14] =
    [0, 1, 2, 32, 100, 1_000, 4_096, 16_384, 65_500, 65_535, 65_536, 65_537, 300_000, 1 << 20];

/// What a reader wants of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Appetite {
    /// Everything, asked for when the program ends.
    Full,
    /// Everything there is and will be, from the start.
    Live,
    /// Chosen blocks.
    Sparse,
}

/// One thing that happens. Peers are named by their number; the writer is 0.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The writer appends these in one go.
    Append(Vec<Content>),
    /// The writer cuts the log to this length, which starts a new fork.
    Truncate(u64),
    /// Everybody gets to the writer's length and fork.
    Settle,
    /// A reader asks for these blocks, in this order. Comes after `Settle`.
    Fetch(usize, Vec<u64>),
    /// A reader asks for a range. Comes after `Settle`.
    Download(usize, u64, u64),
    /// A reader looks for the byte at this place, or as far behind the start when the log is shorter. Comes after `Settle`.
    Seek(usize, u64),
    /// A reader forgets a range. Comes after `Settle`.
    Clear(usize, u64, u64),
    /// An edge is cut in the middle of whatever goes on, and joined again.
    Reconnect(usize),
    /// A peer's process ends and is started again on the same files.
    Restart(usize),
}

/// A program and who plays it.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Everything else follows from it.
    pub seed: u64,
    /// The writer first.
    pub peers: Vec<Kind>,
    /// What sort of log.
    pub flavour: Flavour,
    /// The log.
    pub make: Make,
    /// The key of encrypted blocks.
    pub encryption: Option<String>,
    /// A reader without that key, which passes blocks on all the same.
    pub blind: Option<usize>,
    /// What each reader wants; the writer's own counts for nothing.
    pub appetites: Vec<Appetite>,
    /// Who dials whom.
    pub edges: Vec<(usize, usize)>,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Plan {
    /// A program for these peers, the writer first.
    pub fn roll(seed: u64, peers: &[Kind], flavour: Flavour) -> Plan {
        let mut dice = Dice::new(seed);
        let make = Make::roll(flavour, &mut dice);
        let encryption = flavour.is_encrypted().then(|| dice.key());
        let edges = edges(peers.len(), &mut dice);
        let chain = peers.len() == 3 && !edges.iter().any(|&edge| matches!(edge, (0, 2) | (2, 0)));
        let mut appetites: Vec<_> = peers
            .iter()
            .map(|_| dice.pick(&[Appetite::Full, Appetite::Full, Appetite::Live, Appetite::Sparse]))
            .collect();
        if chain {
            // The last of a chain gets only what the middle one has.
            appetites[1] = Appetite::Live;
        }
        let blind = (chain && encryption.is_some() && dice.once_in(2)).then_some(1);
        let steps = Steps::roll(peers.len(), &appetites, edges.len(), &mut dice);
        Plan { seed, peers: peers.to_vec(), flavour, make, encryption, blind, appetites, edges, steps }
    }
}

/// In a line that a person can read; the seed brings the rest back.
impl Plan {
    /// The same, of a log that is not empty.
    pub fn roll_with_blocks(seed: u64, peers: &[Kind], flavour: Flavour) -> Plan {
        let plans = (seed..).map(|seed| Plan::roll(seed, peers, flavour));
        let has_blocks = |plan: &Plan| plan.steps.iter().any(|step| matches!(step, Step::Append(_)));
        plans.into_iter().find(has_blocks).unwrap_or_else(|| Plan::roll(seed, peers, flavour))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, edges {:?}, wants {:?}", self.seed, self.edges, &self.appetites[1..])?;
        if let Flavour::Multi(_) = self.flavour {
            let (quorum, signers) = (self.make.quorum, self.make.signers.len());
            write!(f, ", {quorum} of {signers} sign")?;
        }
        if let Some(blind) = self.blind {
            write!(f, ", peer {blind} has no key")?;
        }
        self.steps.iter().try_for_each(|step| match step {
            Step::Append(blocks) if blocks.len() < 6 => {
                let sizes: Vec<_> = blocks.iter().map(|block| block.1).collect();
                write!(f, "; append {sizes:?}")
            }
            Step::Append(blocks) => {
                let bytes: usize = blocks.iter().map(|block| block.1).sum();
                write!(f, "; append {} blocks of {bytes} B", blocks.len())
            }
            step => write!(f, "; {}", format!("{step:?}").to_lowercase()),
        })
    }
}

fn edges(peers: usize, dice: &mut Dice) -> Vec<(usize, usize)> {
    let pairs: &[(usize, usize)] = match peers {
        2 => &[(0, 1)],
        _ => dice.pick(&[&[(0, 1), (1, 2)][..], &[(0, 1), (0, 2)], &[(0, 1), (1, 2), (0, 2)]]),
    };
    pairs.iter().map(|&(a, b)| if dice.once_in(2) { (a, b) } else { (b, a) }).collect()
}

/// What is known of the log while its program is made.
struct Steps<'a> {
    dice: &'a mut Dice,
    steps: Vec<Step>,
    length: u64,
    bytes: usize,
    /// Many small blocks, or few of all sizes.
    many: bool,
}

impl Steps<'_> {
    fn roll(peers: usize, appetites: &[Appetite], edges: usize, dice: &mut Dice) -> Vec<Step> {
        let many = dice.once_in(4);
        let mut steps = Steps { steps: Vec::new(), length: 0, bytes: 0, many, dice };
        if steps.dice.once_in(20) {
            // An empty log is a log, too.
            return vec![Step::Settle];
        }
        for _ in 0..steps.dice.between(1, 9) {
            steps.one(peers, edges);
        }
        // Whatever happened before, there is something to agree on in the end.
        steps.append();
        steps.steps.push(Step::Settle);
        let end = steps.steps.len();
        for (reader, appetite) in appetites.iter().enumerate().skip(1) {
            match appetite {
                Appetite::Sparse => steps.fetch(reader),
                _ => steps.steps.push(Step::Download(reader, 0, steps.length)),
            }
        }
        // Before they have it all, so that some have to ask where a byte is.
        for reader in 1..peers {
            let byte = steps.dice.any() >> 16;
            steps.steps.insert(end, Step::Seek(reader, byte));
        }
        steps.steps
    }

    fn one(&mut self, peers: usize, edges: usize) {
        let reader = self.dice.between(1, peers as u64 - 1) as usize;
        match self.dice.below(14) {
            0..5 => self.append(),
            5..7 if self.length > 0 => self.truncate(),
            7 if self.length > 0 => {
                self.steps.push(Step::Settle);
                self.fetch(reader);
            }
            8 if self.length > 0 => self.range(|from, to| Step::Download(reader, from, to)),
            9 if self.length > 0 => self.range(|from, to| Step::Clear(reader, from, to)),
            10 => self.steps.push(Step::Reconnect(self.dice.below(edges as u64) as usize)),
            11 => self.steps.push(Step::Restart(self.dice.below(peers as u64) as usize)),
            _ => self.steps.push(Step::Settle),
        }
    }

    fn append(&mut self) {
        let count = match self.many {
            true => self.dice.between(1, 1_500),
            false => self.dice.between(1, 12),
        };
        let mut blocks = Vec::new();
        for _ in 0..count.min(5_000 - self.length.min(5_000)).max(1) {
            let size = match self.many {
                true => self.dice.below(200) as usize,
                false => self.dice.pick(&SIZES),
            };
            let size = if self.bytes + size > MOST_BYTES { 1 } else { size };
            self.bytes += size;
            blocks.push(Content(self.dice.seed(), size));
        }
        self.length += blocks.len() as u64;
        self.steps.push(Step::Append(blocks));
    }

    fn truncate(&mut self) {
        // Near the end, anywhere, or all of it.
        self.length = match self.dice.below(5) {
            0 => 0,
            1 | 2 => self.length - self.dice.below(self.length.min(4)) - 1,
            _ => self.dice.below(self.length),
        };
        self.steps.push(Step::Truncate(self.length));
        // npm tells nobody of a log that became empty until there is something in it again.
        if self.length == 0 || self.dice.once_in(2) {
            self.append();
        }
    }

    fn fetch(&mut self, reader: usize) {
        let picks = (0..self.dice.between(1, 20)).map(|_| self.dice.below(self.length)).collect();
        self.steps.push(Step::Fetch(reader, picks));
    }

    fn range(&mut self, step: impl FnOnce(u64, u64) -> Step) {
        let from = self.dice.below(self.length);
        let to = self.dice.between(from + 1, self.length);
        self.steps.push(Step::Settle);
        self.steps.push(step(from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_program() {
        let plan = |seed| format!("{:?}", Plan::roll(seed, &[Kind::Ours, Kind::Ten], Flavour::Default));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn programs_reach_what_they_are_for() {
        let plans: Vec<_> = (0..400)
            .map(|seed| Plan::roll(seed, &[Kind::Ours, Kind::Ten, Kind::Eleven], Flavour::Encrypted))
            .collect();
        let steps = || plans.iter().flat_map(|plan| &plan.steps);
        assert!(plans.iter().any(|plan| plan.blind.is_some()));
        assert!(plans.iter().any(|plan| plan.steps.len() == 1), "an empty log");
        assert!(steps().any(|step| matches!(step, Step::Truncate(0))));
        assert!(steps().any(|step| matches!(step, Step::Restart(0))));
        assert!(steps().any(|step| matches!(step, Step::Clear(..))));
        assert!(steps().any(|step| matches!(step, Step::Append(blocks) if blocks.len() > 1_000)));
        for size in SIZES {
            let has =
                |step: &Step| matches!(step, Step::Append(blocks) if blocks.iter().any(|b| b.1 == size));
            assert!(steps().any(has), "{size}");
        }
    }
}
