//! One peer process.

use super::{Kind, Site};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// No answer takes so many seconds unless something is broken. The peers' own limits are shorter.
const SILENCE: u32 = 180;

/// Lines of its standard error that are kept for a failure's report.
const LAST_WORDS: usize = 30;

/// A peer process; killed when dropped.
pub struct Child {
    /// What it is called in reports.
    pub name: String,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    last_words: Arc<Mutex<VecDeque<String>>>,
    number: u64,
}

/// An answer that is still to come.
#[derive(Debug)]
#[must_use]
pub struct Said {
    number: u64,
    command: String,
}

impl Child {
    /// Starts a peer that keeps its data in `dir`; `primary` decides the keys of its named logs.
    pub fn start(site: &Site, kind: Kind, name: &str, dir: &Path, primary: &str) -> Result<Child> {
        let mut command = site.command(kind)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("cannot start peer {name} ({kind:?})"))?;
        let (sender, answers) = channel();
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let out = process.stdout.take().context("no standard output")?;
        let err = process.stderr.take().context("no standard error")?;
        thread::spawn(move || pass_on(BufReader::new(out), &sender));
        let kept = last_words.clone();
        thread::spawn(move || keep_last(BufReader::new(err), &kept));
        let stdin = process.stdin.take();
        let name = format!("{name} ({kind:?})").to_lowercase();
        let mut child = Child { name, process, stdin, answers, last_words, number: 0 };
        child.ask(json!({ "do": "init", "dir": dir, "primary": primary }))?;
        Ok(child)
    }

    /// Tells it something and waits for the answer.
    pub fn ask(&mut self, command: Value) -> Result<Value> {
        let said = self.say(command)?;
        self.hear(said)
    }

    /// Tells it something without waiting, so that others can be told something meanwhile.
    pub fn say(&mut self, mut command: Value) -> Result<Said> {
        self.number += 1;
        command["id"] = json!(self.number);
        let text = command.to_string();
        let stdin = self.stdin.as_mut().context("was told to end")?;
        let sent = writeln!(stdin, "{text}").and_then(|()| stdin.flush());
        let shown: String = text.chars().take(200).collect();
        sent.with_context(|| format!("{} does not listen to {shown}: {}", self.name, self.words()))?;
        Ok(Said { number: self.number, command: shown })
    }

    /// Waits for the answer to what it was told. Answers that nobody waits for any more are passed over.
    pub fn hear(&mut self, said: Said) -> Result<Value> {
        let command = &said.command;
        let answer = loop {
            let answer = self.next_answer(command)?;
            match answer["id"].as_u64() {
                Some(id) if id == said.number => break answer,
                Some(id) if id < said.number => {}
                _ => bail!("{} answers {} to command {}", self.name, answer["id"], said.number),
            }
        };
        match answer["ok"] == json!(true) {
            true => Ok(answer),
            false => Err(anyhow!(
                "{} failed at {command}: {} {}",
                self.name,
                answer["error"].as_str().unwrap_or_default(),
                self.words()
            )),
        }
    }

    fn next_answer(&mut self, command: &str) -> Result<Value> {
        // One by one: seconds in which the machine slept, with all its processes, count as one.
        for _ in 0..SILENCE {
            match self.answers.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => {
                    return serde_json::from_str(&line).with_context(|| format!("{} said {line}", self.name));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended at {command}: {}", self.name, self.words())
                }
            }
        }
        bail!("{} does not answer {command}: {}", self.name, self.words())
    }

    /// Lets it close its files and end.
    pub fn close(&mut self) -> Result<()> {
        self.ask(json!({ "do": "close" }))?;
        self.stdin = None;
        self.process.wait().with_context(|| format!("lost track of {}", self.name))?;
        Ok(())
    }

    fn words(&self) -> String {
        let words = self.last_words.lock().map(|words| words.iter().cloned().collect::<Vec<_>>().join(" | "));
        match words {
            Ok(words) if !words.is_empty() => format!("[standard error: {words}]"),
            _ => String::new(),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it may stay.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn pass_on(out: impl BufRead, sender: &Sender<String>) {
    for line in out.lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
}

fn keep_last(err: impl BufRead, kept: &Mutex<VecDeque<String>>) {
    for line in err.lines().map_while(Result::ok) {
        let Ok(mut kept) = kept.lock() else { return };
        kept.push_back(line);
        if kept.len() > LAST_WORDS {
            kept.pop_front();
        }
    }
}
