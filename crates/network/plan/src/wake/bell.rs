use super::budget::Budget;
use super::mac::Macs;
use super::memory::{Memory, MemoryError};
use super::packet::{Initiation, Kind, parse};
use cloudpal_core::{AgreementKey, Secret};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;

/// At most this many datagrams are held while the pal wakes.
pub const HELD_PACKETS: usize = 4096;

/// At most this many bytes of datagrams are held while the pal wakes.
pub const HELD_BYTES: usize = 4 * 1024 * 1024;

/// At most this many live sessions are listened for.
pub const SESSIONS: usize = 4096;

/// A session that a device may still believe in after the pal wiped its own side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Where the device was.
    pub endpoint: SocketAddr,
    /// The session as the pal numbered it: the receiver index of what the device sends.
    pub receiver: u32,
    /// When the device will have given it up, on the clock of [`Bell::datagram`], milliseconds.
    pub until_ms: u64,
}

/// What to do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wake the pal, and keep the datagram for it.
    Ring,
    /// Keep it for the pal, behind those kept before.
    Hold,
    /// Hand it to the pal, which is awake.
    Pass,
    /// Drop it, and send this cookie reply (64 bytes) back to where it came from.
    Challenge([u8; 64]),
    /// Drop it.
    Drop(Reason),
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No WireGuard message.
    Junk,
    /// An initiation that was not made for this pal.
    Mac1,
    /// An initiation that was seen or answered before.
    Replay,
    /// A keepalive: nothing to say.
    Keepalive,
    /// A response or cookie reply, though the pal asked nothing.
    Unasked,
    /// Data of no session that was recorded, or one that has rung.
    Stranger,
    /// A right one, but too many rang before.
    Budget,
    /// As much is held as may be.
    Full,
}

/// How many datagrams met which verdict since this bell was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Woke the pal.
    pub rung: u64,
    /// Held while it woke.
    pub held: u64,
    /// Handed straight on.
    pub passed: u64,
    /// Answered with a cookie challenge.
    pub challenged: u64,
    /// Dropped: no WireGuard message.
    pub junk: u64,
    /// Dropped: initiation not made for this pal.
    pub mac1: u64,
    /// Dropped: initiation seen or answered before.
    pub replays: u64,
    /// Dropped: keepalive.
    pub keepalives: u64,
    /// Dropped: response or cookie that nobody asked for.
    pub unasked: u64,
    /// Dropped: data of no recorded session.
    pub strangers: u64,
    /// Dropped: wake budget used up.
    pub budget: u64,
    /// Dropped: too much was held already.
    pub full: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Passing,
    Listening,
    Waking,
}

/// The doorbell of one pal. It judges; somebody else reads, keeps, hands over and answers datagrams.
pub struct Bell {
    macs: Macs,
    memory: Memory,
    budget: Budget,
    sessions: HashMap<(SocketAddr, u32), u64>,
    phase: Phase,
    /// Of senders that are not known to have a reason.
    strangers: Held,
    known: Held,
    counters: Counters,
}

#[derive(Clone, Copy, Default)]
struct Held {
    packets: usize,
    bytes: usize,
}

impl Bell {
    /// The bell of the pal with this WireGuard key, with full budgets, passing everything.
    /// `secret` is fresh randomness, from which cookies are made.
    pub fn new(pal: &AgreementKey, secret: Secret<32>, now_ms: u64) -> Self {
        Bell {
            macs: Macs::new(pal, secret),
            memory: Memory::default(),
            budget: Budget::full(now_ms),
            sessions: HashMap::new(),
            phase: Phase::Passing,
            strangers: Held::default(),
            known: Held::default(),
            counters: Counters::default(),
        }
    }

    /// What must be on disk before the pal is woken, so that a replay does not ring after a restart of the host agent either.
    pub fn export(&self) -> Vec<u8> {
        self.memory.export()
    }

    /// Takes back what [`Bell::export`] gave, in place of what is remembered now.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), MemoryError> {
        self.memory = Memory::import(bytes)?;
        Ok(())
    }

    /// From now on the bell listens. `sessions` (the first [`SESSIONS`] of them) and `answered`
    /// (sender indices of initiations) are what the firewall recorded while the pal was awake.
    pub fn fall_asleep(&mut self, sessions: &[Session], answered: &[u32]) {
        self.phase = Phase::Listening;
        self.sessions =
            sessions.iter().take(SESSIONS).map(|s| ((s.endpoint, s.receiver), s.until_ms)).collect();
        answered.iter().for_each(|sender| self.memory.answer(*sender));
        (self.strangers, self.known) = (Held::default(), Held::default());
    }

    /// The pal is being woken for another reason than a datagram: hold what comes.
    pub fn wake(&mut self) {
        self.phase = Phase::Waking;
    }

    /// The pal is awake and what was held is handed over: everything passes.
    pub fn pass(&mut self) {
        self.phase = Phase::Passing;
        (self.strangers, self.known) = (Held::default(), Held::default());
    }

    /// How many datagrams met which verdict.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Judges one datagram (UDP payload) for the pal. `now_ms` is any clock that goes forward, milliseconds.
    pub fn datagram(&mut self, now_ms: u64, source: SocketAddr, datagram: &[u8]) -> Verdict {
        let verdict = match (self.phase, parse(datagram)) {
            (Phase::Passing, _) => Verdict::Pass,
            (_, Kind::Junk) => Verdict::Drop(Reason::Junk),
            (Phase::Listening, kind) => self.listen(now_ms, source, kind),
            (Phase::Waking, kind) => self.hold(source, kind, datagram.len()),
        };
        if verdict == Verdict::Ring {
            self.phase = Phase::Waking;
            self.known.add(datagram.len());
        }
        self.counters.count(&verdict);
        verdict
    }

    fn listen(&mut self, now_ms: u64, source: SocketAddr, kind: Kind<'_>) -> Verdict {
        match kind {
            Kind::Initiation(initiation) => self.initiation(now_ms, source, &initiation),
            Kind::Data { receiver } => self.data(now_ms, source, receiver),
            Kind::Keepalive { .. } => Verdict::Drop(Reason::Keepalive),
            Kind::Response | Kind::Cookie => Verdict::Drop(Reason::Unasked),
            Kind::Junk => Verdict::Drop(Reason::Junk),
        }
    }

    fn initiation(&mut self, now_ms: u64, source: SocketAddr, initiation: &Initiation<'_>) -> Verdict {
        if !self.macs.mac1_fits(initiation) {
            return Verdict::Drop(Reason::Mac1);
        }
        if self.is_replay(initiation) {
            return Verdict::Drop(Reason::Replay);
        }
        // One that proved where it is never takes what is left for those who could not yet.
        let proven = self.macs.mac2_fits(initiation, source, now_ms);
        let may = if proven { self.budget.take_proven(source, now_ms) } else { self.budget.take(now_ms) };
        if may {
            self.memory.see(initiation.one_time());
            return Verdict::Ring;
        }
        // Not remembered: a flood must not push genuine initiations out of the memory.
        if proven {
            Verdict::Drop(Reason::Budget)
        } else {
            Verdict::Challenge(self.macs.reply(initiation, source, now_ms))
        }
    }

    fn is_replay(&self, initiation: &Initiation<'_>) -> bool {
        self.memory.has_seen(&initiation.one_time()) || self.memory.was_answered(initiation.sender())
    }

    /// A session rings once: the pal then speaks first and begins a new one.
    fn data(&mut self, now_ms: u64, source: SocketAddr, receiver: u32) -> Verdict {
        let session = (source, receiver);
        match self.sessions.get(&session) {
            Some(until_ms) if now_ms < *until_ms => {}
            _ => return Verdict::Drop(Reason::Stranger),
        }
        if !self.budget.take(now_ms) {
            return Verdict::Drop(Reason::Budget);
        }
        self.sessions.remove(&session);
        Verdict::Ring
    }

    fn hold(&mut self, source: SocketAddr, kind: Kind<'_>, bytes: usize) -> Verdict {
        let held = match kind {
            Kind::Initiation(initiation) => {
                if !self.macs.mac1_fits(&initiation) {
                    return Verdict::Drop(Reason::Mac1);
                }
                if self.is_replay(&initiation) {
                    return Verdict::Drop(Reason::Replay);
                }
                self.memory.see(initiation.one_time());
                &mut self.known
            }
            Kind::Keepalive { receiver } if self.sessions.contains_key(&(source, receiver)) => {
                return Verdict::Drop(Reason::Keepalive);
            }
            // The pal speaks first when it wakes, before the route is switched: answers to that, and
            // the first data of its new sessions, still come this way. Nothing tells them from
            // forged ones, so they may take only half of the room.
            _ => &mut self.strangers,
        };
        if held.packets >= HELD_PACKETS / 2 || held.bytes + bytes > HELD_BYTES / 2 {
            return Verdict::Drop(Reason::Full);
        }
        held.add(bytes);
        Verdict::Hold
    }
}

impl Held {
    fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes;
    }
}

impl Counters {
    fn count(&mut self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Ring => &mut self.rung,
            Verdict::Hold => &mut self.held,
            Verdict::Pass => &mut self.passed,
            Verdict::Challenge(_) => &mut self.challenged,
            Verdict::Drop(Reason::Junk) => &mut self.junk,
            Verdict::Drop(Reason::Mac1) => &mut self.mac1,
            Verdict::Drop(Reason::Replay) => &mut self.replays,
            Verdict::Drop(Reason::Keepalive) => &mut self.keepalives,
            Verdict::Drop(Reason::Unasked) => &mut self.unasked,
            Verdict::Drop(Reason::Stranger) => &mut self.strangers,
            Verdict::Drop(Reason::Budget) => &mut self.budget,
            Verdict::Drop(Reason::Full) => &mut self.full,
        };
        *counter += 1;
    }
}
