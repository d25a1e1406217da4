use crate::device::Device;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::plan::batch;
use bytes::Bytes;
use cloudpal_core::{AgreementSecret, Secret, SigningKey};
use cloudpal_db::record::{Candidate, Rights, Role};
use cloudpal_db::{Identity, KeepError, Replica, WriteError, WriterId};
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
    /// What came out is not what must.
    #[error("{0}")]
    Wrong(String),
}

const HOUR: i64 = 3_600_000;

impl World {
    /// A database with its founder and up to seven others.
    pub fn new(seed: u64) -> Result<Self, Trouble> {
        let mut world = World {
            seed,
            dice: Dice::new(seed),
            devices: Vec::new(),
            now_ms: 1_700_000_000_000,
            secrets: Vec::new(),
            acknowledged: BTreeSet::new(),
            backups: BTreeMap::new(),
            asking: Vec::new(),
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
        for _ in 0..=world.dice.below(3) {
            world.join()?;
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

    /// Does `steps` random things.
    pub fn run(&mut self, steps: u64) -> Result<(), Trouble> {
        for _ in 0..steps {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Trouble> {
        self.now_ms += self.dice.below(30_000);
        let at = self.dice.below(self.devices.len() as u64) as usize;
        match self.dice.below(100) {
            0..=39 => self.write(at),
            40..=69 => {
                let other = self.dice.below(self.devices.len() as u64) as usize;
                self.exchange(other, at, 100)
            }
            70..=77 => self.read(at),
            78..=83 => self.crash(at),
            84..=87 => self.compact(at),
            88..=90 => {
                let sides = 1 + self.dice.below(3);
                for device in &mut self.devices {
                    device.side = self.dice.below(sides);
                }
                Ok(())
            }
            91..=92 => {
                // Hours off, and back again.
                let hours = self.dice.below(11) as i64 - 5;
                self.devices[at].skew_ms = hours * HOUR;
                Ok(())
            }
            93 => {
                self.devices[at].disk.sync();
                self.backups.insert(at, self.devices[at].disk.copy());
                Ok(())
            }
            94 => self.restore(at),
            95 => self.cut(),
            96 if self.devices.len() < 8 => self.join(),
            _ => self.admit(),
        }
    }

    fn write(&mut self, at: usize) -> Result<(), Trouble> {
        let device = &self.devices[at];
        if device.gone || device.restored {
            return Ok(());
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
            Err(WriteError::RolledBack) => self.come_back(at)?,
            Err(WriteError::NotAdmitted | WriteError::Cut | WriteError::NoKey) => self.counts.refused += 1,
            Err(source) => return Err(trouble(at, "write", source)),
        }
        if self.dice.one_in(8) {
            let device = &self.devices[at];
            device.replica.flush().map_err(|source| trouble(at, "flush", source))?;
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<(), Trouble> {
        let now_ms = self.now_ms;
        said(at, "read the logs", self.devices[at].advance(now_ms)).map(drop)
    }

    /// What `from` has goes to `to`, some of it not, some twice, in any order.
    pub(crate) fn exchange(&mut self, from: usize, to: usize, percent: u64) -> Result<(), Trouble> {
        let (giver, taker) = (&self.devices[from], &self.devices[to]);
        if from == to
            || giver.gone
            || taker.gone
            || (percent < 100 || giver.side != taker.side) && percent != 101
        {
            return Ok(());
        }
        // Nobody is told what a crash could still undo.
        giver.disk.sync();
        let mut blocks: Vec<(WriterId, u64, Bytes)> = Vec::new();
        for writer in giver.disk.logs().into_iter().filter(|writer| *writer != taker.me.writer) {
            let first = taker.disk.length(&writer);
            let missing = (0..giver.disk.length(&writer))
                .filter(|at| *at >= first || taker.disk.get(&writer, *at).is_none());
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
        let (skew_ms, side, gone, restored) = (old.skew_ms, old.side, old.gone, old.restored);
        let device = opened(at, Device::open(database, old.me.clone(), disk))?;
        self.devices[at] = Device { skew_ms, side, gone, restored, ..device };
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
        let role = *self.dice.pick(&[Role::Writer, Role::Writer, Role::Writer, Role::Manager, Role::Reader]);
        let scope = if self.dice.one_in(4) { vec!["a".to_owned()] } else { Vec::new() };
        let until_ms = self.dice.one_in(6).then(|| self.now_ms + self.dice.below(3_000_000));
        self.asking.push((me.candidate(), Rights { role, scope, until_ms }));
        let at = self.devices.len();
        let device = opened(at, Device::open(self.database(), me, Disk::default()))?;
        self.devices.push(device);
        self.admit()
    }

    /// The owner, or a manager, admits one who asks.
    pub(crate) fn admit(&mut self) -> Result<(), Trouble> {
        if self.asking.is_empty() {
            return Ok(());
        }
        let by = if self.dice.one_in(3) { self.dice.below(self.devices.len() as u64) as usize } else { 0 };
        self.admit_by(by)
    }

    pub(crate) fn has_asking(&self) -> bool {
        !self.asking.is_empty()
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
                self.carry(by, vec![record])?;
                self.counts.admissions += 1;
            }
            Err(WriteError::NotManager | WriteError::NotAdmitted | WriteError::Cut) => {
                self.asking.push((candidate, rights));
            }
            Err(source) => return Err(trouble(by, "admit a device", source)),
        }
        Ok(())
    }

    fn carry(&mut self, by: usize, records: Vec<cloudpal_db::record::SignedRecord>) -> Result<(), Trouble> {
        let device = &self.devices[by];
        let length = device.disk.length(&device.me.writer);
        match device.replica.carry(records, length) {
            Ok(blocks) => device.append(length, &blocks),
            Err(WriteError::RolledBack) => return self.come_back(by),
            Err(source) => return Err(trouble(by, "carry a record", source)),
        }
        self.read(by)
    }

    /// Somebody who may cuts somebody else, at what it has of the log.
    fn cut(&mut self) -> Result<(), Trouble> {
        let by = if self.dice.one_in(2) { self.dice.below(self.devices.len() as u64) as usize } else { 0 };
        let victim = self.dice.below(self.devices.len() as u64) as usize;
        if victim == 0 || victim == by || self.counts.cuts >= 3 || self.devices[by].restored {
            return Ok(());
        }
        self.read(by)?;
        let now_ms = self.devices[by].clock(self.now_ms);
        let client = self.devices[victim].me.client();
        let device = &self.devices[by];
        let length = device.replica.heads().get(client);
        let (dice, secrets) = (&mut self.dice, &mut self.secrets);
        let records = device
            .replica
            .cut(client, (length, [0; 32]), "lost".to_owned(), now_ms, &mut || draw(dice, secrets));
        match records {
            Ok(records) => {
                self.counts.cuts += 1;
                self.carry(by, records)
            }
            Err(
                WriteError::NotManager | WriteError::NotAdmitted | WriteError::Cut | WriteError::NoMember,
            ) => Ok(()),
            Err(source) => Err(trouble(by, "cut a member", source)),
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
        self.carry(at, chores).map(|()| true)
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
