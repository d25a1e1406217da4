use crate::catalogue::{self, Entry, random};
use crate::error::{OpenError, WriteFault};
use crate::follow::Follower;
use crate::logs::MemberLogs;
use crate::pages::StorePages;
use crate::queue::Queue;
use bytes::Bytes;
use cloudpal_core::{Secret, SigningKey};
use cloudpal_db::{
    Advanced, Batch, Conflict, Identity, KeepError, Prepared, ReadError, Refusal, Replica, Sub, View,
    WriteError, WriterId, Written, checkpoint_manifest,
};
use cloudpal_log::{Durability, Feed, FeedError};
use cloudpal_sorted::{self as sorted, Sorted};
use cloudpal_store::{Session, Store};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Runs of the view beyond which writers wait until some are merged.
const MANY_RUNS: usize = 24;

/// How long they wait at most: if runs cannot be merged, it is told elsewhere.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How much a database may take while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of memory that the view may use, about. 16 MiB unless said otherwise.
    pub memory: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { memory: sorted::Options::default().memory }
    }
}

/// A database in use. Clones are the same; its thread ends with the last of them.
#[derive(Clone)]
pub struct Database {
    pub(crate) shared: Arc<Shared>,
    /// Ends the thread that follows the logs.
    follower: Arc<Follower>,
}

pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) store: Store,
    pub(crate) entry: Entry,
    pub(crate) options: Options,
    /// The view's map, to be tidied up beside writers.
    pub(crate) sorted: Sorted<StorePages>,
    state: Mutex<State>,
    changed: Condvar,
    /// How many wait for a change: waking nobody would cost a call of the system with every write.
    waiting: AtomicU32,
    queue: Queue,
    pub(crate) closed: AtomicBool,
    /// Held while a checkpoint is made.
    pub(crate) checkpointing: Mutex<()>,
}

pub(crate) struct State {
    pub(crate) replica: Replica<StorePages>,
    pub(crate) logs: MemberLogs,
    /// This device's log, and how long it must be: what comes into it from elsewhere was written by a copy of this device.
    own: Session,
    length: u64,
    /// Whether the store had lost the end of this device's log, so that a peer may send it.
    lost: bool,
    pub(crate) last: Advanced,
    rebuilds: u64,
}

/// The database as it was at one moment; it stays so for as long as it is held.
pub type Snapshot = View<StorePages>;

/// How this device stands to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may write, as far as its rights go.
    Member,
    /// It waits to be admitted.
    Waiting,
    /// It was removed.
    Removed,
}

impl Database {
    /// Makes a new database called `name`, with this device as its founder and owner.
    pub fn create(store: &Store, name: &str) -> Result<Self, OpenError> {
        Database::create_with(store, name, Options::default())
    }

    /// The same, within bounds.
    pub fn create_with(store: &Store, name: &str, options: Options) -> Result<Self, OpenError> {
        check_free(store, name)?;
        let (generation, log) = catalogue::unused_log(store, name)?;
        let owner: [u8; 32] = random()?;
        let entry = Entry::founder(log.key(), generation, owner)?;
        let me = entry.identity(WriterId(log.key()));
        let owner = SigningKey::from_secret(&Secret::new(owner));
        let mut failed = None;
        let blocks = Replica::<StorePages>::found(&me, &owner, now_ms(), &mut || secret(&mut failed));
        failed.map_or(Ok(()), Err)?;
        log.clone().with_durability(Durability::Durable).append(&blocks)?;
        catalogue::write(store, name, entry.clone())?;
        Database::start(store, name, entry, options)
    }

    /// Joins somebody else's database: `key` is its [key](Self::key). It can be used when a member has admitted this device's
    /// [request](Self::request) and the store is connected to a member.
    pub fn join(store: &Store, name: &str, key: [u8; 32]) -> Result<Self, OpenError> {
        Database::join_with(store, name, key, Options::default())
    }

    /// The same, within bounds.
    pub fn join_with(store: &Store, name: &str, key: [u8; 32], options: Options) -> Result<Self, OpenError> {
        check_free(store, name)?;
        let entry = Entry::new(key, None)?;
        catalogue::write(store, name, entry.clone())?;
        Database::start(store, name, entry, options)
    }

    /// Opens the database called `name`.
    pub fn open(store: &Store, name: &str) -> Result<Self, OpenError> {
        Database::open_with(store, name, Options::default())
    }

    /// The same, within bounds.
    pub fn open_with(store: &Store, name: &str, options: Options) -> Result<Self, OpenError> {
        let entry =
            catalogue::read(store)?.remove(name).ok_or_else(|| OpenError::Missing(name.to_owned()))?;
        Database::start(store, name, entry, options)
    }

    /// The names of the databases in a store.
    pub fn names(store: &Store) -> Result<Vec<String>, OpenError> {
        Ok(catalogue::read(store)?.into_keys().collect())
    }

    pub(crate) fn start(
        store: &Store,
        name: &str,
        entry: Entry,
        options: Options,
    ) -> Result<Self, OpenError> {
        let own = catalogue::log(store, name, entry.generation)?;
        let writer = WriterId(own.key());
        let me: Identity = entry.identity(writer);
        let pages = StorePages(store.pages(&catalogue::pages(name, entry.generation)));
        let bounds = sorted::Options { memory: options.memory, ..sorted::Options::default() };
        let (sorted, damaged) = open_view(pages, bounds)?;
        let database = WriterId(entry.database);
        let mut logs = MemberLogs::new(store, writer, own.clone());
        logs.follow(database, HEADER)?;
        if let Some(owner) = entry.owner_key() {
            let manifest = checkpoint_manifest(&owner.public(), &database, &writer);
            let (log, session) = catalogue::checkpoints(store, manifest, &entry)?;
            logs.add_checkpoints(log, session);
        }
        let replica = Replica::open(database, me, sorted.clone())?;
        let anew = sorted.mark().is_none();
        let (length, lost) = (own.length(), own.info().lost.is_some());
        let (last, rebuilds) = (Advanced::default(), u64::from(damaged));
        let mut state = State { replica, logs, own, length, lost, last, rebuilds };
        state.advance()?;
        state.heal_own()?;
        if anew || state.last.merged > 0 {
            // What was not written out is merged again, and perhaps in another order.
            state.renumber()?;
        }
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            store: store.clone(),
            entry,
            options,
            sorted,
            state: Mutex::new(state),
            changed: Condvar::new(),
            waiting: AtomicU32::new(0),
            queue: Queue::default(),
            closed: AtomicBool::new(false),
            checkpointing: Mutex::new(()),
        });
        let follower = Arc::new(Follower::start(&shared).map_err(OpenError::Thread)?);
        Ok(Database { shared, follower })
    }

    /// The database's key, by which others join it. Whoever knows it can ask to; only a member's word lets them in.
    pub fn key(&self) -> [u8; 32] {
        self.shared.entry.database
    }

    /// What it is called here.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// How this device stands to it.
    pub fn standing(&self) -> Standing {
        let state = self.shared.lock();
        match state.replica.member(&state.replica.me().writer) {
            None => Standing::Waiting,
            Some(member) if member.cut.is_some() => Standing::Removed,
            Some(_) => Standing::Member,
        }
    }

    /// Writes a batch, all of it or nothing. When this returns it is in the view; with [`Durability::Durable`] it survives a loss of
    /// power, too.
    pub fn write(&self, batch: Batch, durability: Durability) -> Result<Written, WriteFault> {
        let written = self.shared.queue.submit(batch, |batches| self.shared.write(batches))?;
        if durability == Durability::Durable {
            self.sync()?;
        }
        Ok(written)
    }

    /// Returns when everything written so far survives a loss of power.
    pub fn sync(&self) -> Result<(), WriteFault> {
        let own = self.shared.lock().own.clone();
        own.sync().map_err(WriteFault::Unconfirmed)
    }

    /// The database as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().replica.view()
    }

    /// Rises with every change of what the database shows.
    pub fn version(&self) -> u64 {
        self.shared.lock().replica.version()
    }

    /// Waits until the [version](Self::version) is not `seen`, at most for `timeout`; answers with the version.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let state = self.shared.lock();
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        let same = |state: &mut State| {
            state.replica.version() == seen && !self.shared.closed.load(Ordering::Acquire)
        };
        let waited = self.shared.changed.wait_timeout_while(state, timeout, same);
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        waited.unwrap_or_else(PoisonError::into_inner).0.replica.version()
    }

    /// Conflicts in a sub-database.
    pub fn conflicts(&self, sub: &Sub) -> Result<Vec<Conflict>, ReadError> {
        self.snapshot().conflicts(sub)
    }

    /// Whether an index on the field `path` of a sub-database was declared.
    pub fn has_index(&self, sub: &Sub, path: &str) -> bool {
        self.shared.lock().replica.has_index(sub, path)
    }

    /// Entries that were not let in, the newest last.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.shared.lock().replica.refusals().cloned().collect()
    }

    /// What the last reading of the logs came to: what is missing, ahead of the clock, or sealed under a key that is not here.
    pub fn progress(&self) -> Advanced {
        self.shared.lock().last.clone()
    }

    /// Whether it was [closed](Self::close).
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// How often the view was found damaged and built again from the logs since the database was opened. That goes by itself; what was
    /// read meanwhile was refused with an error.
    pub fn rebuilds(&self) -> u64 {
        self.shared.lock().rebuilds
    }

    /// Ends the thread that merges what peers send, and returns when it has ended: nothing writes the view's pages
    /// after that. The store stays open.
    pub fn close(&self) -> Result<(), WriteFault> {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        self.follower.end();
        self.shared.lock().replica.flush()?;
        Ok(())
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, if it is free.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Tells those who wait that the view may have changed.
    pub(crate) fn notify(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.changed.notify_all();
        }
    }

    fn write(&self, batches: &[Batch]) -> Vec<Result<Written, WriteFault>> {
        let written = self.try_write(batches);
        self.notify();
        match written {
            Ok(results) => results.into_iter().map(|result| result.map_err(WriteFault::from)).collect(),
            // What kept all from being written is told to the first, and to the others in words.
            Err(fault) => {
                let text = fault.to_string();
                let mut faults = vec![Err(fault)];
                faults.resize_with(batches.len(), || Err(WriteFault::Log(shared_fault(&text))));
                faults
            }
        }
    }

    fn try_write(&self, batches: &[Batch]) -> Result<Vec<Result<Written, WriteError>>, WriteFault> {
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteFault::Closed);
        }
        let mut state = self.lock();
        if self.sorted.is_damaged() {
            state.advance_to_write()?;
        }
        let length = state.own_length()?;
        // Before anything is written: a batch that is in the log must not be refused because the view is not on pages yet.
        let flushed = state.replica.keep()?;
        let mut failed = None;
        let mut prepared: Prepared<StorePages> =
            state.replica.prepare(batches, length, now_ms(), &mut || or_zero(random(), &mut failed))?;
        failed.map_or(Ok(()), Err)?;
        let results = std::mem::take(&mut prepared.results);
        if !prepared.blocks.is_empty() {
            state.append(&prepared.blocks)?;
            state.replica.commit(prepared);
        }
        drop(state);
        if flushed {
            self.wait_for_tidying();
        }
        Ok(results)
    }

    /// Every read looks into every run, so a writer who makes them faster than they are merged waits.
    fn wait_for_tidying(&self) {
        let begun = Instant::now();
        while self.sorted.usage().runs > MANY_RUNS
            && begun.elapsed() < LONGEST_WAIT
            && !self.closed.load(Ordering::Acquire)
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn shared_fault(text: &str) -> FeedError {
    FeedError::Refused { doing: "write together with other batches", source: text.to_owned().into() }
}

impl State {
    /// How long this device's log is; an error if somebody else has added to it.
    pub(crate) fn own_length(&mut self) -> Result<u64, WriteFault> {
        if self.lost {
            if let Some(lossy) = self.own.info().lost {
                let doing = "write to this device's log";
                return Err(WriteFault::Log(FeedError::Refused { doing, source: Box::new(lossy) }));
            }
            // A peer has sent what the disk had lost.
            (self.lost, self.length) = (false, self.own.length());
        }
        if self.own.length() != self.length {
            return Err(WriteError::RolledBack.into());
        }
        Ok(self.length)
    }

    pub(crate) fn append(&mut self, blocks: &[Bytes]) -> Result<(), WriteFault> {
        self.own.append(blocks).map_err(WriteFault::Log)?;
        self.length += blocks.len() as u64;
        Ok(())
    }

    /// Reads the logs as far as they go, and follows those of new members. A view that is found damaged is built again.
    pub(crate) fn advance(&mut self) -> Result<(), OpenError> {
        let merged = if self.replica.sorted().is_damaged() { Ok(()) } else { self.merge() };
        if !self.replica.sorted().is_damaged() {
            return merged;
        }
        tracing::warn!("the view of a database is damaged and is built again from the logs");
        self.replica.rebuild()?;
        self.merge()?;
        // Where history was forgotten, the checkpoint must be at hand.
        self.rebuilds += u64::from(!self.replica.sorted().is_damaged());
        self.renumber()
    }

    /// As [`advance`](Self::advance), for a writer.
    pub(crate) fn advance_to_write(&mut self) -> Result<(), WriteFault> {
        match self.advance() {
            Ok(()) => Ok(()),
            Err(OpenError::Keep(error)) => Err(error.into()),
            Err(OpenError::Feed(error)) => Err(WriteFault::Log(error)),
            Err(error) => {
                // A log that does not open now is opened with the next that comes.
                tracing::warn!(%error, "a member's log cannot be opened yet");
                Ok(())
            }
        }
    }

    /// Asks peers for what the disk has lost of this device's log.
    pub(crate) fn heal_own(&mut self) -> Result<(), FeedError> {
        let from = self.replica.settled().get(self.replica.me().client());
        self.logs.heal_own(from)
    }

    /// Makes cursors of the change feed from before resume by what they have seen.
    fn renumber(&mut self) -> Result<(), OpenError> {
        // A cursor takes numbers of 53 bits.
        self.replica.renumber(u64::from_le_bytes(random()?) >> 11);
        Ok(())
    }

    fn merge(&mut self) -> Result<(), OpenError> {
        let mut merged = 0;
        loop {
            self.last = self.replica.advance(&self.logs, now_ms())?;
            merged += self.last.merged;
            self.last.merged = merged;
            if !self.follow()? {
                return Ok(());
            }
        }
    }

    /// Asks for the logs of all members, and for checkpoints; whether there are new ones.
    fn follow(&mut self) -> Result<bool, OpenError> {
        let mut new = false;
        for log in self.replica.checkpoint_logs() {
            new |= self.logs.watch(*log)?;
        }
        for (log, position) in &self.last.missing {
            self.logs.look(log, *position)?;
        }
        if let Some((log, blocks)) = self.replica.latest_checkpoint() {
            self.logs.hold(&log, blocks)?;
        }
        let settled = self.replica.settled();
        let has_looked = |log: &WriterId, length| self.replica.has_looked(log, length);
        let waits =
            settled.is_empty() && !self.replica.has_begun() && self.logs.awaits_checkpoint(has_looked);
        let writers: Vec<WriterId> =
            self.replica.members().iter().map(|(_, member)| member.writer()).collect();
        for writer in writers {
            let blocks = if waits { HEADER } else { settled.get(writer.client())..u64::MAX };
            new |= self.logs.follow(writer, blocks)?;
        }
        Ok(new)
    }
}

/// The block of a log that says what it is.
const HEADER: Range<u64> = 0..1;

/// The view's map, and whether it had to be begun anew because the page that says what is in it was damaged.
fn open_view(pages: StorePages, options: sorted::Options) -> Result<(Sorted<StorePages>, bool), KeepError> {
    match Sorted::open(pages.clone(), options) {
        Err(sorted::OpenError::Manifest(sorted::ReadError::Damaged { .. })) => {
            tracing::warn!("the view of a database is damaged and is built again from the logs");
            Ok((Sorted::begin_anew(pages, options)?, true))
        }
        opened => Ok((opened?, false)),
    }
}

fn check_free(store: &Store, name: &str) -> Result<(), OpenError> {
    if name.is_empty() || name.len() > 255 {
        return Err(OpenError::Name);
    }
    if catalogue::read(store)?.contains_key(name) { Err(OpenError::Exists(name.to_owned())) } else { Ok(()) }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A secret for the calls that cannot fail; `failed` says afterwards whether one was none.
pub(crate) fn secret(failed: &mut Option<getrandom::Error>) -> Secret<32> {
    Secret::new(or_zero(random(), failed))
}

fn or_zero<const N: usize>(
    drawn: Result<[u8; N], getrandom::Error>,
    failed: &mut Option<getrandom::Error>,
) -> [u8; N] {
    drawn.unwrap_or_else(|error| {
        *failed = Some(error);
        [0; N]
    })
}
