//! A program on a sorted map as plain data.

use crate::content::Content;
use crate::dice::Dice;
use crate::logs::{Flavour, Make};
use crate::stage::Kind;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// `put` or `del`.
    pub op: &'static str,
    /// The key, in hex.
    pub key: String,
    /// What is put.
    pub value: Option<Content>,
    /// A condition that both sides know by name.
    pub cas: Option<&'static str>,
}

/// One thing that happens. Peers are named by their number; the writer is 0.
#[derive(Clone, Debug)]
pub enum Step {
    /// The writer changes entries of a sub-database or of the whole, in one batch or one by one.
    Change {
        /// The sub-database's name, in hex.
        sub: Option<String>,
        /// Each in a block batch of its own.
        single: bool,
        /// In order.
        changes: Vec<Change>,
    },
    /// Everybody gets to the writer's length; then all answer the same question. Its `version`, `from` and
    /// `to` say after how many steps of change: a version within a batch is none that one can go back to.
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
    /// The log below.
    pub make: Make,
    /// The key of encrypted blocks.
    pub encryption: Option<String>,
    /// Who dials whom; nobody among twins, who all write.
    pub edges: Vec<(usize, usize)>,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Plan {
    /// A program for a writer and its readers.
    pub fn roll(seed: u64, peers: &[Kind], flavour: Flavour) -> Plan {
        let mut dice = Dice::new(seed);
        let make = Make::roll(flavour, &mut dice);
        let encryption = flavour.is_encrypted().then(|| dice.key());
        let edges: Vec<_> =
            (1..peers.len()).map(|reader| if dice.once_in(2) { (0, reader) } else { (reader, 0) }).collect();
        let mut rolling = Rolling { dice, changes: 0, keys: Vec::new() };
        let steps = rolling.steps(peers.len(), edges.len());
        Plan { seed, peers: peers.to_vec(), make, encryption, edges, steps }
    }

    /// The same program for writers of equal keys who never meet.
    pub fn of_twins(seed: u64, peers: &[Kind], flavour: Flavour) -> Plan {
        let mut plan = Plan::roll(seed, peers, flavour);
        plan.edges.clear();
        plan.steps.retain(|step| !matches!(step, Step::Reconnect(_)));
        plan
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, edges {:?}", self.seed, self.edges)?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Change { sub, single, changes } => {
                let how = if *single { "one by one" } else { "in a batch" };
                let place = if sub.is_some() { " in a sub-database" } else { "" };
                write!(f, "; {} changes {how}{place}", changes.len())
            }
            Step::Ask(question) => {
                let shown: String = question.to_string().chars().take(120).collect();
                write!(f, "; {shown}")
            }
            step => write!(f, "; {}", format!("{step:?}").to_lowercase()),
        })
    }
}

struct Rolling {
    dice: Dice,
    /// Steps of change so far.
    changes: u64,
    keys: Vec<String>,
}

impl Rolling {
    fn steps(&mut self, peers: usize, edges: usize) -> Vec<Step> {
        let mut steps = vec![self.change()];
        for _ in 0..self.dice.between(2, 10) {
            let step = match self.dice.below(12) {
                0..5 => self.change(),
                5..10 => Step::Ask(self.question()),
                10 => Step::Reconnect(self.dice.below(edges as u64) as usize),
                _ => Step::Restart(self.dice.below(peers as u64) as usize),
            };
            steps.push(step);
        }
        // Whatever was asked before, in the end everything is.
        steps.extend([json!({ "do": "scan" }), json!({ "do": "history" })].map(Step::Ask));
        steps
    }

    fn change(&mut self) -> Step {
        let sub = self.dice.once_in(4).then(|| hex::encode([b's', b'a' + self.dice.below(3) as u8]));
        let single = self.dice.once_in(3);
        let count = match (single, self.dice.once_in(4)) {
            (true, _) => self.dice.between(1, 12),
            (false, true) => self.dice.between(100, 700),
            (false, false) => self.dice.between(1, 40),
        };
        let changes: Vec<_> = (0..count).map(|_| self.one()).collect();
        self.changes += 1;
        Step::Change { sub, single, changes }
    }

    fn one(&mut self) -> Change {
        let known = !self.keys.is_empty() && self.dice.once_in(2);
        let key = match known {
            true => self.keys[self.dice.below(self.keys.len() as u64) as usize].clone(),
            false => self.key(),
        };
        if self.dice.once_in(5) {
            let cas = self.dice.once_in(6).then_some("never");
            return Change { op: "del", key, value: None, cas };
        }
        self.keys.push(key.clone());
        let size = self.dice.pick(&[0, 1, 5, 30, 200, 200, 2_000, 70_000]);
        // Few values, so that a put of what is there already happens.
        let value = Content(
            self.dice.below(50) as u32 + 1,
            if size == 70_000 && !self.dice.once_in(20) { 9 } else { size },
        );
        let cas = match self.dice.below(12) {
            0 => Some("never"),
            1 => Some("changed"),
            _ => None,
        };
        Change { op: "put", key, value: Some(value), cas }
    }

    /// Short keys that share prefixes, and long ones. Neither the empty one nor a single zero: npm's listing of a
    /// sub-database leaves these two out, ours does not.
    fn key(&mut self) -> String {
        let length = self.dice.pick(&[1, 1, 2, 2, 3, 3, 4, 8, 32, 300]);
        let bytes: Vec<u8> =
            (0..length).map(|_| self.dice.pick(&[0, 1, 47, 97, 98, 99, 127, 128, 255])).collect();
        match bytes[..] {
            [0] => hex::encode([97]),
            _ => hex::encode(bytes),
        }
    }

    fn question(&mut self) -> Value {
        let version = self.dice.once_in(3).then(|| self.dice.below(self.changes + 1));
        match self.dice.below(6) {
            0 => json!({ "do": "history", "reverse": self.dice.once_in(2), "limit": self.limit() }),
            1 => {
                let (a, b) = (self.dice.below(self.changes + 1), self.dice.below(self.changes + 1));
                json!({ "do": "diff", "from": a.min(b), "to": a.max(b) })
            }
            2 => {
                let keys: Vec<_> = (0..20).map(|_| self.some_key()).collect();
                json!({ "do": "getKeys", "keys": keys })
            }
            3 => json!({ "do": "scan", "sub": hex::encode("sa"), "reverse": self.dice.once_in(2) }),
            _ => {
                let mut range = json!({});
                if self.dice.once_in(2) {
                    range[self.dice.pick(&["gt", "gte"])] = json!(self.some_key());
                }
                if self.dice.once_in(2) {
                    range[self.dice.pick(&["lt", "lte"])] = json!(self.some_key());
                }
                let reverse = self.dice.once_in(2);
                json!({ "do": "scan", "range": range, "reverse": reverse, "limit": self.limit(), "version": version })
            }
        }
    }

    fn limit(&mut self) -> i64 {
        self.dice.pick(&[-1, -1, 0, 1, 7, 100])
    }

    fn some_key(&mut self) -> String {
        match self.keys.is_empty() || self.dice.once_in(3) {
            true => self.key(),
            false => self.keys[self.dice.below(self.keys.len() as u64) as usize].clone(),
        }
    }
}
