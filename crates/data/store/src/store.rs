use crate::disk::{Engine, Folder, LogId, Mark, Place};
use crate::key::keyed_hash;
use crate::net::Link;
use crate::open::OpenedStore;
use crate::pulse::Pulse;
use crate::registry::{Record, put_record};
use crate::shared::Shared;
use crate::{Access, Carrier, ConnectError, Connection, HandshakeError, Server};
use crate::{
    LogOptions, Loss, Namespace, OpenError, OpenLogError, Options, PrimaryKey, Session, StoreKey, Which,
};
use cloudpal_core::Secret;
use cloudpal_log::wire::Role;
use cloudpal_log::{Create, StorageError};
use std::collections::HashMap;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Many logs in one folder. Clones are the same store; it closes when [`close`](Store::close) is called or the last
/// clone and session are gone.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    path: PathBuf,
    /// None once closed.
    folder: Mutex<Option<Folder>>,
    pub(crate) engine: Arc<Engine>,
    index: Secret<32>,
    primary: PrimaryKey,
    pub(crate) network: Secret<32>,
    pub(crate) options: Options,
    logs: Mutex<HashMap<LogId, Weak<Shared>>>,
    losses: Mutex<HashMap<LogId, Loss>>,
    links: Mutex<Vec<Weak<Link>>>,
    pub(crate) pulse: Arc<Pulse>,
    started: Instant,
    closed: AtomicBool,
}

impl Store {
    /// Opens the store in `dir`, or makes one in an empty or missing folder. Only one process at a time can.
    pub fn open(dir: &Path, key: &StoreKey, options: Options) -> Result<Self, OpenError> {
        let OpenedStore { folder, engine, index, primary, network, losses, known: _ } =
            crate::open::open(dir, key, &options)?;
        let inner = Arc::new(Inner {
            path: dir.to_owned(),
            folder: Mutex::new(Some(folder)),
            engine: Arc::new(engine),
            index,
            primary,
            network,
            options,
            logs: Mutex::default(),
            losses: Mutex::new(losses),
            links: Mutex::default(),
            pulse: Arc::default(),
            started: Instant::now(),
            closed: AtomicBool::new(false),
        });
        crate::tend::start(&inner)?;
        Ok(Store { inner })
    }

    /// The log called `name`, made if it is not there: the same key as `store.get({ name })` of npm `corestore` with
    /// this primary key.
    pub fn log(&self, name: &str) -> Result<Session, OpenLogError> {
        self.open_log(Which::named(Namespace::ROOT, name), LogOptions::default())
    }

    /// The log called `name` in `namespace`.
    pub fn log_in(&self, namespace: &Namespace, name: &str) -> Result<Session, OpenLogError> {
        self.open_log(Which::named(*namespace, name), LogOptions::default())
    }

    /// The log with this key: an own one, or a copy of someone else's, begun now if there is none.
    pub fn get(&self, key: [u8; 32]) -> Result<Session, OpenLogError> {
        self.open_log(Which::Key(key), LogOptions::default())
    }

    /// Any log, with options.
    pub fn open_log(&self, which: Which, options: LogOptions) -> Result<Session, OpenLogError> {
        self.inner.open_log(which, options)
    }

    /// The key pair that signs the log called `name` in `namespace`.
    pub fn key_pair(&self, namespace: &Namespace, name: &str) -> cloudpal_log::KeyPair {
        self.inner.primary.key_pair(namespace, name)
    }

    /// The keys of all logs here, in no particular order.
    pub fn keys(&self) -> Result<Vec<[u8; 32]>, StorageError> {
        Ok(self.inner.records()?.into_iter().map(|(_, record)| record.key).collect())
    }

    /// What was there once and is not any more, as found when the store was opened. Empty in a sound store. See [`Loss`].
    pub fn losses(&self) -> Vec<Loss> {
        self.inner.lock_losses().values().cloned().collect()
    }

    /// The static key by which peers know this store.
    pub fn network_key(&self) -> [u8; 32] {
        crate::net::public_key(&self.inner.network)
    }

    /// Takes connections at `address` from those whom `access` allows, and replicates with them.
    pub fn serve(&self, address: impl ToSocketAddrs, access: Access) -> io::Result<Server> {
        Server::start(&self.inner, address, access)
    }

    /// Connects to a peer, if `access` allows it, and replicates with it.
    pub fn connect(&self, address: impl ToSocketAddrs, access: &Access) -> Result<Connection, ConnectError> {
        crate::net::connect(&self.inner, address, access)
    }

    /// Replicates over a stream that was made elsewhere. One side is the initiator, the other the responder.
    pub fn replicate(
        &self,
        stream: TcpStream,
        role: Role,
        access: &Access,
    ) -> Result<Connection, HandshakeError> {
        Link::start(&self.inner, stream, role, access)
    }

    /// Replicates over a connection that was made and secured elsewhere. Whom to let in is decided before.
    pub fn attach(&self, carrier: Carrier) -> io::Result<Connection> {
        Link::carry(&self.inner, carrier)
    }

    /// The seed of the key pair by which peers know this store, for a carrier that greets them under the same key.
    pub fn network_seed(&self) -> &Secret<32> {
        &self.inner.network
    }

    /// Waits until something has changed in any log since `seen`, at most for `timeout`. Answers with a number to be given the
    /// next time; begin with 0.
    pub fn wait_any(&self, seen: u64, timeout: Duration) -> u64 {
        self.inner.pulse.wait(seen, timeout)
    }

    /// Returns when everything appended so far survives a loss of power.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.inner.engine.sync()
    }

    /// Ends replication, makes everything last and gives the folder free. Sessions answer "closed" from then on.
    pub fn close(&self) -> Result<(), StorageError> {
        self.inner.close()
    }
}

impl Inner {
    pub(crate) fn open_log(
        self: &Arc<Self>,
        which: Which,
        options: LogOptions,
    ) -> Result<Session, OpenLogError> {
        let (create, key_pair, name) = match which {
            Which::Named { namespace, name, compat } => {
                let key_pair = self.primary.key_pair(&namespace, &name);
                let public = key_pair.public_key();
                let create = if compat { Create::compat(public) } else { Create::single(public) };
                (create, Some(key_pair), Some((namespace, name)))
            }
            Which::Key(key) => (Create::remote(key), None, None),
            Which::Manifest { manifest, key_pair } => (Create::with_manifest(manifest), key_pair, None),
        };
        let shared = self.shared(create, name, &options)?;
        let key_pair = key_pair.or_else(|| self.named_key_pair(shared.id));
        shared.give(key_pair, options.encryption.clone());
        if let Some(access) = &options.access {
            shared.restrict(access)?;
        }
        for link in self.links() {
            link.attach(&shared);
        }
        Ok(Session::new(Arc::clone(self), shared, &options))
    }

    /// The log that peers know by `discovery_key`, if it is here.
    pub(crate) fn find(
        self: &Arc<Self>,
        discovery_key: &[u8; 32],
    ) -> Result<Option<Arc<Shared>>, OpenLogError> {
        let id = self.id(discovery_key);
        if let Some(shared) = self.open_now(id) {
            return Ok(Some(shared));
        }
        let Some(record) = self.record(id)? else { return Ok(None) };
        let create = match &record.name {
            Some((namespace, name)) => self.named(namespace, name, &record.key),
            None => Create::remote(record.key),
        };
        let shared = self.shared(create, None, &LogOptions::default())?;
        shared.give(self.named_key_pair(id), None);
        Ok(Some(shared))
    }

    fn shared(
        self: &Arc<Self>,
        create: Create,
        name: Option<(Namespace, String)>,
        options: &LogOptions,
    ) -> Result<Arc<Shared>, OpenLogError> {
        let key = *create.key();
        let id = self.id(&cloudpal_log::hash::discovery_key(&key));
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return Err(OpenLogError::Closed);
        }
        if let Some(shared) = logs.get(&id).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        let record = match self.record(id)? {
            Some(record) => record,
            None => {
                let record = Record { key, name, access: Access::Anyone, held: 0 };
                put_record(&self.engine, id, &record)?;
                record
            }
        };
        let loss = self.lock_losses().get(&id).filter(|loss| loss.certain).cloned();
        let shared = Arc::new(Shared::open(self, id, create, record, loss, options)?);
        logs.retain(|_, shared| shared.strong_count() > 0);
        logs.insert(id, Arc::downgrade(&shared));
        Ok(shared)
    }

    /// The log `key` as its name makes it.
    fn named(&self, namespace: &Namespace, name: &str, key: &[u8; 32]) -> Create {
        let public = self.primary.key_pair(namespace, name).public_key();
        let candidates = [Create::single(public), Create::compat(public)];
        candidates.into_iter().find(|create| create.key() == key).unwrap_or(Create::remote(*key))
    }

    fn named_key_pair(&self, id: LogId) -> Option<cloudpal_log::KeyPair> {
        let (namespace, name) = self.record(id).ok()??.name?;
        Some(self.primary.key_pair(&namespace, &name))
    }

    /// Time since the store was opened.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn add_link(&self, link: &Arc<Link>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(link));
    }

    /// All connections.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter_map(Weak::upgrade).collect()
    }

    /// All logs that are open now.
    pub(crate) fn all_open(&self) -> Vec<Arc<Shared>> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.values().filter_map(Weak::upgrade).collect()
    }

    fn open_now(&self, id: LogId) -> Option<Arc<Shared>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).get(&id).and_then(Weak::upgrade)
    }

    /// A log's id on disk: tells neither its key nor its discovery key without the store's key.
    pub(crate) fn id(&self, discovery_key: &[u8; 32]) -> LogId {
        let mut id = LogId::default();
        let hash = keyed_hash(self.index.expose(), &[discovery_key]);
        let len = id.len();
        id.copy_from_slice(&hash.expose()[..len]);
        id
    }

    pub(crate) fn record(&self, id: LogId) -> Result<Option<Record>, StorageError> {
        let Some(bytes) = self.engine.get(&Place::registry(id))? else { return Ok(None) };
        Ok(Record::decode(&bytes).ok())
    }

    pub(crate) fn records(&self) -> Result<Vec<(LogId, Record)>, StorageError> {
        let (first, end) = Place::registries();
        let mut records = Vec::new();
        self.engine.survey(&first, &end, &mut |place, bytes| {
            records.extend(
                bytes.and_then(|bytes| Record::decode(&bytes).ok()).map(|record| (place.log(), record)),
            );
        })?;
        Ok(records)
    }

    /// Notes that `id` is as long again as it was: nothing is lost any more.
    pub(crate) fn healed(&self, id: LogId) {
        self.lock_losses().remove(&id);
    }

    /// Takes what the engine has for the truth.
    pub(crate) fn settle(&self, id: LogId, mark: Option<Mark>) -> Result<(), StorageError> {
        self.engine.second().settle(&[(id, mark)])?;
        self.healed(id);
        Ok(())
    }

    pub(crate) fn index_key(&self) -> &[u8; 32] {
        self.index.expose()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn lock_losses(&self) -> MutexGuard<'_, HashMap<LogId, Loss>> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> Result<(), StorageError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.links().iter().for_each(|link| link.close());
        for shared in self.all_open() {
            shared.keep_sums();
            shared.wake();
        }
        let closed = self.engine.close();
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = None;
        closed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(folder = %self.path.display(), %error, "the store did not close well");
        }
    }
}
