use crate::disk::{Engine, LogId, LogStorage, Ticket};
use crate::exchange::Exchange;
use crate::pulse::Pulse;
use crate::registry::{Record, put_record};
use crate::store::Inner;
use crate::{Access, Extent, LogOptions, Loss, Lossy};
use cloudpal_log::{Batch, Create, Durability, EncryptionKey, KeyPair, Log, MemoryStorage, OpenError};
use cloudpal_log::{Slot, Storage, StorageError, Table};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where a log keeps what changes with every append, and what is said once about it.
const HEAD: Slot = Slot::new(Table::Head, 0);
const IDENTITY: Slot = Slot::new(Table::Head, 1);

/// Why a log of a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// The log's own records.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The engine below.
    #[error("cannot open the log")]
    Storage(#[from] StorageError),
    /// The store was closed.
    #[error("the store is closed: open it again")]
    Closed,
}

/// One open log with everything that its sessions and connections share.
pub(crate) struct Shared {
    pub id: LogId,
    pub key: [u8; 32],
    pub discovery_key: [u8; 32],
    state: Mutex<State>,
    changed: Condvar,
    /// How many wait: waking nobody would cost a call of the system with every append.
    waiting: AtomicU32,
    held: Arc<AtomicU64>,
    engine: Arc<Engine>,
    pulse: Arc<Pulse>,
    /// What the registry says.
    record: Mutex<Record>,
}

pub(crate) struct State {
    /// None only while a key is given to it.
    log: Option<Log<LogStorage>>,
    pub(crate) loss: Option<Loss>,
    pub(crate) exchange: Exchange,
    /// What was written here up to this commit lasts before any peer hears of it: after a loss of power the log would
    /// go on differently, and the peers would have proof of two histories.
    pub(crate) untold: Ticket,
}

impl Shared {
    pub(crate) fn open(
        inner: &Inner,
        id: LogId,
        create: Create,
        record: Record,
        loss: Option<Loss>,
        options: &LogOptions,
    ) -> Result<Self, OpenLogError> {
        let held = Arc::new(AtomicU64::new(record.held));
        let quota = options.quota.unwrap_or(u64::MAX);
        let storage = || LogStorage::new(Arc::clone(&inner.engine), id, record.key, Arc::clone(&held), quota);
        restore_identity(&mut storage(), &create)?;
        let log = match Log::open_or_create(storage(), create) {
            // Blocks are enough to make the tree again; the signature tells whether it is the same.
            Err(OpenError::Tree { .. }) => Log::repair(storage())?,
            other => other?,
        };
        // Sessions that are gone may have written what does not last yet.
        let untold = inner.engine.newest();
        Ok(Shared {
            id,
            key: *log.key(),
            discovery_key: *log.discovery_key(),
            state: Mutex::new(State { log: Some(log), loss, exchange: Exchange::default(), untold }),
            changed: Condvar::new(),
            waiting: AtomicU32::new(0),
            held,
            engine: Arc::clone(&inner.engine),
            pulse: Arc::clone(&inner.pulse),
            record: Mutex::new(record),
        })
    }

    /// Hands keys to the log; none leaves what it has.
    pub(crate) fn give(&self, key_pair: Option<KeyPair>, encryption: Option<EncryptionKey>) {
        let mut state = self.lock();
        let Some(mut log) = state.log.take() else { return };
        if let Some(key_pair) = key_pair {
            log = log.with_key_pair(key_pair);
        }
        if let Some(encryption) = encryption {
            log = log.with_encryption(encryption);
        }
        state.log = Some(log);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next [`wake`](Self::wake), or until `timeout` is over.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: std::time::Duration,
    ) -> MutexGuard<'a, State> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let state = self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        state
    }

    /// Tells everybody who waits that the log has changed.
    pub(crate) fn wake(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.changed.notify_all();
        }
        self.pulse.beat();
    }

    /// Whether the peer with this static key may have the log.
    pub(crate) fn allows(&self, key: &[u8; 32]) -> bool {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).access.allows(key)
    }

    /// Remembers who may have the log.
    pub(crate) fn restrict(&self, access: &Access) -> Result<(), StorageError> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if record.access != *access {
            let next = Record { access: access.clone(), ..record.clone() };
            put_record(&self.engine, self.id, &next)?;
            *record = next;
        }
        Ok(())
    }

    /// Bytes of block bodies held.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Writes down how much is held, if that has changed.
    pub(crate) fn keep_sums(&self) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.held();
        if record.held == held {
            return;
        }
        let next = Record { held, ..record.clone() };
        // A sum that was not kept is counted again by `Store::gc`.
        if put_record(&self.engine, self.id, &next).is_ok() {
            *record = next;
        }
    }
}

/// What is said once about a log can be made again from its key. Without it, a log that has a head would be taken for
/// one that is not there yet, and be begun anew.
pub(crate) fn restore_identity(storage: &mut LogStorage, create: &Create) -> Result<(), OpenLogError> {
    if storage.get(HEAD)?.is_none() || storage.get(IDENTITY)?.is_some() {
        return Ok(());
    }
    tracing::warn!("what is said once about a log was lost and is made again");
    let like = Log::create(MemoryStorage::new(), create.clone())?;
    let mut batch = Batch::new();
    if let Some(identity) = like.storage().get(IDENTITY)? {
        batch.put(IDENTITY, identity);
    }
    Ok(storage.commit(batch, Durability::Relaxed)?)
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keep_sums();
    }
}

impl State {
    /// The log.
    #[expect(clippy::expect_used, reason = "`give` puts it back under the same lock")]
    pub(crate) fn log(&self) -> &Log<LogStorage> {
        self.log.as_ref().expect("the log is there whenever the lock is free")
    }

    /// The log, to change it.
    #[expect(clippy::expect_used, reason = "`give` puts it back under the same lock")]
    pub(crate) fn log_mut(&mut self) -> &mut Log<LogStorage> {
        self.log.as_mut().expect("the log is there whenever the lock is free")
    }

    /// The log and what it exchanges with peers, to change both.
    #[expect(clippy::expect_used, reason = "`give` puts it back under the same lock")]
    pub(crate) fn both(&mut self) -> (&mut Log<LogStorage>, &mut Exchange) {
        (self.log.as_mut().expect("the log is there whenever the lock is free"), &mut self.exchange)
    }

    /// Fork and length.
    pub(crate) fn extent(&self) -> Extent {
        Extent { fork: self.log().fork(), length: self.log().length() }
    }

    /// What is missing, if the log is shorter than it was.
    pub(crate) fn lossy(&self) -> Option<Lossy> {
        self.loss.as_ref().map(|loss| Lossy { had: loss.had, has: self.extent() })
    }

    /// Whether a loss has just been made good.
    pub(crate) fn heal(&mut self) -> bool {
        let healed = self.loss.as_ref().is_some_and(|loss| self.extent() >= loss.had);
        if healed {
            self.loss = None;
        }
        healed
    }

    /// Takes the log as it is.
    pub(crate) fn give_up(&mut self) -> Option<Loss> {
        self.loss.take()
    }
}
