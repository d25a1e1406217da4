//! One thread for each pal. It takes messages one by one (guest frames, doorbell, API, timers), turns
//! them into lifecycle events, and carries the lifecycle's commands out with blocking calls.

mod ask;
mod credit;
mod frames;
mod machine;
mod port;

use crate::doorbell::{BellThread, Ring};
use crate::lifecycle::{Command, Event, Lifecycle, SleepReason};
use crate::registry::Registry;
use crate::store::PalRecord;
use crate::time::unix_ms;
use anyhow::Context;
use ask::Sessions;
use cloudpal_core::PalId;
use cloudpal_link::Tenant;
use cloudpal_machine::{Handle, Running};
use cloudpal_protocol::api::{ApiError, PalInfo, PalState};
use cloudpal_protocol::guest::{DataState, ToHost, WakeReason};
use cloudpal_protocol::{TicketText, guest::Account};
use credit::Payment;
pub use machine::{take_down_cgroup, take_down_network};
use port::Port;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Where the answer to an [`Ask`] goes.
pub type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// Whether a guest drops its secrets before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiescing {
    /// As it should be.
    Full,
    /// Only to show, on a host of one's own, that a search for secrets finds them when they are there.
    Skipped,
}

/// What the API asks of a pal.
pub enum Ask {
    /// Put it to sleep; answered when it sleeps.
    Sleep(SleepReason, Quiescing, Reply<PalInfo>),
    /// Wake it; answered when it is awake.
    Wake(WakeReason, Reply<PalInfo>),
    /// Take a step of credit.
    AddCredit(Vec<TicketText>, Reply<PalInfo>),
    /// Pass a message to the pal and its answer back.
    Relay {
        /// Which owner session, none to open one.
        session: Option<u64>,
        /// For the pal alone to read.
        message: Vec<u8>,
        /// Session and answer.
        reply: Reply<(u64, Vec<u8>)>,
    },
    /// Remove it.
    Delete(Reply<PalInfo>),
}

/// What reaches a worker.
pub enum Message {
    /// From the guest, over the port opened by the life of this number.
    Guest(u64, ToHost),
    /// The port of this life was closed.
    PortClosed(u64),
    /// From the doorbell.
    Ring(Ring),
    /// From the API.
    Ask(Ask),
    /// The agent stops; the machine goes on.
    Leave,
}

/// What the operator may see beyond [`PalInfo`].
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The machine, while one runs.
    pub machine: Option<Handle>,
    /// Network namespace.
    pub netns: String,
    /// What the doorbell counted.
    pub doorbell: cloudpal_plan::wake::Counters,
    /// Milliseconds from the last ring to its hand-over.
    pub last_wake_ms: Option<f64>,
}

/// A worker that was started.
pub struct Started {
    pub(crate) thread: JoinHandle<()>,
    pub(crate) messages: Sender<Message>,
    pub(crate) published: watch::Receiver<Published>,
    pub(crate) info: watch::Receiver<PalInfo>,
}

/// One pal's thread.
pub(crate) struct Worker {
    registry: Arc<Registry>,
    record: PalRecord,
    life: Lifecycle,
    tenant: Tenant,
    doorbell: Option<BellThread>,
    machine: Option<Running>,
    port: Option<Port>,
    ports_opened: u64,
    data: Option<DataState>,
    quiescing: Quiescing,
    deadline: Option<(Instant, Event)>,
    /// When a restored guest is to be told that it woke, and why.
    woke_due: Option<(Instant, WakeReason)>,
    rang_at: Option<Instant>,
    last_wake_ms: Option<f64>,
    sessions: Sessions,
    payment: Payment,
    account_told: Account,
    waiting_asleep: Vec<Reply<PalInfo>>,
    waiting_awake: Vec<Reply<PalInfo>>,
    messages: Sender<Message>,
    info: watch::Sender<PalInfo>,
    published: watch::Sender<Published>,
}

enum Go {
    On,
    Leave,
}

impl Worker {
    /// Prepares the pal's network, takes its machine up again if it still runs, and starts the thread.
    pub(crate) fn start(registry: Arc<Registry>, record: PalRecord) -> anyhow::Result<Started> {
        let (messages, inbox) = channel();
        let tenant = machine::prepare_network(&registry, &record).context("cannot prepare its network")?;
        let life = Lifecycle::restored(record.state);
        let (info, info_watch) = watch::channel(first_info(&registry, &record));
        let (published, published_watch) = watch::channel(Published::default());
        let mut worker = Worker {
            registry,
            record,
            life,
            tenant,
            doorbell: None,
            machine: None,
            port: None,
            ports_opened: 0,
            data: None,
            quiescing: Quiescing::Full,
            deadline: None,
            woke_due: None,
            rang_at: None,
            last_wake_ms: None,
            sessions: Sessions::default(),
            payment: Payment::default(),
            account_told: Account::default(),
            waiting_asleep: vec![],
            waiting_awake: vec![],
            messages: messages.clone(),
            info,
            published,
        };
        let thread = std::thread::Builder::new()
            .name(format!("pal-{}", worker.record.id.short()))
            .spawn(move || worker.run(&inbox))
            .context("cannot start its thread")?;
        Ok(Started { thread, messages, published: published_watch, info: info_watch })
    }

    fn id(&self) -> PalId {
        self.record.id
    }

    fn run(&mut self, inbox: &Receiver<Message>) {
        self.take_up();
        self.publish();
        loop {
            let timeout = self.until_next();
            let go = match inbox.recv_timeout(timeout) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => Go::On,
                Err(RecvTimeoutError::Disconnected) => Go::Leave,
            };
            if matches!(go, Go::Leave) {
                return;
            }
            self.tick();
            self.publish();
            if self.life.state() == PalState::Gone {
                self.registry.forget(self.id());
                return;
            }
        }
    }

    fn until_next(&self) -> Duration {
        let timers = [self.deadline.map(|(at, _)| at), self.woke_due.map(|(at, _)| at)];
        let left = timers.into_iter().flatten().map(|at| at.saturating_duration_since(Instant::now()));
        left.fold(Duration::from_millis(250), Duration::min)
    }

    fn take(&mut self, message: Message) -> Go {
        match message {
            Message::Guest(port, frame) if self.is_current(port) => self.frame(frame),
            Message::PortClosed(port) if self.is_current(port) => self.port = None,
            Message::Guest(..) | Message::PortClosed(_) => {}
            Message::Ring(ring) => self.rang(ring),
            Message::Ask(ask) => self.asked(ask),
            Message::Leave => return Go::Leave,
        }
        Go::On
    }

    fn is_current(&self, port: u64) -> bool {
        self.port.as_ref().is_some_and(|current| current.number == port)
    }

    fn rang(&mut self, ring: Ring) {
        self.rang_at.get_or_insert(ring.at);
        self.event(Event::Rang);
        self.forget_vain_ring();
    }

    /// A ring that wakes nobody is not what a later wake is measured from.
    fn forget_vain_ring(&mut self) {
        if matches!(self.life.state(), PalState::Unpaid | PalState::Failed | PalState::Gone) {
            self.rang_at = None;
        }
    }

    /// Timers, the machine's end, and credit.
    fn tick(&mut self) {
        if let Some((at, event)) = self.deadline
            && Instant::now() >= at
        {
            self.deadline = None;
            tracing::warn!(pal = %self.id().short(), ?event, "the guest did not answer in time");
            self.event(event);
        }
        if let Some((at, reason)) = self.woke_due
            && Instant::now() >= at
        {
            self.woke_due = None;
            self.tell_woke(reason);
        }
        if self.machine.as_ref().is_some_and(|machine| machine.exited()) {
            tracing::warn!(pal = %self.id().short(), "its machine ended by itself");
            self.event(Event::Died);
        }
        if self.machine.is_some() && self.port.is_none() {
            self.reconnect();
        }
        self.sessions.expire();
        self.offer_again();
        self.tick_credit();
    }

    /// Feeds the lifecycle and carries out what it says, until nothing more follows.
    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let before = self.life.state();
            let commands = self.life.handle(event);
            if self.life.state() != before {
                self.changed(before, event);
            }
            for command in commands {
                events.extend(self.carry_out(command));
            }
        }
    }

    fn changed(&mut self, before: PalState, event: Event) {
        let now = self.life.state();
        tracing::info!(pal = %self.id().short(), ?before, ?now, ?event, "state");
        self.deadline = None;
        self.meter_change(before, now);
        self.record.state = now;
        self.record.since_unix_ms = unix_ms();
        self.save(&format!("{before:?} -> {now:?} by {event:?}"));
        self.answer_waiting();
    }

    /// Writes the record down. A full disk must not take the pal down: it is tried again at the next
    /// change, and the operator sees it in the log.
    fn save(&mut self, what: &str) {
        if let Err(error) = self.registry.store.put(&self.record, what, unix_ms()) {
            tracing::error!(pal = %self.id().short(), %error, "cannot write down what happened");
        }
    }

    fn carry_out(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Boot => self.boot(),
            Command::Quiesce => self.quiesce(),
            Command::Save => self.save_memory(),
            Command::Resume => self.resume(),
            Command::Restore(reason) => self.restore(reason),
            Command::Kill => self.kill(),
            Command::Remove => self.remove(),
        }
    }

    fn answer_waiting(&mut self) {
        let info = self.current_info();
        let done =
            |state: PalState, waiting: &mut Vec<Reply<PalInfo>>, good: &[PalState], over: &[PalState]| {
                if good.contains(&state) || over.contains(&state) {
                    for reply in waiting.drain(..) {
                        // Whoever asked may have gone away meanwhile.
                        let _ = reply.send(Ok(info.clone()));
                    }
                }
            };
        use PalState as S;
        let state = self.life.state();
        done(state, &mut self.waiting_asleep, &[S::Asleep, S::Unpaid], &[S::Gone, S::Failed]);
        // Asleep again: somebody wanted that later than they wanted it awake.
        done(state, &mut self.waiting_awake, &[S::Awake], &[S::Gone, S::Failed, S::Unpaid, S::Asleep]);
    }

    fn publish(&mut self) {
        let mut info = self.current_info();
        self.info.send_if_modified(|old| {
            info.change = old.change;
            if serde_json::to_value(&*old).ok() == serde_json::to_value(&info).ok() {
                return false;
            }
            info.change = old.change + 1;
            *old = info.clone();
            true
        });
        let published = Published {
            machine: self.machine.as_ref().map(|machine| machine.handle().clone()),
            netns: self.tenant.namespace().name().to_owned(),
            doorbell: self.doorbell.as_ref().map(BellThread::counters).unwrap_or_default(),
            last_wake_ms: self.last_wake_ms,
        };
        self.published.send_replace(published);
    }

    fn current_info(&self) -> PalInfo {
        let (receipts, acknowledged) = self.registry.store.count_receipts(self.id()).unwrap_or_default();
        PalInfo {
            data: self.data.filter(|_| self.machine.is_some()),
            account: self.account(),
            receipts,
            acknowledged,
            state: self.life.state(),
            change: self.info.borrow().change,
            ..first_info(&self.registry, &self.record)
        }
    }
}

fn first_info(registry: &Registry, record: &PalRecord) -> PalInfo {
    PalInfo {
        id: record.id,
        name: record.name.clone(),
        state: record.state,
        since_unix_ms: record.since_unix_ms,
        change: 0,
        keys: record.keys,
        data: None,
        public_v4: record.public_v4,
        public_v6: record.public_v6,
        endpoint: registry.endpoint(record.public_v4),
        account: Account::default(),
        receipts: 0,
        acknowledged: 0,
        wakes: record.wakes,
        last_wake: record.last_wake,
        boots: record.boots,
        notice: record.notice.clone(),
        memory_mib: registry.config.memory_mib,
    }
}
