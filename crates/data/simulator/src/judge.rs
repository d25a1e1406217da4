use crate::checkpoints::{Blocks, History, chain};
use crate::disk::Disk;
use crate::model::{Model, can_conflict, text};
use crate::world::{Counts, Trouble, World, trouble};
use bytes::Bytes;
use cloudpal_db::wire::Block;
use cloudpal_db::{Dot, Kind, Range, Sub, Version, View, WriterId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// What was found when everybody had heard everything.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Copies that were compared.
    pub copies: u64,
    /// Entries that count.
    pub entries: u64,
    /// Rows that are visible.
    pub rows: u64,
    /// Conflicts, the same at all.
    pub conflicts: u64,
    /// Writes that were said to last, and are there.
    pub acknowledged: u64,
    /// What happened.
    pub counts: Counts,
}

/// Plays the world of a seed to its end and judges it.
pub fn play(seed: u64, steps: u64, history: History) -> Result<Verdict, Trouble> {
    play_aloud(seed, steps, history, &mut drop)
}

/// As [`play`], telling what happens before it does.
pub fn play_aloud(
    seed: u64,
    steps: u64,
    history: History,
    tell: &mut dyn FnMut(String),
) -> Result<Verdict, Trouble> {
    let mut world = World::new(seed, history)?;
    world.run(steps, tell)?;
    world.heal()?;
    world.tell_standing(tell)?;
    world.judge()
}

/// What can be done to a world behind the back of the database, to see whether the judge notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// One copy never gets a block that the others have.
    BlockWithheld,
    /// A block that was said to last is taken from every disk.
    BlockLost,
}

/// As [`play`], with a flaw put in before the judgement: anything but trouble means that the judge is blind, or that the world of this
/// seed has no block that would tell.
pub fn play_with(flaw: Flaw, seed: u64, steps: u64) -> Result<Verdict, Trouble> {
    let mut world = World::new(seed, History::Kept)?;
    world.run(steps, &mut drop)?;
    world.heal()?;
    world.spoil(flaw)?;
    world.judge()
}

impl World {
    /// Everybody meets everybody until there is nothing new, at a time when everything is due.
    pub fn heal(&mut self) -> Result<(), Trouble> {
        self.now_ms += 24 * 3_600_000;
        for device in &mut self.devices {
            (device.skew_ms, device.side) = (0, 0);
        }
        for _ in 0..100 {
            self.admit_all()?;
            let before = self.heads();
            for from in 0..self.devices.len() {
                for to in 0..self.devices.len() {
                    self.exchange(from, to, 101)?;
                }
            }
            let mut carried = false;
            for at in 0..self.devices.len() {
                carried |= self.tend(at)?;
            }
            if !carried && self.heads() == before && !self.cut_at_holes()? {
                return Ok(());
            }
        }
        Err(Trouble::Stuck("the devices never came to rest".to_owned()))
    }

    /// What a person does when a block is gone for good, with the only disks that had it: the owner cuts that log there, and who
    /// had built on it goes on. Whether there was such a block.
    fn cut_at_holes(&mut self) -> Result<bool, Trouble> {
        let now_ms = self.now_ms;
        let advanced =
            self.devices[0].advance(now_ms).map_err(|source| trouble(0, "read the logs", source))?;
        let held = |writer: &WriterId, position: u64| {
            self.devices.iter().any(|device| device.disk.get(writer, position).is_some())
        };
        let hole = advanced.missing.into_iter().find(|(writer, position)| !held(writer, *position));
        let Some((writer, position)) = hole else { return Ok(false) };
        self.cut_at(0, writer.client(), position)?;
        Ok(true)
    }

    fn heads(&self) -> Vec<(cloudpal_db::Heads, u64)> {
        self.devices.iter().map(|device| (device.replica.heads(), device.replica.view().feed().1)).collect()
    }

    /// Compares all copies with each other and with the model.
    pub fn judge(&self) -> Result<Verdict, Trouble> {
        let mut logs: Blocks = self.archive.clone();
        for device in self.devices.iter() {
            for writer in device.disk.logs() {
                for position in 0..device.disk.length(&writer) {
                    if let Some(block) = device.disk.get(&writer, position) {
                        let known = logs.entry(writer).or_default().insert(position, block.clone());
                        if known.is_some_and(|known| known != block) {
                            return diverged(format!(
                                "two devices have different blocks {position} of {writer}"
                            ));
                        }
                    }
                }
            }
        }
        for (writer, position) in &self.acknowledged {
            if logs.get(writer).is_none_or(|log| !log.contains_key(position)) {
                return lost_write(*position, writer);
            }
        }
        let settled = chain(self.devices[0].replica.base(), &logs);
        let logs: BTreeMap<WriterId, Vec<Bytes>> =
            logs.into_iter().map(|(writer, log)| (writer, log.into_values().collect())).collect();
        let model = Model::of(self.devices[0].replica.database(), &logs, &self.secrets, &settled);
        for (writer, position) in &self.acknowledged {
            let dot = Dot { client: writer.client(), position: *position };
            // Cut, or admitted by a manager who has lost the say: then its log counts for nothing.
            let end = end(&logs, writer, *position);
            let cut = model.limits.get(&dot.client).is_none_or(|limit| *limit < end);
            if !cut && !model.entries.contains(&dot) && !self.narrowed.contains(&dot.client) {
                return lost_write(*position, writer);
            }
        }
        let mut verdict = Verdict {
            entries: model.entries.len() as u64,
            rows: model.rows.len() as u64,
            acknowledged: self.acknowledged.len() as u64,
            counts: self.counts,
            ..Verdict::default()
        };
        let mut first: Option<[u8; 32]> = None;
        for (at, device) in self.devices.iter().enumerate() {
            // Who was cut cannot read what came after.
            let member = device.replica.member(&device.me.writer);
            if member.is_none_or(|member| member.cut.is_some()) {
                continue;
            }
            let view = device.replica.view();
            let hash = view.state_hash().map_err(|source| trouble(at, "read its view", source))?;
            if first.is_some_and(|first| first != hash) {
                self.compare(at, &view, &model)?;
                return diverged(format!("device {at} shows something else than the others"));
            }
            if first.replace(hash).is_none() {
                verdict.conflicts = self.compare(at, &view, &model)?;
            }
            verdict.copies += 1;
        }
        Ok(verdict)
    }

    fn compare(&self, at: usize, view: &View<Disk>, model: &Model) -> Result<u64, Trouble> {
        let failed = |source| trouble(at, "read its view", source);
        let mut conflicts = 0;
        let mut subs: BTreeSet<Sub> = model.rows.keys().map(|(sub, ..)| sub.clone()).collect();
        subs.extend(view.subs().map_err(failed)?);
        for sub in subs {
            let mut shown: BTreeMap<Bytes, Bytes> = BTreeMap::new();
            view.scan(&sub, &Range::default(), &mut |key, value| {
                shown.insert(Bytes::copy_from_slice(key), value.clone());
                ControlFlow::Continue(())
            })
            .map_err(failed)?;
            let wanted = wanted(model, &sub);
            if shown != wanted {
                let shown: Vec<_> =
                    shown.iter().filter(|(key, value)| wanted.get(*key) != Some(value)).collect();
                let wanted: Vec<_> = wanted.iter().collect();
                return diverged(format!(
                    "device {at} shows {shown:?} in {sub}, and it should be {wanted:?}"
                ));
            }
            if !can_conflict(sub.kind()) {
                continue;
            }
            let found = view.conflicts(&sub).map_err(failed)?;
            conflicts += found.len() as u64;
            let found: BTreeMap<(Bytes, Bytes), Vec<Version>> =
                found.into_iter().map(|conflict| ((conflict.key, conflict.path), conflict.lost)).collect();
            let lost = lost(model, &sub);
            if found != lost {
                return diverged(format!(
                    "device {at} has the conflicts {found:?} in {sub}, and it should be {lost:?}"
                ));
            }
        }
        Ok(conflicts)
    }
}

fn diverged<T>(what: String) -> Result<T, Trouble> {
    Err(Trouble::Diverged(what))
}

/// Behind the last block of the entry that begins at `position`.
fn end(logs: &BTreeMap<WriterId, Vec<Bytes>>, writer: &WriterId, position: u64) -> u64 {
    let block = logs.get(writer).and_then(|log| log.get(usize::try_from(position).ok()?));
    match block.map(Block::decode) {
        Some(Ok(Block::Part(part))) => position + part.parts,
        _ => position + 1,
    }
}

fn lost_write<T>(position: u64, writer: &WriterId) -> Result<T, Trouble> {
    Err(Trouble::Lost(format!("block {position} of {writer} was said to last and is lost")))
}

/// What a sub-database must show.
fn wanted(model: &Model, sub: &Sub) -> BTreeMap<Bytes, Bytes> {
    let rows = model.rows.iter().filter(|((of, ..), _)| of == sub);
    match sub.kind() {
        Kind::Register => rows.map(|((_, key, _), row)| (key.clone(), row[0].value.clone())).collect(),
        Kind::Set => {
            let mut sets: BTreeMap<Bytes, Vec<String>> = BTreeMap::new();
            for ((_, key, member), _) in rows {
                let member = &member[..member.len() - 2];
                sets.entry(key.clone()).or_default().push(crate::document::plain(member));
            }
            let json = |members: Vec<String>| serde_json::Value::from(members).to_string().into();
            sets.into_iter().map(|(key, members)| (key, json(members))).collect()
        }
        Kind::Text => rows
            .map(|((_, key, _), _)| {
                let updates = model.texts.get(&(sub.clone(), key.clone()));
                (key.clone(), text(updates.map_or(&[][..], Vec::as_slice)).into())
            })
            .collect(),
        Kind::Counter => {
            let counters = model.counters.iter().filter(|((of, _), _)| of == sub);
            counters.map(|((_, key), sum)| (key.clone(), sum.to_string().into())).collect()
        }
        Kind::Json => crate::document::wanted(model, sub),
    }
}

/// The conflicts that a sub-database must have: versions that say something else than the one shown.
fn lost(model: &Model, sub: &Sub) -> BTreeMap<(Bytes, Bytes), Vec<Version>> {
    let mut lost = BTreeMap::new();
    for ((of, key, path), row) in &model.rows {
        let others: Vec<Version> = row[1..]
            .iter()
            .filter(|visible| visible.value != row[0].value)
            .map(|visible| Version { dot: visible.dot, stamp: visible.stamp, value: visible.value.clone() })
            .collect();
        if of == sub && !others.is_empty() {
            lost.insert((key.clone(), path.clone()), others);
        }
    }
    lost
}
