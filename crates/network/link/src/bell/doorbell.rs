use super::barrier::{self, Barrier, Question};
use super::packet::Packet;
use super::tun;
use super::urgent::Urgent;
use super::wire::{ARP, Hears, Wire, frame};
use crate::namespace::NamespaceError;
use crate::netlink::{Netlink, NetlinkError};
use crate::route::index;
use crate::tenant::{BELL, GATEWAY_V4, Recorded, Switch, SwitchError, TAP, Tenant, wait_until_running};
use cloudpal_core::{AgreementKey, Secret};
use cloudpal_plan::wake::{Bell, Counters, MemoryError, Session, Verdict};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The doorbell did not work.
#[derive(Debug, thiserror::Error)]
pub enum BellError {
    /// Its namespace could not be entered.
    #[error("could not reach the doorbell")]
    Namespace(#[source] NamespaceError),
    /// An interface is missing.
    #[error("the doorbell's interfaces are missing; prepare the tenant again")]
    Missing(#[source] NetlinkError),
    /// Its TUN or the packet sockets could not be opened.
    #[error("could not open the doorbell; does another agent hold it?")]
    Open(#[source] io::Error),
    /// Reading or waiting failed.
    #[error("could not listen at the doorbell")]
    Listen(#[source] io::Error),
    /// The machine's tap takes nothing.
    #[error("could not put packets on the machine's tap, {left} are still held; is the machine running?")]
    Deliver {
        /// How many are still held, in order.
        left: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The barrier could not be asked for.
    #[error("could not ask the machine whether its queue is empty")]
    Barrier(#[source] io::Error),
    /// The route was not switched.
    #[error("could not hand the pal's packets over")]
    Switch(#[source] SwitchError),
}

/// What one look at the doorbell found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Somebody rang: wake the pal.
    pub rung: bool,
    /// Datagrams read.
    pub read: usize,
    /// Datagrams now held for the pal.
    pub held: usize,
}

/// What was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Datagrams handed over before the route was switched.
    pub before: usize,
    /// Datagrams that still came to the doorbell while and after it was switched.
    pub after: usize,
    /// How long the switch itself took.
    pub switched_in: Duration,
    /// How long everything took, with the time spent on stragglers.
    pub took: Duration,
}

/// The doorbell of one pal: the decisions of [`Bell`] with hands. One at a time can be open for a tenant.
///
/// The clock of its [`Bell`] begins when it is opened.
pub struct Doorbell {
    bell: Bell,
    tun: File,
    to_machine: Wire,
    arp: Wire,
    question: Question,
    held: VecDeque<Packet>,
    opened: Instant,
    buffer: Box<[u8]>,
}

/// How long the machine may refuse packets before that is an error.
const PATIENCE: Duration = Duration::from_secs(2);
/// A flood may keep packets coming; after this long the route is switched in any case.
const DRAIN: Duration = Duration::from_millis(200);
/// How long stragglers are waited for after the switch.
const STRAGGLERS: Duration = Duration::from_millis(20);

impl Doorbell {
    /// Opens the doorbell of a tenant whose pal has this WireGuard key. Everything passes until
    /// [`Doorbell::listen`] or [`Doorbell::hold`]. `secret` is fresh randomness.
    pub fn open(tenant: &Tenant, pal: &AgreementKey, secret: Secret<32>) -> Result<Self, BellError> {
        let sockets = || -> Result<_, BellError> {
            let tap = index(TAP).map_err(BellError::Missing)?;
            let bell = index(BELL).map_err(BellError::Missing)?;
            let tun = tun::attach(BELL, tun::Kind::Tun).map_err(BellError::Open)?;
            let mut netlink = Netlink::open(NETLINK_ROUTE).map_err(BellError::Open)?;
            if !wait_until_running(&mut netlink, bell, PATIENCE).map_err(BellError::Missing)? {
                return Err(BellError::Open(io::ErrorKind::TimedOut.into()));
            }
            let to_machine = Wire::open(tap, Hears::Nothing).map_err(BellError::Open)?;
            let arp = Wire::open(tap, Hears::Type(ARP)).map_err(BellError::Open)?;
            Ok((tun, to_machine, arp))
        };
        let (tun, to_machine, arp) = tenant.namespace().run(sockets).map_err(BellError::Namespace)??;
        let plan = tenant.plan();
        let question = Question {
            from_mac: tenant.gateway().gateway_mac,
            from: GATEWAY_V4,
            to_mac: plan.guest_mac,
            to: plan.public_v4,
        };
        Ok(Doorbell {
            bell: Bell::new(pal, secret, 0),
            tun,
            to_machine,
            arp,
            question,
            held: VecDeque::new(),
            opened: Instant::now(),
            buffer: vec![0; 65_536].into(),
        })
    }

    /// Takes back what [`Doorbell::memory`] gave, after a restart of the agent.
    pub fn remember(&mut self, memory: &[u8]) -> Result<(), MemoryError> {
        self.bell.import(memory)
    }

    /// What must be on disk before the pal is woken, so that what rang once never rings again.
    pub fn memory(&self) -> Vec<u8> {
        self.bell.export()
    }

    /// The pal sleeps: from now on datagrams are judged. Nothing is held any more.
    pub fn listen(&mut self, recorded: &Recorded) {
        let now = self.now_ms();
        let session = |session: &crate::tenant::RecordedSession| Session {
            endpoint: session.endpoint,
            receiver: session.receiver,
            until_ms: now + session.left.as_millis() as u64,
        };
        let sessions: Vec<Session> = recorded.sessions.iter().map(session).collect();
        self.held.clear();
        self.bell.fall_asleep(&sessions, &recorded.answered);
    }

    /// The pal is woken for another reason than a ring: hold what comes.
    pub fn hold(&mut self) {
        self.bell.wake();
    }

    /// Reads and judges what waits, without blocking. What is to be kept is held here.
    pub fn pump(&mut self) -> Result<Heard, BellError> {
        let mut heard = Heard::default();
        // Bounded, so that a flood cannot keep the caller here.
        while heard.read < 10_000 {
            let Some(bytes) = self.next()? else { break };
            heard.read += 1;
            let Some(packet) = Packet::parse(&self.buffer[..bytes]) else { continue };
            match self.bell.datagram(self.now_ms(), packet.source(), packet.payload()) {
                Verdict::Ring => {
                    heard.rung = true;
                    self.held.push_back(packet);
                }
                Verdict::Hold | Verdict::Pass => self.held.push_back(packet),
                // Best effort: a reply that does not fit is asked for again.
                Verdict::Challenge(reply) => drop(self.tun.write(&packet.answer(&reply))),
                Verdict::Drop(_) => {}
            }
        }
        heard.held = self.held.len();
        Ok(heard)
    }

    /// Waits until something comes or the time is up; without a time, for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<(), BellError> {
        let timeout = timeout.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time.as_millis()).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(self.tun.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(BellError::Listen(error.into())),
        }
    }

    /// The machine is awake: gives it what is held, in order, switches the route, and gives it what
    /// came meanwhile. After an error nothing is lost and it can be called again.
    ///
    /// What comes in the moment of the switch itself is read right after it. A packet that overtakes
    /// it on the new route is put out of order, not lost; WireGuard takes that.
    pub fn hand_over(&mut self, switch: &Switch) -> Result<HandOver, BellError> {
        let begun = Instant::now();
        switch.wait_for_tap().map_err(BellError::Switch)?;
        // Being put aside between the last read and the switch is what would put packets out of order.
        let urgent = Urgent::begin();
        let mut before = 0;
        loop {
            let heard = self.pump()?;
            before += self.deliver()?;
            if heard.read == 0 || begun.elapsed() > DRAIN {
                break;
            }
        }
        self.bell.pass();
        let (mut after, mut failed, switching) = (0, None, Instant::now());
        let switched = switch.to_tap_one_by_one(|| match self.pump().and_then(|_| self.deliver()) {
            Ok(delivered) => after += delivered,
            Err(error) => failed = Some(error),
        });
        let switched_in = switching.elapsed();
        drop(urgent);
        switched.map_err(BellError::Switch)?;
        if let Some(error) = failed {
            return Err(error);
        }
        let until = Instant::now() + STRAGGLERS;
        loop {
            self.pump()?;
            after += self.deliver()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(HandOver { before, after, switched_in, took: begun.elapsed() });
            }
            self.wait(Some(left))?;
        }
    }

    /// Puts what is held on the machine's tap; returns how many that were.
    pub fn deliver(&mut self) -> Result<usize, BellError> {
        let deadline = Instant::now() + PATIENCE;
        let mut sent = 0;
        while let Some(packet) = self.held.front() {
            let frame = frame(self.question.to_mac, self.question.from_mac, packet.bytes());
            if let Err(source) = self.to_machine.send(&frame, deadline) {
                return Err(BellError::Deliver { left: self.held.len(), source });
            }
            self.held.pop_front();
            sent += 1;
        }
        Ok(sent)
    }

    /// After the route was switched to the doorbell: waits until the machine has taken in everything
    /// that was sent to it before. Then it may be paused without a loss.
    pub fn barrier(&self, timeout: Duration) -> Result<Barrier, BellError> {
        barrier::wait(&self.arp, self.question, timeout).map_err(BellError::Barrier)
    }

    /// How many datagrams met which verdict since it was opened.
    pub fn counters(&self) -> Counters {
        self.bell.counters()
    }

    fn now_ms(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }

    fn next(&mut self) -> Result<Option<usize>, BellError> {
        loop {
            match self.tun.read(&mut self.buffer) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BellError::Listen(error)),
            }
        }
    }
}

/// For polling beside other descriptors: readable when something came.
impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

impl std::fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorbell").field("held", &self.held.len()).finish_non_exhaustive()
    }
}
