use crate::error::OpenError;
use bytes::Bytes;
use cloudpal_db::{Logs, LogsError, WriterId};
use cloudpal_log::{Feed, FeedError, StorageError};
use cloudpal_store::{Fetch, Session, Store};
use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long a new copy waits for peers to say whether there is a checkpoint, before it asks for all of history.
const PATIENCE: Duration = Duration::from_secs(3);

/// The logs of a database: this device's, copies of the other members' that follow them, and those with checkpoints.
pub struct MemberLogs {
    store: Store,
    own: (WriterId, Session),
    /// Asks peers for blocks of this device's log that the disk does not give back.
    lacks: Option<Fetch>,
    /// What was held when that was found out.
    looked: Option<(u64, u64, u64)>,
    others: HashMap<WriterId, Followed>,
    checkpoints: HashMap<WriterId, Checkpoints>,
    /// Since when somebody could have said whether there is a checkpoint.
    asked: Option<Instant>,
}

struct Followed {
    session: Session,
    blocks: Range<u64>,
    _fetch: Fetch,
}

/// A log with checkpoints, of which only the latest is held.
struct Checkpoints {
    session: Session,
    /// Blocks that tell where the latest is.
    looks: HashMap<u64, Fetch>,
    latest: Option<(Range<u64>, Fetch)>,
    /// Whether the one before is gone.
    tidy: bool,
}

impl MemberLogs {
    pub fn new(store: &Store, writer: WriterId, own: Session) -> Self {
        MemberLogs {
            store: store.clone(),
            own: (writer, own),
            lacks: None,
            looked: None,
            others: HashMap::new(),
            checkpoints: HashMap::new(),
            asked: None,
        }
    }

    /// Follows the log of `writer` from now on, in these blocks; whether that is new.
    pub fn follow(&mut self, writer: WriterId, blocks: Range<u64>) -> Result<bool, OpenError> {
        if writer == self.own.0 {
            return Ok(false);
        }
        let known = self.others.get(&writer);
        if known.is_some_and(|known| known.blocks == blocks) {
            return Ok(false);
        }
        let session = match known {
            Some(known) => known.session.clone(),
            None => self.store.get(writer.0)?,
        };
        let fetch = session.fetch(blocks.clone())?;
        let new = known.is_none();
        let followed = Followed { session, blocks, _fetch: fetch };
        self.others.insert(writer, followed);
        Ok(new)
    }

    /// Opens a log with checkpoints; whether that is new.
    pub fn watch(&mut self, log: WriterId) -> Result<bool, OpenError> {
        if self.checkpoints.contains_key(&log) {
            return Ok(false);
        }
        let session = self.store.get(log.0)?;
        self.add_checkpoints(log, session);
        Ok(true)
    }

    /// Adds a log with checkpoints that is open already.
    pub fn add_checkpoints(&mut self, log: WriterId, session: Session) {
        let checkpoints = Checkpoints { session, looks: HashMap::new(), latest: None, tidy: true };
        self.checkpoints.insert(log, checkpoints);
    }

    /// Asks for a block of a log with checkpoints.
    pub fn look(&mut self, log: &WriterId, position: u64) -> Result<(), OpenError> {
        if let Some(checkpoints) = self.checkpoints.get_mut(log)
            && !checkpoints.looks.contains_key(&position)
        {
            let fetch = checkpoints.session.fetch(position..position + 1)?;
            checkpoints.looks.insert(position, fetch);
        }
        Ok(())
    }

    /// Holds the checkpoint in these blocks, and lets go of those before when all of it is here.
    pub fn hold(&mut self, log: &WriterId, blocks: Range<u64>) -> Result<(), OpenError> {
        let Some(checkpoints) = self.checkpoints.get_mut(log) else { return Ok(()) };
        if checkpoints.latest.as_ref().is_none_or(|(held, _)| *held != blocks) {
            let fetch = checkpoints.session.fetch(blocks.clone())?;
            checkpoints.latest = Some((blocks.clone(), fetch));
            checkpoints.looks.clear();
            checkpoints.tidy = false;
        }
        if !checkpoints.tidy && checkpoints.is_held() {
            checkpoints.session.clear(0..blocks.start)?;
            checkpoints.tidy = true;
        }
        Ok(())
    }

    /// Asks peers for what the disk does not give back of this device's log from block `from` on, if there is something.
    pub fn heal_own(&mut self, from: u64) -> Result<(), FeedError> {
        let session = &self.own.1;
        let info = session.info();
        let held = (info.held, info.length, from);
        if self.looked != Some(held) {
            self.looked = Some(held);
            let lacks = session.next_missing(from) < info.length;
            self.lacks = lacks.then(|| session.fetch(from..info.length)).transpose()?;
        }
        Ok(())
    }

    /// Whether the whole checkpoint in these blocks is here.
    pub fn holds(&self, log: &WriterId, blocks: &Range<u64>) -> bool {
        self.checkpoints.get(log).is_some_and(|checkpoints| {
            checkpoints.latest.as_ref().is_some_and(|(held, _)| held == blocks) && checkpoints.is_held()
        })
    }

    /// Whether a peer may still tell of a checkpoint, so that history need not be asked for. `has_looked` says whether a log of that
    /// length was looked through.
    pub fn awaits_checkpoint(&mut self, has_looked: impl Fn(&WriterId, u64) -> bool) -> bool {
        let mut lengths = self.checkpoints.iter().map(|(log, of)| (log, of.session.length()));
        // One that was begun and never finished has blocks, too.
        if lengths.any(|(log, length)| length > 0 && !has_looked(log, length)) {
            return true;
        }
        let told = |(log, of): (&WriterId, &Checkpoints)| {
            has_looked(log, of.session.length()) || of.session.wait_current(Duration::ZERO)
        };
        if !self.checkpoints.is_empty() && self.checkpoints.iter().all(told) {
            return false;
        }
        if self.asked.is_none() && self.others.values().any(|other| other.session.peers() > 0) {
            self.asked = Some(Instant::now());
        }
        self.asked.is_none_or(|asked| asked.elapsed() < PATIENCE)
    }

    /// The session of a log that is followed, or this device's.
    pub fn session(&self, writer: &WriterId) -> Option<&Session> {
        if *writer == self.own.0 {
            Some(&self.own.1)
        } else {
            self.others.get(writer).map(|followed| &followed.session)
        }
    }

    /// The session of a log with checkpoints.
    pub fn checkpoints(&self, log: &WriterId) -> Option<&Session> {
        self.checkpoints.get(log).map(|checkpoints| &checkpoints.session)
    }

    /// All members' logs, this device's first.
    pub fn sessions(&self) -> impl Iterator<Item = (&WriterId, &Session)> {
        let others = self.others.iter().map(|(writer, followed)| (writer, &followed.session));
        std::iter::once((&self.own.0, &self.own.1)).chain(others)
    }

    fn any(&self, log: &WriterId) -> Option<&Session> {
        self.session(log).or_else(|| self.checkpoints(log))
    }
}

impl Checkpoints {
    fn is_held(&self) -> bool {
        let here = |blocks: &Range<u64>| blocks.clone().all(|position| self.session.has(position));
        self.latest.as_ref().is_some_and(|(blocks, _)| here(blocks))
    }
}

impl Logs for MemberLogs {
    fn length(&self, writer: &WriterId) -> u64 {
        self.any(writer).map_or(0, Feed::length)
    }

    fn block(&self, writer: &WriterId, position: u64) -> Result<Option<Bytes>, LogsError> {
        let Some(session) = self.any(writer) else { return Ok(None) };
        match session.get_local(position) {
            // The store counts it as not held from now on, so that a peer can send it.
            Err(FeedError::Storage { source: StorageError::Damaged { .. }, .. }) => Ok(None),
            read => read.map_err(|source| LogsError {
                client: writer.client(),
                position,
                source: Box::new(source),
            }),
        }
    }
}
