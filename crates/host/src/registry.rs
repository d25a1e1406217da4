//! All pals of this host and what they share.

use crate::api::auth::Seen;
use crate::api::operator::OperatorPal;
use crate::config::Config;
use crate::keys::Keys;
use crate::network::{WIREGUARD_PORT, v6_beside};
use crate::store::{AccountRecord, PalRecord, Store};
use crate::time::unix_ms;
use crate::worker::{Ask, Message, Published, Reply, Worker};
use anyhow::Context;
use cloudpal_core::{Digest, PalId, PublicKey, Signed};
use cloudpal_image::Image;
use cloudpal_machine::{Choice, Engine};
use cloudpal_protocol::VERSION;
use cloudpal_protocol::api::{ApiError, CreatePal, ErrorCode, HostInfo, PalInfo, PalState};
use cloudpal_protocol::price::PriceList;
use cloudpal_till::Till;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use tokio::sync::{Notify, oneshot, watch};

/// What the whole agent shares.
pub struct Registry {
    /// State folder.
    pub dir: PathBuf,
    /// The operator's settings.
    pub config: Config,
    /// The host's keys.
    pub keys: Keys,
    /// Desired state, journal, receipts.
    pub store: Store,
    /// Tickets.
    pub till: Till,
    /// What pals boot.
    pub image: Image,
    /// Starts, restores and adopts machines.
    pub engine: Engine,
    /// The hypervisor in use, and why.
    pub hypervisor: Choice,
    /// Signed price list.
    pub prices: Signed<PriceList>,
    /// The same, readable.
    pub price_list: PriceList,
    /// Requests seen lately.
    pub(crate) seen: Seen,
    /// `stop-all` asks the agent to end.
    pub(crate) stop: Notify,
    pals: RwLock<BTreeMap<PalId, Arc<Pal>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// One creation at a time: addresses and ids are chosen under it.
    creating: Mutex<()>,
}

/// One pal, as the API reaches it.
pub struct Pal {
    /// Its id.
    pub id: PalId,
    /// Its owner's key.
    pub owner: PublicKey,
    messages: Sender<Message>,
    published: watch::Receiver<Published>,
    info: watch::Receiver<PalInfo>,
}

impl Pal {
    /// How it is now.
    pub fn info(&self) -> PalInfo {
        self.info.borrow().clone()
    }

    /// To wait for changes.
    pub fn watch(&self) -> watch::Receiver<PalInfo> {
        self.info.clone()
    }

    /// How it is now, for the operator.
    pub fn for_operator(&self) -> OperatorPal {
        let published = self.published.borrow();
        OperatorPal {
            info: self.info(),
            machine_pid: published.machine.as_ref().map(|machine| machine.pid),
            machine_start: published.machine.as_ref().map(|machine| machine.start_time),
            netns: published.netns.clone(),
            doorbell: published.doorbell,
            last_wake_ms: published.last_wake_ms,
        }
    }

    /// Asks the pal's worker and waits for its answer.
    pub async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let gone = || ApiError { code: ErrorCode::NotFound, message: "this pal was removed".into() };
        self.messages.send(Message::Ask(ask(reply))).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Tells the pal's worker that the agent stops; the machine goes on.
    fn leave(&self) {
        // A worker that has ended needs no telling.
        let _ = self.messages.send(Message::Leave);
    }
}

impl Registry {
    /// Everything shared, before any pal is started.
    pub fn new(
        dir: PathBuf,
        config: Config,
        keys: Keys,
        store: Store,
        till: Till,
        image: Image,
        (engine, hypervisor): (Engine, Choice),
    ) -> Registry {
        let price_list = config.prices.list(0);
        let prices = Signed::sign(&price_list, &keys.sign);
        Registry {
            dir,
            config,
            keys,
            store,
            till,
            image,
            engine,
            hypervisor,
            prices,
            price_list,
            seen: Seen::default(),
            stop: Notify::new(),
            pals: RwLock::default(),
            threads: Mutex::default(),
            creating: Mutex::default(),
        }
    }

    /// Digest of the price list, as receipts name it.
    pub fn price_digest(&self) -> Digest {
        self.prices.digest()
    }

    /// For `GET /v1/host`.
    pub fn host_info(&self) -> HostInfo {
        HostInfo {
            versions: vec![VERSION],
            name: self.config.name.clone(),
            key: self.keys.public(),
            till: self.till.public_key(),
            mints: self.config.mints.clone(),
            prices: self.prices.clone(),
            price_list: self.price_list.clone(),
            locktime_margin_s: cloudpal_till::MARGIN_SECS,
            least_cpm: self.least_cpm(),
            hypervisor: self.hypervisor.why.clone(),
            unix_ms: unix_ms(),
        }
    }

    /// Two intervals awake: one to boot in, one to bring more credit in.
    fn least_cpm(&self) -> u64 {
        let one = cloudpal_meter::ahead(&self.price_list, cloudpal_protocol::receipt::Metered::Awake);
        (one + one).ceil_cpm().max(1)
    }

    /// Takes up every pal that the database knows.
    pub fn resume_all(self: &Arc<Self>) -> anyhow::Result<usize> {
        let records = self.store.pals()?;
        let count = records.len();
        for record in records {
            self.start(record)?;
        }
        Ok(count)
    }

    fn start(self: &Arc<Self>, record: PalRecord) -> anyhow::Result<Arc<Pal>> {
        let id = record.id;
        let owner = record.owner_sign;
        let started =
            Worker::start(self.clone(), record).with_context(|| format!("cannot take up pal {id}"))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(started.thread);
        let pal = Arc::new(Pal {
            id,
            owner,
            messages: started.messages,
            published: started.published,
            info: started.info,
        });
        self.pals.write().unwrap_or_else(PoisonError::into_inner).insert(id, pal.clone());
        Ok(pal)
    }

    /// One pal.
    pub fn pal(&self, id: PalId) -> Option<Arc<Pal>> {
        self.pals.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All pals.
    pub fn all(&self) -> Vec<Arc<Pal>> {
        self.pals.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Ends all workers; machines go on.
    pub fn leave_all(&self) {
        self.all().iter().for_each(|pal| pal.leave());
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            // A worker that panicked has said so already.
            drop(thread.join());
        }
    }

    /// A removed pal's worker says goodbye.
    pub(crate) fn forget(&self, id: PalId) {
        self.pals.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Creates a pal, or gives the one that the same request created before.
    pub fn create(self: &Arc<Self>, request: &CreatePal) -> Result<Arc<Pal>, ApiError> {
        let _one_at_a_time = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pal) = self.pal(request.id) {
            return self.created_before(pal, request);
        }
        if !cloudpal_plan::names::is_label(&request.name) {
            let message =
                format!("\"{}\" cannot be a pal's name; use letters, digits and dashes", request.name);
            return Err(ApiError { code: ErrorCode::Malformed, message });
        }
        let public_v4 = self.free_address()?;
        let paid = self.take_first_step(request)?;
        let record = PalRecord {
            id: request.id,
            name: request.name.clone(),
            owner_sign: request.owner_sign,
            owner_unlock: request.owner_unlock,
            state: PalState::Paid,
            since_unix_ms: unix_ms(),
            public_v4,
            public_v6: self.config.public_v6.map(|prefix| v6_beside(prefix, public_v4)),
            keys: None,
            machine: None,
            generation: 0,
            snapshot: None,
            boots: 0,
            wakes: 0,
            last_wake: None,
            notice: None,
            unpaid_since: None,
            account: AccountRecord::paid(paid),
        };
        self.store.put(&record, "created", unix_ms()).map_err(internal)?;
        self.start(record).map_err(internal)
    }

    fn created_before(&self, pal: Arc<Pal>, request: &CreatePal) -> Result<Arc<Pal>, ApiError> {
        if pal.owner == request.owner_sign {
            return Ok(pal);
        }
        let message = "this id is taken; run the command again to choose another".into();
        Err(ApiError { code: ErrorCode::Refused, message })
    }

    fn free_address(&self) -> Result<std::net::Ipv4Addr, ApiError> {
        let taken: BTreeSet<_> = self.all().iter().map(|pal| pal.info().public_v4).collect();
        self.config.public_v4.free(&taken).ok_or_else(|| ApiError {
            code: ErrorCode::Full,
            message: "this host has no free address for another pal; choose another host".into(),
        })
    }

    fn take_first_step(&self, request: &CreatePal) -> Result<cloudpal_core::Milli, ApiError> {
        let refused = |message: String| ApiError { code: ErrorCode::Refused, message };
        let id = request.id.to_string();
        let paid = crate::credit::accept(&self.till, &id, &request.tickets)
            .map_err(|error| refused(error.to_string()))?;
        let least = self.least_cpm();
        if paid.floor_cpm() < least {
            return Err(refused(format!("{paid} is too little to start with; this host wants {least} cpm")));
        }
        Ok(paid)
    }

    /// Signatures that give tickets back to their owner before the locktime.
    pub fn give_back(&self, secrets: &[String]) -> Result<Vec<String>, ApiError> {
        let refused = |error: cloudpal_till::ReturnError| ApiError {
            code: ErrorCode::Refused,
            message: error.to_string(),
        };
        let signed = self.till.sign_return(secrets).map_err(refused)?;
        Ok(signed.into_iter().map(|returned| returned.signature).collect())
    }

    /// What devices of a pal with this address dial.
    pub fn endpoint(&self, public_v4: std::net::Ipv4Addr) -> SocketAddr {
        let host = self.config.endpoint_host.unwrap_or_else(|| public_v4.into());
        SocketAddr::new(host, WIREGUARD_PORT)
    }
}

pub(crate) fn internal(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a pal could not be created");
    let message = "the host could not do this; its operator finds the reason in the log".into();
    ApiError { code: ErrorCode::Internal, message }
}
