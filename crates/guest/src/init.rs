//! The loop that everything passes through: host on one side, the two halves of the pal on the other.
//!
//! ```text
//! Fresh --Boot--> Booting --Up--> Running --Quiesce--> Quiescing --Quiesced--> Quiet
//!                                    ^------------Woke or Resume-----------------'
//! ```

mod halves;

use crate::child::Running;
use crate::clock;
use crate::disk;
use crate::entropy;
use crate::modules::{self, ModuleError};
use crate::mounts::{self, MountError};
use crate::port;
use crate::quiesce;
use crate::tools::{self, Tool};
use crate::wire::{Heard, Wire};
use cloudpal_link::guest::bring_up_uplink;
use cloudpal_protocol::guest::{BootRecord, DataState, PORT_NAME, PalKeys, Phase, ToGuest, ToHost, Woke};
use cloudpal_protocol::inside::{FromData, FromNetwork, ToData, ToNetwork};
use cloudpal_protocol::{VERSION, guest::WakeReason};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// While the host is away its port reports so without end: look again this often.
const AWAY_MS: u16 = 50;
/// A half that crashed is started again after this long.
const RESTART: Duration = Duration::from_millis(500);

/// `cloudpald data` is started this long after a wake.
const DATA_AFTER: Duration = Duration::from_millis(400);

/// Why the machine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// No file systems.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// No drivers.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// No channel to the host.
    #[error("found no virtio port named {PORT_NAME}; the host has to give the machine one")]
    NoPort,
    /// The channel does not open, or the system's own calls fail.
    #[error("could not {what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(nix::Error) -> InitError {
    move |error| InitError::System { what, source: error.into() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Booting,
    Running,
    Quiescing,
    Quiet,
}

struct Init {
    host: Wire,
    host_away: bool,
    network: Option<Running>,
    data: Option<Running>,
    /// When a half that ended is started again.
    restart: Option<Instant>,
    /// A life whose `Awake` the host is told when the network half says so.
    owes_awake: Option<u64>,
    stage: Stage,
    boot: Option<Box<BootRecord>>,
    keys: Option<PalKeys>,
    data_state: DataState,
    power_off: bool,
}

/// Runs the machine until it is told to power off.
pub fn run() -> Result<(), InitError> {
    mounts::mount_all()?;
    modules::load_all()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.add(Signal::SIGTERM);
    mask.thread_block().map_err(system("block signals"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(system("receive signals"))?;
    let mut init = Init::new(port::open()?);
    init.hello();
    while !init.power_off {
        init.wait(&signals)?;
        init.turn(&signals);
    }
    init.stop();
    Ok(())
}

impl Init {
    fn new(host: Wire) -> Self {
        Init {
            host,
            host_away: false,
            network: None,
            data: None,
            restart: None,
            owes_awake: None,
            stage: Stage::Fresh,
            boot: None,
            keys: None,
            data_state: DataState::Locked,
            power_off: false,
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self, signals: &SignalFd) -> Result<(), InitError> {
        let interest = |wire: &Wire| match wire.is_waiting() {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        for half in [&self.network, &self.data].into_iter().flatten() {
            watched.push(PollFd::new(half.wire.as_fd(), interest(&half.wire)));
        }
        if !self.host_away {
            watched.push(PollFd::new(self.host.as_fd(), interest(&self.host)));
        }
        let timeout = match (self.host_away, self.restart) {
            (true, _) => PollTimeout::from(AWAY_MS),
            (false, Some(_)) => PollTimeout::from(200u16),
            (false, None) => PollTimeout::NONE,
        };
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(system("wait")(error)),
        }
    }

    /// Does everything there is to do.
    fn turn(&mut self, signals: &SignalFd) {
        while let Ok(Some(signal)) = signals.read_signal() {
            self.power_off |= signal.ssi_signo == Signal::SIGTERM as u32;
        }
        self.hear_host();
        self.hear_network();
        self.hear_data();
        self.bury();
        self.revive();
        for half in [&mut self.network, &mut self.data].into_iter().flatten() {
            half.wire.flush();
        }
        if !self.host_away {
            self.host.flush();
        }
    }

    fn hear_host(&mut self) {
        self.host_away = self.host.hear() == Heard::Nobody;
        while let Some(message) = self.host.next() {
            self.take_from_host(message);
        }
    }

    fn hear_network(&mut self) {
        let Some(half) = &mut self.network else { return };
        half.wire.hear();
        let messages: Vec<FromNetwork> = std::iter::from_fn(|| half.wire.next()).collect();
        for message in messages {
            match message {
                FromNetwork::Host(message) => self.network_to_host(message),
                FromNetwork::Quiesced => self.finish_quiesce(),
                FromNetwork::Standing => self.quiet(),
                FromNetwork::Awake => self.network_awake(),
                FromNetwork::Data(message) => self.tell_data(&message),
            }
        }
    }

    fn hear_data(&mut self) {
        let Some(half) = &mut self.data else { return };
        half.wire.hear();
        let messages: Vec<FromData> = std::iter::from_fn(|| half.wire.next()).collect();
        for message in messages {
            match message {
                FromData::Host(message) => {
                    if let ToHost::Data(state) = message {
                        self.set_data_state(state);
                    }
                    self.host.send(&message);
                }
                FromData::Ask(ask) => self.tell_network(&ToNetwork::Ask(ask)),
            }
        }
    }

    fn tell_network(&mut self, message: &ToNetwork) {
        if let Some(half) = &mut self.network {
            half.wire.send(message);
        }
    }

    fn tell_data(&mut self, message: &ToData) {
        if let Some(half) = &mut self.data {
            half.wire.send(message);
        }
    }

    fn log(&mut self, line: String) {
        self.host.send(&ToHost::Log { line });
    }

    fn hello(&mut self) {
        let phase = match self.keys {
            Some(keys) => Phase::Running { keys, data: self.data_state },
            None => Phase::Fresh,
        };
        self.host.send(&ToHost::Hello { versions: vec![VERSION], phase, attestation: None });
    }

    fn take_from_host(&mut self, message: ToGuest) {
        match message {
            ToGuest::Hello { .. } => self.hello(),
            ToGuest::Boot(record) => self.boot(record),
            ToGuest::Woke(woke) => self.woke(&woke),
            ToGuest::Resume => self.resume(None),
            ToGuest::Quiesce => self.begin_quiesce(),
            ToGuest::Relay { session, message } if self.data.is_some() => {
                self.tell_data(&ToData::Relay { session, message });
            }
            ToGuest::Relay { session, .. } => self.host.send(&ToHost::Relay { session, message: Vec::new() }),
            ToGuest::Due { amount } => self.tell_network(&ToNetwork::Due(amount)),
            ToGuest::Receipt(receipt) => self.tell_network(&ToNetwork::Receipt(receipt)),
            ToGuest::Account(account) => self.tell_network(&ToNetwork::Account(account)),
            ToGuest::PowerOff => self.power_off = true,
        }
    }

    /// A cold boot. A host that asks again, because it did not hear the answer, gets it again.
    fn boot(&mut self, record: Box<BootRecord>) {
        if let Some(keys) = self.keys {
            return self.host.send(&ToHost::Up(keys));
        }
        if self.stage != Stage::Fresh {
            return;
        }
        self.told_time(clock::set(record.unix_ms), &record.entropy);
        if let Err(error) = bring_up_uplink(&record.link) {
            self.complain(&error);
        }
        if !disk::is_blank() {
            tools::discard(Tool::Mke2fs);
        }
        self.boot = Some(record);
        self.stage = Stage::Booting;
        self.start_network();
        self.start_data();
    }

    fn told_time(&mut self, set: nix::Result<()>, fresh: &cloudpal_core::Secret<32>) {
        if let Err(error) = set {
            self.log(format!("could not set the clock: {error}"));
        }
        if let Err(error) = entropy::feed(fresh) {
            self.log(format!("could not feed the random generator: {error}"));
        }
    }

    fn woke(&mut self, woke: &Woke) {
        self.told_time(clock::advance(woke.unix_ms), &woke.entropy);
        if let Some(boot) = &mut self.boot {
            boot.generation = woke.generation;
        }
        self.resume(Some(woke.reason));
    }

    /// The network first: somebody is waiting for it. In a quiet machine it stands already, so the
    /// host hears before anything else is done.
    fn resume(&mut self, reason: Option<WakeReason>) {
        let generation = self.boot.as_ref().map_or(0, |boot| boot.generation);
        if self.stage != Stage::Quiescing {
            self.host.send(&ToHost::Awake { generation });
        }
        match self.stage {
            Stage::Quiet => {}
            Stage::Quiescing => self.owes_awake = Some(generation),
            _ => return,
        }
        self.stage = Stage::Running;
        self.tell_network(&ToNetwork::Awake { generation, reason });
    }

    fn network_to_host(&mut self, message: ToHost) {
        self.host.send(&message);
        if let ToHost::Up(keys) = message {
            self.keys = Some(keys);
            self.stage = Stage::Running;
            tools::discard(Tool::Nft);
        }
    }

    /// `data` is started a moment later: it would take the processor from whoever rang.
    fn network_awake(&mut self) {
        if let Some(generation) = self.owes_awake.take() {
            self.host.send(&ToHost::Awake { generation });
        }
        if self.data.is_none() {
            self.restart = Some(Instant::now() + DATA_AFTER);
        }
    }

    fn begin_quiesce(&mut self) {
        match self.stage {
            Stage::Quiet => return self.host.send(&ToHost::Quiesced),
            Stage::Running => {}
            _ => return,
        }
        self.stage = Stage::Quiescing;
        self.tell_network(&ToNetwork::Quiesce);
        if let Err(error) = self.stop_data() {
            // Data in memory must not be written to disk: stay awake and let the host ask again.
            self.complain(&error);
            self.resume(None);
        }
    }

    fn finish_quiesce(&mut self) {
        let (Stage::Quiescing, Some(boot)) = (self.stage, &self.boot) else { return };
        match quiesce::scrub(&boot.link) {
            Ok(()) => self.tell_network(&ToNetwork::Stand),
            Err(error) => {
                self.complain(&error);
                self.resume(None);
            }
        }
    }

    fn quiet(&mut self) {
        if self.stage == Stage::Quiescing {
            self.stage = Stage::Quiet;
            self.host.send(&ToHost::Quiesced);
        }
    }

    fn set_data_state(&mut self, state: DataState) {
        self.data_state = state;
        if state == DataState::Unlocked {
            tools::discard(Tool::Mke2fs);
        }
    }

    fn complain(&mut self, error: &dyn std::error::Error) {
        let mut line = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            line.push_str(&format!(": {error}"));
            cause = error.source();
        }
        self.log(line);
    }
}
