//! Playing a program on a drive.

use super::plan::{Change, Plan, Step};
use crate::stage::{Cast, Site, difference};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const DRIVE: &str = "drive";
const SETTLE_MS: u64 = 60_000;

/// Plays `plan` in `dir`; an error says who disagreed about what.
pub fn play(site: &Site, plan: &Plan, dir: &Path) -> Result<()> {
    let cast = Cast::start(site, &plan.peers, &plan.edges, dir)?;
    let mut stage = Stage { plan, cast, key: String::new(), files: BTreeMap::new(), versions: vec![1] };
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
    /// What the drive must hold by now.
    files: BTreeMap<&'static str, Change>,
    /// The drive's version at the start and after each step of change.
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
                open_drive(&mut self.cast, self.plan, number, if writes { None } else { Some(&self.key) })?;
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
            Step::Change { single, changes } => {
                let change = json!({ "do": "change", "drive": DRIVE, "single": single, "ops": changes });
                let said = self.cast.ask_all(self.writers(), &change)?;
                self.versions.push(said[0]["version"].as_u64().context("no version")?);
                for change in changes {
                    match change.op {
                        "del" => self.files.remove(change.path),
                        _ => self.files.insert(change.path, change.clone()),
                    };
                }
            }
            Step::Ask(question) => {
                if question["path"].as_str().is_some_and(|path| !self.has_part(path, question)) {
                    return Ok(());
                }
                self.settle()?;
                self.agree(question)?;
            }
            Step::Reconnect(edge) => self.cast.rejoin(*edge)?,
            Step::Restart(number) => {
                let writes = self.writers().contains(number);
                let (plan, key) = (self.plan, if writes { None } else { Some(self.key.as_str()) });
                self.cast.restart(*number, |cast| open_drive(cast, plan, *number, key).map(drop))?;
            }
        }
        Ok(())
    }

    /// Parts that lie outside of a file are not asked for: npm hyperdrive waits for them for ever.
    fn has_part(&self, path: &str, question: &Value) -> bool {
        let end =
            question["start"].as_u64().zip(question["length"].as_u64()).map(|(start, length)| start + length);
        let size = self.files.get(path).and_then(|file| file.value).map(|value| value.1 as u64);
        size.zip(end).is_some_and(|(size, end)| end <= size)
    }

    fn settle(&mut self) -> Result<()> {
        let version = self.versions.last().copied().unwrap_or_default();
        if self.plan.edges.is_empty() || version == 1 {
            return Ok(());
        }
        let there = json!({
            "do": "waitDrive", "drive": DRIVE, "version": version, "whole": false, "timeoutMs": SETTLE_MS,
        });
        self.cast.ask_all(1..self.cast.len(), &there).map(drop)
    }

    /// Everybody answers a question as the writer does.
    fn agree(&mut self, question: &Value) -> Result<Value> {
        let mut question = question.clone();
        question["drive"] = json!(DRIVE);
        for field in ["version", "since"] {
            if let Some(changes) = question[field].as_u64() {
                question[field] = json!(self.versions[changes as usize]);
            }
        }
        let mut answers = self.cast.ask_all(0..self.cast.len(), &question)?;
        for (number, answer) in answers.iter_mut().enumerate() {
            let name = self.cast.name(number);
            answer.as_object_mut().with_context(|| name.to_owned())?.remove("id");
        }
        for (number, answer) in answers.iter().enumerate() {
            let (name, other) = (self.cast.name(number), || difference(answer, &answers[0]));
            ensure!(
                *answer == answers[0],
                "to {question} {name} answers otherwise than the writer: {}",
                other()
            );
        }
        Ok(answers.swap_remove(0))
    }

    /// What the writer lists is what was put; everybody holds the same logs.
    fn judge(&mut self) -> Result<()> {
        self.settle()?;
        let listed = self.agree(&json!({ "do": "files" }))?;
        let listed = listed["files"].as_array().context("no files")?;
        ensure!(listed.len() == self.files.len(), "{} files, not {}", listed.len(), self.files.len());
        for (file, wanted) in listed.iter().zip(self.files.values()) {
            let wanted = json!({
                "path": wanted.path,
                "content": wanted.value.map(|value| value.digest()),
                "executable": wanted.executable,
                "linkname": wanted.target,
                "metadata": wanted.metadata,
            });
            for (field, wanted) in wanted.as_object().into_iter().flatten() {
                let path = &file["path"];
                ensure!(file[field] == *wanted, "{path} has {field} {}, not {wanted}", file[field]);
            }
        }
        let mut heads = self.agree(&json!({ "do": "heads" }))?;
        ensure!(heads["db"]["treeHash"].take().is_string(), "no tree hash");
        Ok(())
    }
}

/// Opens the drive in a peer that has just started, and gives its key.
fn open_drive(cast: &mut Cast<'_>, plan: &Plan, number: usize, key: Option<&str>) -> Result<String> {
    // Ours stores equal files once, npm does not: twins make the same blocks only without that.
    let twin = plan.edges.is_empty();
    let open =
        json!({ "do": "openDrive", "drive": DRIVE, "key": key, "encryption": plan.encryption, "twin": twin });
    let opened = cast.ask(number, open)?;
    Ok(opened["key"].as_str().context("no key")?.to_owned())
}
