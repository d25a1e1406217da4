//! A program on a drive as plain data.

use crate::content::Content;
use crate::dice::Dice;
use crate::stage::Kind;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

/// Blocks of blobs have 65,536 bytes.
const SIZES: [usize; 9] = [0, 1, 300, 300, 5_000, 65_536, 65_537, 200_000, (1 << 20) + 3];

/// Names that share folders and prefixes, and are not all ASCII.
const PATHS: [&str; 12] = [
    "/a.txt",
    "/b",
    "/docs/a.txt",
    "/docs/b b.txt",
    "/docs/deep/er/c.bin",
    "/docs-not/d",
    "/grün/ö.txt",
    "/z/日本.md",
    "/z/0",
    "/.hidden",
    "/bin/run",
    "/bin/walk",
];

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// `put`, `symlink` or `del`.
    pub op: &'static str,
    /// Which file.
    pub path: &'static str,
    /// What is put.
    pub value: Option<Content>,
    /// Of a file that is put.
    pub executable: bool,
    /// What a symbolic link leads to.
    pub target: Option<&'static str>,
    /// Any JSON.
    pub metadata: Value,
}

/// One thing that happens. Peers are named by their number; the writer is 0.
#[derive(Clone, Debug)]
pub enum Step {
    /// The writer changes files, in one batch or one by one.
    Change {
        /// Each in a block of its own.
        single: bool,
        /// In order.
        changes: Vec<Change>,
    },
    /// Everybody gets to the writer's version; then all answer the same question. Its `version` and `since`
    /// say after how many steps of change.
    Ask(Value),
    /// An edge is cut and joined again.
    Reconnect(usize),
    /// A peer's process ends and is started again on the same files.
    Restart(usize),
}

/// A program and who plays it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything else follows from it.
    pub seed: u64,
    /// The writer first.
    pub peers: Vec<Kind>,
    /// The key of an encrypted drive.
    pub encryption: Option<String>,
    /// Who dials whom; nobody among twins, who all write.
    pub edges: Vec<(usize, usize)>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Whether a drive's bytes travel as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// As they are.
    Open,
    /// Readers need a key beside the drive's.
    Encrypted,
}

impl Plan {
    /// A program for a writer and its readers.
    pub fn roll(seed: u64, peers: &[Kind], privacy: Privacy) -> Plan {
        let mut dice = Dice::new(seed);
        let encryption = (privacy == Privacy::Encrypted).then(|| dice.key());
        let edges: Vec<_> =
            (1..peers.len()).map(|reader| if dice.once_in(2) { (0, reader) } else { (reader, 0) }).collect();
        let mut rolling = Rolling { dice, changes: 0 };
        let steps = rolling.steps(peers.len(), edges.len());
        Plan { seed, peers: peers.to_vec(), encryption, edges, steps }
    }

    /// The same program for writers of equal keys who never meet.
    pub fn of_twins(seed: u64, peers: &[Kind], privacy: Privacy) -> Plan {
        let mut plan = Plan::roll(seed, peers, privacy);
        plan.edges.clear();
        plan.steps.retain(|step| !matches!(step, Step::Reconnect(_)));
        plan
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, edges {:?}", self.seed, self.edges)?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Change { single, changes } => {
                let how = if *single { "one by one" } else { "in a batch" };
                write!(f, "; {} changes {how}", changes.len())
            }
            Step::Ask(question) => write!(f, "; {question}"),
            step => write!(f, "; {}", format!("{step:?}").to_lowercase()),
        })
    }
}

struct Rolling {
    dice: Dice,
    /// Steps of change so far.
    changes: u64,
}

impl Rolling {
    fn steps(&mut self, peers: usize, edges: usize) -> Vec<Step> {
        let mut steps = vec![self.change()];
        for _ in 0..self.dice.between(2, 8) {
            let step = match self.dice.below(10) {
                0..4 => self.change(),
                4..8 => Step::Ask(self.question()),
                8 => Step::Reconnect(self.dice.below(edges as u64) as usize),
                _ => Step::Restart(self.dice.below(peers as u64) as usize),
            };
            steps.push(step);
        }
        steps.push(Step::Ask(json!({ "do": "files" })));
        steps
    }

    fn change(&mut self) -> Step {
        self.changes += 1;
        let changes = (0..self.dice.between(1, 10)).map(|_| self.one()).collect();
        Step::Change { single: self.dice.once_in(2), changes }
    }

    fn one(&mut self) -> Change {
        let path = self.dice.pick(&PATHS);
        let metadata = match self.dice.once_in(4) {
            true => json!({ "made": self.dice.below(1_000), "by": "wörds" }),
            false => Value::Null,
        };
        let plain =
            Change { op: "del", path, value: None, executable: false, target: None, metadata: Value::Null };
        match self.dice.below(8) {
            0 => plain,
            1 => Change { op: "symlink", target: Some(self.dice.pick(&PATHS)), metadata, ..plain },
            _ => {
                let value = Content(self.dice.seed(), self.dice.pick(&SIZES));
                Change { op: "put", value: Some(value), executable: self.dice.once_in(3), metadata, ..plain }
            }
        }
    }

    fn question(&mut self) -> Value {
        match self.dice.below(4) {
            0 => json!({ "do": "files", "version": self.dice.between(1, self.changes) }),
            1 => json!({ "do": "files", "folder": self.dice.pick(&["/docs", "/z", "/", "/none"]) }),
            2 => json!({ "do": "driveDiff", "since": self.dice.between(1, self.changes) }),
            _ => {
                let start = self.dice.pick(&[0, 1, 65_535, 65_536, 100_000]);
                let length = self.dice.pick(&[0, 1, 70_000, 65_536]);
                json!({ "do": "readPart", "path": self.dice.pick(&PATHS), "start": start, "length": length })
            }
        }
    }
}
