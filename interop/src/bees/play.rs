//! Playing a program on a sorted map.

use super::plan::{Change, Plan, Step};
use crate::content::Content;
use crate::stage::{Cast, Site, difference};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const LOG: &str = "bee";
const SETTLE_MS: u64 = 60_000;

/// Plays `plan` in `dir`; an error says who disagreed about what.
pub fn play(site: &Site, plan: &Plan, dir: &Path) -> Result<()> {
    let cast = Cast::start(site, &plan.peers, &plan.edges, dir)?;
    let mut stage = Stage { plan, cast, key: String::new(), entries: BTreeMap::new(), versions: vec![1] };
    stage.open()?;
    for (number, step) in plan.steps.iter().enumerate() {
        stage.step(step).with_context(|| format!("at step {number}"))?;
    }
    stage.judge()?;
    stage.cast.end()
}

struct Stage<'a> {
    plan: &'a Plan,
    cast: Cast<'a>,
    key: String,
    /// What the map must hold by now, by full keys in hex.
    entries: BTreeMap<String, Content>,
    /// The map's version at the start and after each step of change.
    versions: Vec<u64>,
}

impl Stage<'_> {
    /// Twins all write; else the first does.
    fn writers(&self) -> std::ops::Range<usize> {
        0..if self.plan.edges.is_empty() { self.cast.len() } else { 1 }
    }

    fn open(&mut self) -> Result<()> {
        for number in 0..self.cast.len() {
            let writes = self.writers().contains(&number);
            let key =
                open_bee(&mut self.cast, self.plan, number, if writes { None } else { Some(&self.key) })?;
            ensure!(
                number == 0 || key == self.key,
                "{} has key {key}, not {}",
                self.cast.name(number),
                self.key
            );
            self.key = key;
        }
        self.cast.join_all()
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Change { sub, single, changes } => {
                let batch =
                    json!({ "do": "batch", "log": LOG, "sub": sub, "single": single, "ops": changes });
                let said = self.cast.ask_all(self.writers(), &batch)?;
                self.versions.push(said[0]["version"].as_u64().context("no version")?);
                changes.iter().for_each(|change| self.apply(sub.as_deref(), change));
            }
            Step::Ask(question) => {
                self.settle()?;
                self.agree(question)?;
            }
            Step::Reconnect(edge) => self.cast.rejoin(*edge)?,
            Step::Restart(number) => {
                let writes = self.writers().contains(number);
                let (plan, key) = (self.plan, if writes { None } else { Some(self.key.as_str()) });
                self.cast.restart(*number, |cast| open_bee(cast, plan, *number, key).map(drop))?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, sub: Option<&str>, change: &Change) {
        // A sub-database's keys begin with its name and a zero byte.
        let key = format!("{}{}", sub.map_or_else(String::new, |sub| format!("{sub}00")), change.key);
        let there = self.entries.contains_key(&key);
        match (change.op, change.cas, change.value) {
            // Where nothing is there yet, nothing is compared.
            ("put", Some("never"), Some(_)) if there => {}
            ("put", _, Some(value)) => {
                self.entries.insert(key, value);
            }
            ("del", None, _) => {
                self.entries.remove(&key);
            }
            _ => {}
        }
    }

    fn settle(&mut self) -> Result<()> {
        if self.plan.edges.is_empty() {
            return Ok(());
        }
        let head = self.cast.ask(0, json!({ "do": "dump", "log": LOG }))?;
        let there = json!({
            "do": "wait", "log": LOG, "length": head["length"], "fork": head["fork"], "timeoutMs": SETTLE_MS,
        });
        self.cast.ask_all(1..self.cast.len(), &there).map(drop)
    }

    /// Everybody answers a question as the first does.
    fn agree(&mut self, question: &Value) -> Result<Value> {
        let mut question = question.clone();
        question["log"] = json!(LOG);
        for field in ["version", "from", "to"] {
            if let Some(changes) = question[field].as_u64() {
                question[field] = json!(self.versions[changes as usize]);
            }
        }
        let mut answers = self.cast.ask_all(0..self.cast.len(), &question)?;
        for answer in &mut answers {
            answer.as_object_mut().context("no object")?.remove("id");
        }
        for (number, answer) in answers.iter().enumerate() {
            let name = self.cast.name(number);
            ensure!(
                *answer == answers[0],
                "to {question} {name} answers otherwise than the writer: {}",
                difference(answer, &answers[0])
            );
        }
        Ok(answers.swap_remove(0))
    }

    /// What the writer lists is what was put; twins made the very same blocks.
    fn judge(&mut self) -> Result<()> {
        let listed = self.agree(&json!({ "do": "scan" }))?;
        let listed: Vec<_> = listed["entries"]
            .as_array()
            .context("no entries")?
            .iter()
            .map(|entry| {
                (entry[1].as_str().unwrap_or_default(), entry[2].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let wanted: Vec<_> = self.entries.iter().map(|(key, value)| (key.as_str(), value.digest())).collect();
        ensure!(listed.len() == wanted.len(), "{} entries, not {}", listed.len(), wanted.len());
        for (listed, wanted) in listed.iter().zip(&wanted) {
            ensure!(listed == wanted, "entry {listed:?} should be {wanted:?}");
        }
        let dumps = self.cast.ask_all(0..self.cast.len(), &json!({ "do": "dump", "log": LOG }))?;
        for (number, dump) in dumps.iter().enumerate() {
            for field in ["length", "fork", "treeHash"] {
                let (its, first) = (&dump[field], &dumps[0][field]);
                ensure!(its == first, "{} has {field} {its}, not {first}", self.cast.name(number));
            }
        }
        Ok(())
    }
}

/// Opens the map in a peer that has just started, and gives its key.
fn open_bee(cast: &mut Cast<'_>, plan: &Plan, number: usize, key: Option<&str>) -> Result<String> {
    let mut open = json!({ "do": "openLog", "log": LOG, "encryption": plan.encryption });
    match key {
        None => open["make"] = json!(plan.make),
        Some(key) => open["key"] = json!(key),
    }
    let opened = cast.ask(number, open)?;
    cast.ask(number, json!({ "do": "openBee", "log": LOG }))?;
    Ok(opened["key"].as_str().context("no key")?.to_owned())
}
