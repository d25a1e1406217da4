//! Playing a program with real processes, and judging the end against what the blocks must be.

use super::plan::{Appetite, Plan, Step};
use crate::content::Content;
use crate::stage::{Cast, Kind, Site};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;

/// The one log of the program.
const LOG: &str = "log";

/// How long a peer may take to hear of what the writer did.
const SETTLE_MS: u64 = 30_000;

/// How long a peer may take to get blocks that it asked for.
const DOWNLOAD_MS: u64 = 60_000;

/// What the judge is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// What was appended.
    Honest,
    /// One block that never was: a comparison that does not see this sees nothing.
    Deceived,
}

/// What npm's peers needed to go on after a log was cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repairs {
    /// How often all were connected again.
    pub reconnects: u64,
    /// How often one was started again that had nodes of an older fork in memory.
    pub restarts: u64,
}

/// Plays `plan` in `dir` and tells what npm's peers needed for it; an error says who disagreed about what.
pub fn play(site: &Site, plan: &Plan, dir: &Path, judge: Judge) -> Result<Repairs> {
    let mut stage = Stage::open(site, plan, dir)?;
    for (number, step) in plan.steps.iter().enumerate() {
        stage.step(step).with_context(|| format!("at step {number}"))?;
    }
    if let (Judge::Deceived, Some(last)) = (judge, stage.blocks.last_mut()) {
        *last = Content(last.0 ^ 1, last.1 + 1);
    }
    stage.compare()?;
    stage.cast.end()?;
    Ok(stage.repairs)
}

/// The peers, and what the writer's log must hold by now.
struct Stage<'a> {
    plan: &'a Plan,
    cast: Cast<'a>,
    key: String,
    blocks: Vec<Content>,
    fork: u64,
    repairs: Repairs,
}

impl<'a> Stage<'a> {
    fn open(site: &'a Site, plan: &'a Plan, dir: &Path) -> Result<Self> {
        let cast = Cast::start(site, &plan.peers, &plan.edges, dir)?;
        let mut stage = Stage {
            plan,
            cast,
            key: String::new(),
            blocks: Vec::new(),
            fork: 0,
            repairs: Repairs::default(),
        };
        for number in 0..stage.cast.len() {
            let opened = open_log(&mut stage.cast, plan, number, &stage.key)?;
            if number == 0 {
                stage.key = opened;
            }
        }
        stage.cast.join_all()?;
        Ok(stage)
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Append(blocks) => {
                let said = self.ask(0, json!({ "do": "append", "blocks": blocks }))?;
                self.blocks.extend(blocks);
                ensure!(said["length"] == json!(self.blocks.len()), "the writer says {said} after append");
            }
            Step::Truncate(length) => {
                let said = self.ask(0, json!({ "do": "truncate", "length": length }))?;
                self.blocks.truncate(*length as usize);
                self.fork += 1;
                ensure!(said["fork"] == json!(self.fork), "the writer says {said} after truncate");
            }
            Step::Settle => {
                let there = json!({
                    "do": "wait", "log": LOG, "length": self.blocks.len(), "fork": self.fork, "timeoutMs": SETTLE_MS,
                });
                let settled = self.cast.ask_all(1..self.cast.len(), &there).map(drop);
                settled.or_else(|error| self.settle_npm(&there, error))?;
            }
            Step::Fetch(reader, picks) => {
                self.bring(*reader, &json!({ "do": "fetch", "blocks": picks }))?;
                self.check_held(*reader, picks)?;
            }
            Step::Download(reader, start, end) => {
                self.bring(*reader, &json!({ "do": "download", "start": start, "end": end }))?;
                self.check_held(*reader, &(*start..*end).collect::<Vec<_>>())?;
            }
            Step::Seek(reader, place) => self.seek(*reader, *place)?,
            Step::Clear(reader, start, end) => {
                self.ask(*reader, json!({ "do": "clear", "start": start, "end": end }))?;
            }
            Step::Reconnect(edge) => self.cast.rejoin(*edge)?,
            Step::Restart(number) => self.restart(*number)?,
        }
        Ok(())
    }

    fn restart(&mut self, number: usize) -> Result<()> {
        let (plan, key) = (self.plan, &self.key);
        self.cast.restart(number, |cast| open_log(cast, plan, number, key).map(drop))
    }

    /// A reader tells which block holds a byte. Who has no key of encrypted blocks counts their padding too.
    fn seek(&mut self, reader: usize, place: u64) -> Result<()> {
        let bytes: u64 = self.blocks.iter().map(|block| block.1 as u64).sum();
        if bytes == 0 || self.plan.blind == Some(reader) {
            return Ok(());
        }
        let (byte, mut start, mut index) = (place % bytes, 0, 0);
        while start + self.blocks[index].1 as u64 <= byte {
            start += self.blocks[index].1 as u64;
            index += 1;
        }
        let found = self.bring(reader, &json!({ "do": "seek", "byte": byte }))?;
        let name = self.cast.name(reader);
        let right = found["index"] == json!(index) && found["offset"] == json!(byte - start);
        ensure!(right, "{name} finds byte {byte} at {found}, not in block {index}, byte {}", byte - start);
        Ok(())
    }

    /// npm's readers now and then stay behind when a log is cut while they download, among npm peers too, until they
    /// are connected again. Ours must not: a reader of ours beside the writer is there by now, or it is a failure,
    /// unless npm is the reason.
    fn settle_npm(&mut self, there: &Value, error: anyhow::Error) -> Result<()> {
        let beside = |number| self.plan.edges.iter().any(|&edge| edge == (0, number) || edge == (number, 0));
        let mut now = there.clone();
        now["timeoutMs"] = json!(1_000);
        let mut ours_behind = self.plan.peers[1..].iter().all(|&kind| kind == Kind::Ours);
        for number in (1..self.cast.len()).filter(|&number| beside(number)) {
            ours_behind |=
                self.plan.peers[number] == Kind::Ours && self.cast.ask(number, now.clone()).is_err();
        }
        if !self.repair_npm()? && ours_behind {
            return Err(error);
        }
        self.cast.ask_all(1..self.cast.len(), there).map(drop)
    }

    /// The same for blocks that a reader asks for.
    fn bring(&mut self, reader: usize, command: &Value) -> Result<Value> {
        let error = match self.ask(reader, command.clone()) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !self.repair_npm()? && self.plan.peers[reader] == Kind::Ours {
            return Err(error);
        }
        self.ask(reader, command.clone())
    }

    /// Starts npm's peers again that have nodes of an older fork in memory, and connects everybody again. Whether npm
    /// was why somebody stayed behind: it had such nodes, or has broken a connection because its log was cut while it
    /// answered. It does both to its own readers too. In a log that was never cut it has no such excuse.
    fn repair_npm(&mut self) -> Result<bool> {
        let broken = self.cast.broken()?;
        let mut stale = 0;
        for number in 0..self.cast.len() {
            stale += usize::from(self.repair_stale(number)?);
        }
        self.repairs.reconnects += 1;
        self.cast.rejoin_all()?;
        Ok(self.fork > 0 && broken + stale > 0)
    }

    /// Starts a peer again if it has nodes of an older fork in memory; whether it had.
    fn repair_stale(&mut self, number: usize) -> Result<bool> {
        let may = self.plan.peers[number] == Kind::Ten && self.fork > 0;
        if !may || self.ask(number, json!({ "do": "stale" }))?["nodes"] == json!(0) {
            return Ok(false);
        }
        self.repairs.restarts += 1;
        self.restart(number)?;
        Ok(true)
    }

    fn ask(&mut self, number: usize, mut command: Value) -> Result<Value> {
        command["log"] = json!(LOG);
        command["timeoutMs"] = json!(DOWNLOAD_MS);
        self.cast.ask(number, command)
    }

    fn check_held(&mut self, reader: usize, picks: &[u64]) -> Result<()> {
        let dump = self.ask(reader, json!({ "do": "dump" }))?;
        let blocks = dump["blocks"].as_array().context("no blocks")?;
        let missing: Vec<_> =
            picks.iter().filter(|&&pick| blocks.get(pick as usize).is_none_or(Value::is_null)).collect();
        let name = self.cast.name(reader);
        ensure!(missing.is_empty(), "{name} asked for blocks {missing:?} and does not hold them");
        Ok(())
    }

    /// Equal length, fork, root hash and signature; every block held is what was appended; who wanted all has all.
    fn compare(&mut self) -> Result<()> {
        let digests: Vec<_> = self.blocks.iter().map(|block| json!(block.digest())).collect();
        let mut dumps = Vec::new();
        for number in 0..self.cast.len() {
            // What it reads by such nodes are not the blocks that it has.
            self.repair_stale(number)?;
            let dump = self.ask(number, json!({ "do": "dump" }))?;
            let name = self.cast.name(number);
            self.compare_head(&dump, dumps.first()).with_context(|| name.to_owned())?;
            self.compare_blocks(number, &dump, &digests).with_context(|| name.to_owned())?;
            dumps.push(dump);
        }
        Ok(())
    }

    fn compare_head(&self, dump: &Value, writer: Option<&Value>) -> Result<()> {
        let wanted =
            [("key", json!(self.key)), ("length", json!(self.blocks.len())), ("fork", json!(self.fork))];
        for (field, wanted) in wanted {
            ensure!(dump[field] == wanted, "{field} is {}, not {wanted}", dump[field]);
        }
        for field in ["treeHash", "signature"] {
            let theirs = writer.map_or(&dump[field], |writer| &writer[field]);
            // Ours does not show signatures.
            let shown = field != "signature" || !(dump[field].is_null() || theirs.is_null());
            ensure!(!shown || &dump[field] == theirs, "{field} is {}, the writer's is {theirs}", dump[field]);
        }
        Ok(())
    }

    fn compare_blocks(&self, number: usize, dump: &Value, digests: &[Value]) -> Result<()> {
        let complete = number == 0 || self.plan.appetites[number] != Appetite::Sparse;
        let readable = self.plan.blind != Some(number);
        let held = dump["blocks"].as_array().context("no blocks")?;
        ensure!(held.len() == digests.len(), "shows {} blocks", held.len());
        for (index, (block, wanted)) in held.iter().zip(digests).enumerate() {
            match block.is_null() {
                true if complete => bail!("block {index} is not there"),
                false if readable && block != wanted => bail!("block {index} is {block}, not {wanted}"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens the log in a peer that has just started, and gives its key.
fn open_log(cast: &mut Cast<'_>, plan: &Plan, number: usize, key: &str) -> Result<String> {
    let encryption = plan.encryption.as_ref().filter(|_| plan.blind != Some(number));
    let mut open = json!({ "do": "openLog", "log": LOG, "encryption": encryption });
    match number {
        0 => open["make"] = json!(plan.make),
        _ => open["key"] = json!(key),
    }
    let opened = cast.ask(number, open)?;
    if number > 0 && plan.appetites[number] == Appetite::Live {
        cast.ask(number, json!({ "do": "live", "log": LOG }))?;
    }
    Ok(opened["key"].as_str().context("no key")?.to_owned())
}
