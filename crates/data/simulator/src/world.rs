use crate::checkpoints::{Blocks, History};
use crate::device::Device;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::judge::Flaw;
use crate::plan::batch;
use bytes::Bytes;
use cloudpal_core::{AgreementSecret, Secret, SigningKey};
use cloudpal_db::record::{Candidate, Rights, Role, SignedRecord};
use cloudpal_db::{ClientId, Identity, KeepError, Replica, WriteError, WriterId};
use std::collections::{BTreeMap, BTreeSet};

/// Devices, the network between them, and chance.
pub struct World {
    /// What everything follows from.
    pub seed: u64,
    pub(crate) dice: Dice,
    pub(crate) devices: Vec<Device>,
    pub(crate) now_ms: u64,
    /// All secrets that were drawn, for the model.
    pub(crate) secrets: Vec<[u8; 32]>,
    /// Writes that were said to last: where they lie.
    pub(crate) acknowledged: BTreeSet<(WriterId, u64)>,
    backups: BTreeMap<usize, Disk>,
    asking: Vec<(Candidate, Rights)>,
    /// Members whose rights were changed when they had written.
    pub(crate) narrowed: BTreeSet<ClientId>,
    pub(crate) history: History,
    /// What devices have forgotten, for the model.
    pub(crate) archive: Blocks,
    pub(crate) counts: Counts,
}

/// What happened in a world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches written.
    pub writes: u64,
    /// Batches that were refused, lawfully.
    pub refused: u64,
    /// Power losses.
    pub crashes: u64,
    /// Devices restored from a backup.
    pub restores: u64,
    /// Members cut.
    pub cuts: u64,
    /// Members admitted.
    pub admissions: u64,
    /// Steps of merging runs.
    pub compactions: u64,
    /// Blocks that were lost, repeated or came out of order on their way.
    pub disordered: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// How often a copy was filled from one.
    pub loads: u64,
    /// Blocks that devices have forgotten.
    pub forgotten: u64,
}

/// Something that must not happen.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A copy could not go on.
    #[error("device {device} could not {doing}")]
    Device {
        /// Which.
        device: usize,
        /// What it was about to do.
        doing: &'static str,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What a copy shows is not what it must.
    #[error("{0}")]
    Diverged(String),
    /// A write that was said to last is gone.
    #[error("{0}")]
    Lost(String),
    /// There is no end to it.
    #[error("{0}")]
    Stuck(String),
}

const HOUR: i64 = 3_600_000;

impl World {
    /// A database with its founder and up to seven others.
    pub fn new(seed: u64, history: History) -> Result<Self, Trouble> {
        let mut world = World {
            seed,
            dice: Dice::new(seed),
            devices: Vec::new(),
            now_ms: 1_700_000_000_000,
            secrets: Vec::new(),
            acknowledged: BTreeSet::new(),
            backups: BTreeMap::new(),
            asking: Vec::new(),
            narrowed: BTreeSet::new(),
            history,
            archive: Blocks::new(),
            counts: Counts::default(),
        };
        let owner = SigningKey::from_secret(&world.secret());
        let me = world.identity(Some(owner.clone()));
        let disk = Disk::default();
        let now_ms = world.now_ms;
        let blocks =
            Replica::<Disk>::found(&me, &owner, now_ms, &mut || draw(&mut world.dice, &mut world.secrets));
        disk.put(me.writer, 0, blocks);
        disk.sync();
        let mut founder = opened(0, Device::open(me.writer, me, disk))?;
        said(0, "read its own log", founder.advance(now_ms))?;
        world.devices.push(founder);
        for _ in 0..=world.dice.below(7) {
            world.join()?;
        }
        world.admit_all()?;
        for at in 1..world.devices.len() {
            world.exchange(0, at, 101)?;
        }
        Ok(world)
    }

    fn secret(&mut self) -> Secret<32> {
        draw(&mut self.dice, &mut self.secrets)
    }

    fn identity(&mut self, owner: Option<SigningKey>) -> Identity {
        Identity {
            writer: WriterId(self.dice.bytes()),
            agreement: AgreementSecret::from_secret(&self.secret()),
            signer: SigningKey::from_secret(&self.secret()),
            owner,
        }
    }

    fn database(&self) -> WriterId {
        self.devices[0].replica.database()
    }

    /// Does `steps` random things, and tells each before it is done.
    pub fn run(&mut self, steps: u64, tell: &mut dyn FnMut(String)) -> Result<(), Trouble> {
        for step in 0..steps {
            self.now_ms += self.dice.below(30_000);
            let at = self.dice.below(self.devices.len() as u64) as usize;
            let roll = self.dice.below(100);
            tell(format!("{step}: {}", self.story(at, roll)));
            self.step(at, roll)?;
            self.tend_history(at)?;
        }
        Ok(())
    }

    /// Tells how far each device has come, and what it waits for.
    pub(crate) fn tell_standing(&mut self, tell: &mut dyn FnMut(String)) -> Result<(), Trouble> {
        let now_ms = self.now_ms;
        for (at, device) in self.devices.iter_mut().enumerate() {
            let advanced = said(at, "read the logs", device.advance(now_ms))?;
            tell(format!("device {at} ({}) at last: {advanced:?}", device.me.client()));
            for (client, member) in device.replica.members().iter() {
                let (read, length) =
                    (device.replica.heads().get(client), device.disk.length(&member.writer()));
                let limit = member.cut.as_ref().map(|cut| cut.length);
                tell(format!(
                    "  {client}: {read} of {length} blocks read, cut at {limit:?}, {:?}",
                    member.rights
                ));
            }
            for refusal in device.replica.refusals() {
                tell(format!("  {refusal:?}"));
            }
        }
        Ok(())
    }

    /// What is about to happen, and to whom.
    fn story(&self, at: usize, roll: u64) -> String {
        let what = match roll {
            0..=44 => "writes",
            45..=69 => "hears of another",
            70..=73 => "reads",
            74..=78 => "loses power",
            79..=81 => "compacts",
            82..=84 => "sees the network part",
            85..=86 => "has its clock set",
            87 => "is backed up",
            88 => "comes back from a backup",
            89..=91 => "sees somebody cut",
            92 => "gets other rights",
            93..=94 => "does chores",
            _ => "sees somebody admitted",
        };
        let Device { me, replica, side, skew_ms, .. } = &self.devices[at];
        let (heads, hours) = (replica.heads(), skew_ms / HOUR);
        let heads: Vec<String> = heads.iter().map(|(client, length)| format!("{client}:{length}")).collect();
        format!(
            "device {at} ({}, side {side}, clock {hours:+} h) {what}; it has {}",
            me.client(),
            heads.join(" ")
        )
    }

    fn step(&mut self, at: usize, roll: u64) -> Result<(), Trouble> {
        match roll {
            0..=44 => self.write(at),
            45..=69 => {
                let other = self.dice.below(self.devices.len() as u64) as usize;
                self.exchange(other, at, 100)
            }
            70..=73 => self.read(at),
            74..=78 => self.crash(at),
            79..=81 => self.compact(at),
            82..=84 => {
                let sides = 1 + self.dice.below(3);
                for device in &mut self.devices {
                    device.side = self.dice.below(sides);
                }
                Ok(())
            }
            85..=86 => {
                // Hours off, and back again.
                let hours = self.dice.below(11) as i64 - 5;
                self.devices[at].skew_ms = hours * HOUR;
                Ok(())
            }
            87 => {
                self.devices[at].disk.sync();
                self.backups.insert(at, self.devices[at].disk.copy());
                Ok(())
            }
            88 => self.restore(at),
            89..=91 => self.cut(),
            92 => self.change_rights(at),
            93..=94 => self.tend(at).map(drop),
            95 if self.devices.len() < 8 => self.join(),
            _ => self.admit(),
        }
    }

    fn write(&mut self, at: usize) -> Result<(), Trouble> {
        if self.devices[at].restored {
            let other = self.dice.below(self.devices.len() as u64) as usize;
            return self.exchange(other, at, 100);
        }
        self.read(at)?;
        let count = 1 + self.dice.below(3);
        let rows = self.devices[at].replica.view();
        let batches = (0..count).map(|_| batch(&mut self.dice, &rows));
        let batches = batches.collect::<Result<Vec<_>, _>>();
        let batches = batches.map_err(|source| trouble(at, "read before writing", source))?;
        let now_ms = self.now_ms;
        let dice = &mut self.dice;
        let device = &mut self.devices[at];
        match device.write(&batches, now_ms, &mut || dice.bytes()) {
            Ok(results) => {
                let durable = self.dice.one_in(3);
                if durable {
                    self.devices[at].disk.sync();
                }
                for result in results {
                    match result {
                        Ok(written) => {
                            self.counts.writes += 1;
                            if durable {
                                let writer = self.devices[at].me.writer;
                                self.acknowledged.insert((writer, written.dot.position));
                            }
                        }
                        Err(WriteError::Condition { .. } | WriteError::Rights { .. }) => {
                            self.counts.refused += 1
                        }
                        Err(source) => return Err(trouble(at, "write a batch", source)),
                    }
                }
            }
            Err(WriteError::RolledBack | WriteError::SeenMore { .. }) => self.come_back(at)?,
            // Who was removed asks again, with a new log.
            Err(WriteError::Cut) if at > 0 && self.dice.one_in(2) => self.come_back(at)?,
            Err(WriteError::NotAdmitted) => {
                self.counts.refused += 1;
                self.admit()?;
                self.exchange(0, at, 100)?;
            }
            Err(WriteError::Cut | WriteError::NoKey | WriteError::Waiting) => self.counts.refused += 1,
            Err(source) => return Err(trouble(at, "write", source)),
        }
        if self.dice.one_in(8) {
            let device = &self.devices[at];
            device.replica.flush().map_err(|source| trouble(at, "flush", source))?;
        }
        Ok(())
    }

    pub(crate) fn read(&mut self, at: usize) -> Result<(), Trouble> {
        let now_ms = self.now_ms;
        let advanced = said(at, "read the logs", self.devices[at].advance(now_ms))?;
        self.counts.loads += u64::from(advanced.loaded);
        Ok(())
    }

    /// What `from` has goes to `to`, some of it not, some twice, in any order.
    pub(crate) fn exchange(&mut self, from: usize, to: usize, percent: u64) -> Result<(), Trouble> {
        let (giver, taker) = (&self.devices[from], &self.devices[to]);
        if from == to || (percent < 100 || giver.side != taker.side) && percent != 101 {
            return Ok(());
        }
        // Nobody is told what a crash could still undo.
        giver.disk.sync();
        let mut blocks: Vec<(WriterId, u64, Bytes)> = Vec::new();
        for writer in giver.disk.logs().into_iter().filter(|writer| *writer != taker.me.writer) {
            let (first, settled) = (taker.disk.length(&writer), taker.replica.settled().get(writer.client()));
            let missing = (0..giver.disk.length(&writer))
                .filter(|at| *at >= first || *at >= settled && taker.disk.get(&writer, *at).is_none());
            blocks.extend(missing.filter_map(|at| Some((writer, at, giver.disk.get(&writer, at)?))));
        }
        if percent == 100 {
            for at in (1..blocks.len()).rev() {
                blocks.swap(at, self.dice.below(at as u64 + 1) as usize);
            }
            let lost = self.dice.below(3) * 20;
            let before = blocks.len();
            blocks.retain(|_| self.dice.below(100) >= lost);
            self.counts.disordered += (before - blocks.len()) as u64;
            let again: Vec<_> = blocks.iter().filter(|_| self.dice.one_in(10)).cloned().collect();
            self.counts.disordered += again.len() as u64;
            blocks.extend(again);
        }
        for (writer, position, block) in blocks {
            self.devices[to].disk.put(writer, position, vec![block]);
        }
        self.devices[to].restored = false;
        self.read(to)
    }

    fn crash(&mut self, at: usize) -> Result<(), Trouble> {
        let kept = self.dice.below(self.devices[at].disk.unsynced() as u64 + 1) as usize;
        let disk = self.devices[at].disk.crash(kept);
        self.counts.crashes += 1;
        self.reopen(at, disk)
    }

    fn reopen(&mut self, at: usize, disk: Disk) -> Result<(), Trouble> {
        let database = self.database();
        let old = &self.devices[at];
        let (skew_ms, side, restored) = (old.skew_ms, old.side, old.restored);
        let device = opened(at, Device::open(database, old.me.clone(), disk))?;
        self.devices[at] = Device { skew_ms, side, restored, ..device };
        self.read(at)
    }

    /// A device comes back as it was some time ago. It hears of it from the first it meets.
    fn restore(&mut self, at: usize) -> Result<(), Trouble> {
        // The owner's key is on the first device, and the last of it must not be gone.
        let Some(backup) = (at > 0).then(|| self.backups.get(&at).cloned()).flatten() else { return Ok(()) };
        // What it wrote since may be lost with it.
        let writer = self.devices[at].me.writer;
        self.acknowledged.retain(|(of, position)| *of != writer || backup.get(&writer, *position).is_some());
        self.counts.restores += 1;
        self.reopen(at, backup.copy())?;
        // It cannot know how much is missing, so it never writes to that log again.
        self.come_back(at)
    }

    /// The device takes a new log and asks to be admitted with it.
    fn come_back(&mut self, at: usize) -> Result<(), Trouble> {
        let owner = self.devices[at].me.owner.clone();
        let me = self.identity(owner);
        self.backups.remove(&at);
        self.asking.push((me.candidate(), Rights::all(Role::Writer)));
        let old = &self.devices[at];
        let disk = old.disk.without_pages();
        let database = self.database();
        let (skew_ms, side) = (old.skew_ms, old.side);
        let device = opened(at, Device::open(database, me, disk))?;
        self.devices[at] = Device { skew_ms, side, restored: true, ..device };
        self.read(at)
    }

    fn join(&mut self) -> Result<(), Trouble> {
        let me = self.identity(None);
        let rights = self.rights();
        self.asking.push((me.candidate(), rights));
        let at = self.devices.len();
        let device = opened(at, Device::open(self.database(), me, Disk::default()))?;
        self.devices.push(device);
        self.admit()
    }

    /// Random rights, mostly those of a writer.
    fn rights(&mut self) -> Rights {
        let roles = [
            Role::Writer,
            Role::Writer,
            Role::Writer,
            Role::Writer,
            Role::Manager,
            Role::Manager,
            Role::Reader,
        ];
        let role = *self.dice.pick(&roles);
        let scope = if self.dice.one_in(6) { vec!["a".to_owned()] } else { Vec::new() };
        let until_ms = self.dice.one_in(8).then(|| self.now_ms + self.dice.below(3_000_000));
        Rights { role, scope, until_ms }
    }

    /// The owner says anew what a member may do, from its first entry on.
    fn change_rights(&mut self, at: usize) -> Result<(), Trouble> {
        let member = self.devices[0].replica.member(&self.devices[at].me.writer);
        let Some(candidate) = member.filter(|_| at > 0).map(|member| member.candidate) else { return Ok(()) };
        self.narrowed.insert(candidate.writer().client());
        let rights = self.rights();
        self.asking.push((candidate, rights));
        self.admit_by(0)
    }

    /// The owner admits all who ask.
    pub(crate) fn admit_all(&mut self) -> Result<(), Trouble> {
        for _ in 0..self.asking.len() {
            self.admit_by(0)?;
        }
        Ok(())
    }

    /// The owner, or a manager, admits one who asks.
    pub(crate) fn admit(&mut self) -> Result<(), Trouble> {
        if self.asking.is_empty() {
            return Ok(());
        }
        let by = if self.dice.one_in(3) { self.dice.below(self.devices.len() as u64) as usize } else { 0 };
        self.admit_by(by)
    }

    /// As [`admit`](Self::admit), by a certain device.
    pub(crate) fn admit_by(&mut self, by: usize) -> Result<(), Trouble> {
        self.read(by)?;
        if self.devices[by].restored {
            return Ok(());
        }
        let Some((candidate, rights)) = self.asking.pop() else { return Ok(()) };
        let name = format!("device {}", candidate.writer().client());
        let now_ms = self.devices[by].clock(self.now_ms);
        let (dice, secrets) = (&mut self.dice, &mut self.secrets);
        let device = &self.devices[by];
        let record =
            device.replica.admit(candidate, name, rights.clone(), now_ms, &mut || draw(dice, secrets));
        match record {
            Ok(record) => {
                if self.carry(by, vec![record])? {
                    self.counts.admissions += 1;
                } else {
                    self.asking.push((candidate, rights));
                }
            }
            Err(WriteError::NotManager | WriteError::NotAdmitted | WriteError::Cut) => {
                self.asking.push((candidate, rights));
            }
            Err(source) => return Err(trouble(by, "admit a device", source)),
        }
        Ok(())
    }

    /// Whether the device could write the records down.
    fn carry(&mut self, by: usize, records: Vec<SignedRecord>) -> Result<bool, Trouble> {
        let device = &self.devices[by];
        let length = device.disk.length(&device.me.writer);
        match device.replica.carry(records, length) {
            Ok(blocks) => device.append(length, &blocks),
            Err(WriteError::RolledBack | WriteError::SeenMore { .. }) => {
                return self.come_back(by).map(|()| false);
            }
            // It waits for the contents of a checkpoint.
            Err(WriteError::Waiting) => return Ok(false),
            Err(source) => return Err(trouble(by, "carry a record", source)),
        }
        self.read(by)?;
        Ok(true)
    }

    /// Somebody who may cuts somebody else, at what it has of the log.
    fn cut(&mut self) -> Result<(), Trouble> {
        let by = if self.dice.one_in(2) { self.dice.below(self.devices.len() as u64) as usize } else { 0 };
        let victim = self.dice.below(self.devices.len() as u64) as usize;
        if victim == 0 || victim == by || self.counts.cuts >= 4 || self.devices[by].restored {
            return Ok(());
        }
        self.read(by)?;
        let client = self.devices[victim].me.client();
        let mut length = self.devices[by].replica.heads().get(client);
        if self.dice.one_in(4) {
            // Less than it has seen itself: what builds on the rest stays.
            length = self.dice.below(length + 1);
        }
        self.cut_at(by, client, length)
    }

    /// `by` cuts the log of `client` to `length` blocks, if it may.
    pub(crate) fn cut_at(&mut self, by: usize, client: ClientId, length: u64) -> Result<(), Trouble> {
        let now_ms = self.devices[by].clock(self.now_ms);
        let device = &self.devices[by];
        let (dice, secrets) = (&mut self.dice, &mut self.secrets);
        let records = device
            .replica
            .cut(client, (length, [0; 32]), "lost".to_owned(), now_ms, &mut || draw(dice, secrets));
        match records {
            Ok(records) => {
                self.counts.cuts += 1;
                self.carry(by, records).map(drop)
            }
            Err(
                WriteError::NotManager | WriteError::NotAdmitted | WriteError::Cut | WriteError::NoMember,
            ) => Ok(()),
            Err(source) => Err(trouble(by, "cut a member", source)),
        }
    }

    /// Puts a flaw into the world, if there is a block that would tell.
    pub(crate) fn spoil(&mut self, flaw: Flaw) -> Result<(), Trouble> {
        match flaw {
            Flaw::BlockWithheld => {
                let Some(at) =
                    (1..self.devices.len()).rev().find(|at| self.devices[*at].replica.is_writable())
                else {
                    return Ok(());
                };
                let device = &self.devices[at];
                let others = device.disk.logs().into_iter().filter(|writer| *writer != device.me.writer);
                let longest = others.max_by_key(|writer| device.disk.length(writer));
                let Some(writer) = longest else { return Ok(()) };
                let last = device.disk.length(&writer) - 1;
                let disk = device.disk.without((writer, last));
                self.reopen(at, disk)
            }
            Flaw::BlockLost => {
                let Some(block) = self.acknowledged.first().copied() else { return Ok(()) };
                for at in 0..self.devices.len() {
                    let disk = self.devices[at].disk.without(block);
                    self.reopen(at, disk)?;
                }
                Ok(())
            }
        }
    }

    fn compact(&mut self, at: usize) -> Result<(), Trouble> {
        self.counts.compactions += 1;
        let device = &self.devices[at];
        device.replica.flush().map_err(|source| trouble(at, "flush", source))?;
        let compacted = device.replica.sorted().compact();
        compacted.map(drop).map_err(|source| trouble(at, "merge runs", source))
    }

    /// What a device does for others now and then.
    pub(crate) fn tend(&mut self, at: usize) -> Result<bool, Trouble> {
        let now_ms = self.devices[at].clock(self.now_ms);
        let (dice, secrets) = (&mut self.dice, &mut self.secrets);
        let device = &self.devices[at];
        let chores = device.replica.chores(now_ms, &mut || draw(dice, secrets));
        if chores.is_empty() || !device.replica.is_writable() || device.restored {
            return Ok(false);
        }
        self.carry(at, chores)
    }
}

pub(crate) fn draw(dice: &mut Dice, secrets: &mut Vec<[u8; 32]>) -> Secret<32> {
    let secret = dice.bytes();
    secrets.push(secret);
    Secret::new(secret)
}

fn opened(device: usize, result: Result<Device, KeepError>) -> Result<Device, Trouble> {
    result.map_err(|source| trouble(device, "open its copy", source))
}

fn said<T>(device: usize, doing: &'static str, result: Result<T, KeepError>) -> Result<T, Trouble> {
    result.map_err(|source| trouble(device, doing, source))
}

pub(crate) fn trouble(
    device: usize,
    doing: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Trouble {
    Trouble::Device { device, doing, source: Box::new(source) }
}
