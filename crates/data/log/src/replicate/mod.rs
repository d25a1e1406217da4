//! The replication machine: one log with many peers, and many logs on one stream.
//!
//! Nothing here reads a clock, opens a socket or starts a thread. Messages and the time go in; messages to send,
//! events and the next time to be called come out. So a simulated network can run it, and any transport can carry it.
//!
//! ```text
//!  frames in ─> Connection ─(peer, message)─> Replicator::receive ─┐
//!                                             Replicator::settle <─┘ once for all messages at hand: ONE storage batch
//!  frames out <─ Connection <────(message)─── Replicator::poll, until there is none: proofs are made only as the
//!                                             stream takes them, which is the back-pressure
//! ```
//!
//! What a peer is asked: first a longer tree, then single blocks, then spans, each block of one peer at a time; it is
//! asked of another when the peer leaves, refuses, stalls or lies. The messages and their meaning are those of npm hypercore
//! 11.37.1 `lib/replicator.js`; 10.38.2 understands all that is sent here.

mod announce;
mod arrive;
mod ask;
mod asked;
mod bits;
mod connection;
mod event;
mod have;
mod letter;
mod path;
mod peer;
mod push;
mod receive;
mod reorg;
mod seek;
mod serve;
mod settle;
mod time;
mod trust;
mod wants;
mod window;

pub use connection::{Connection, ConnectionError, ConnectionEvent};
pub use event::{Event, Misbehaviour, PeerId, WantId};
pub use letter::Letter;
pub use peer::Traffic;
pub use wants::Order;

use crate::wire::Message;
use crate::{Durability, Log, Storage};
use arrive::Arrived;
use bits::{Bits, Fill};
use bytes::Bytes;
use peer::Peer;
use reorg::Reorganizing;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;
use wants::Wants;

/// How a log replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Follow the longest peer without being asked.
    pub eager_upgrade: bool,
    /// Follow peers into a newer fork, which gives up blocks after the cut.
    pub allow_fork: bool,
    /// Take blocks that were not asked for.
    pub allow_push: bool,
    /// How blocks from peers are stored.
    pub durability: Durability,
}

impl Default for Options {
    fn default() -> Self {
        Options { eager_upgrade: true, allow_fork: true, allow_push: false, durability: Durability::Relaxed }
    }
}

/// One log and all peers that it has at the moment. It sits beside the log, under the same lock.
///
/// All times are since one moment of the caller's choosing.
#[derive(Debug)]
pub struct Replicator {
    options: Options,
    peers: BTreeMap<PeerId, Peer>,
    last_peer: u64,
    wants: Wants,
    last_want: u64,
    /// Blocks that some peer has been asked for.
    in_flight: Bits,
    /// Some of the tree nodes that the log holds: those that came while it was open.
    known: Bits,
    arrived: Arrived,
    /// Who was asked for a longer tree.
    upgrading: Option<PeerId>,
    reorganizing: Option<Reorganizing>,
    /// Storage refused: nothing is asked for.
    halted: bool,
    /// Its owner signed two trees of one fork: nothing is asked for, and only the proof of that is sent.
    frozen: bool,
    ready: VecDeque<PeerId>,
    events: VecDeque<Event>,
}

impl Replicator {
    /// Without peers.
    pub fn new(options: Options) -> Self {
        Replicator {
            options,
            peers: BTreeMap::new(),
            last_peer: 0,
            wants: Wants::default(),
            last_want: 0,
            in_flight: Bits::default(),
            known: Bits::default(),
            arrived: Arrived::default(),
            upgrading: None,
            reorganizing: None,
            halted: false,
            frozen: false,
            ready: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A channel has opened on both sides; `seeks` is what the other side's handshake says.
    pub fn join<S: Storage>(&mut self, seeks: bool, now: Duration, log: &Log<S>) -> PeerId {
        self.last_peer += 1;
        let id = PeerId(self.last_peer);
        let mut peer = Peer::new(seeks, log.fork(), now);
        peer.announcements.greet(log);
        self.peers.insert(id, peer);
        self.wake(id);
        id
    }

    /// A channel has closed: what its peer was asked for is asked of others. What it sent until then still counts.
    pub fn leave(&mut self, id: PeerId) {
        self.take_back(id);
        self.peers.remove(&id);
        self.wake_all();
    }

    /// The next message for a peer. When there is none, nothing will come until [`poll_ready`](Self::poll_ready)
    /// names the peer again.
    pub fn poll<S: Storage>(&mut self, id: PeerId, now: Duration, log: &Log<S>) -> Option<Message> {
        let peer = self.peers.get_mut(&id)?;
        if std::mem::take(&mut peer.sync_due) {
            return Some(self.sync(id, log));
        }
        if let Some(message) = peer.outbox.pop_front() {
            return Some(message);
        }
        if let Some(message) = peer.announcements.next(log) {
            return Some(message);
        }
        if let Some(message) = self.ask(id, now, log) {
            return Some(message);
        }
        self.serve(id, log)
    }

    /// A peer that may have something to send now.
    pub fn poll_ready(&mut self) -> Option<PeerId> {
        let id = self.ready.pop_front()?;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.ready = false;
        }
        Some(id)
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// This side appended blocks up to `log.length()`; before, there were `from`.
    pub fn appended<S: Storage>(&mut self, from: u64, log: &Log<S>) {
        self.changed(log);
        self.tell_came(from..log.length(), log);
        self.push_new(from..log.length(), log.fork());
    }

    /// This side cut the log from `from` blocks to `log.length()`.
    pub fn truncated<S: Storage>(&mut self, from: u64, log: &Log<S>) {
        self.forget_tree();
        for peer in self.peers.values_mut() {
            peer.announcements.went(log.length(), from);
            peer.pushed = peer.pushed.min(log.length());
        }
        for part in self.wants.spans.iter_mut().flat_map(|span| &mut span.parts) {
            part.cursor = part.cursor.min(log.length()).max(part.start.min(log.length()));
            part.start = part.start.min(log.length());
        }
        self.changed(log);
    }

    /// This side gave up the bodies of blocks.
    pub fn cleared<S: Storage>(&mut self, blocks: Range<u64>, log: &Log<S>) {
        let end = blocks.end.min(log.length());
        for peer in self.peers.values_mut() {
            peer.announcements.went(blocks.start, end);
            peer.ask_have_anew();
        }
        self.wake_all();
    }

    /// Goes on after [`Event::Halted`].
    pub fn resume(&mut self) {
        self.halted = false;
        self.wake_all();
    }

    /// Sends a message of an extension to a peer.
    pub fn send_extension(&mut self, id: PeerId, name: &str, message: Bytes) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let last = &mut peer.last_extension.sent;
        let name = if last == name {
            String::new()
        } else {
            name.clone_into(last);
            name.to_owned()
        };
        peer.outbox.push_back(Message::Extension { name, message });
        self.wake(id);
    }

    /// Everyone that the log replicates with.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// What went to and came from a peer.
    pub fn traffic(&self, id: PeerId) -> Option<Traffic> {
        Some(self.peers.get(&id)?.traffic)
    }

    /// The fork and length that a peer last said it has.
    pub fn remote(&self, id: PeerId) -> Option<(u64, u64)> {
        let remote = self.peers.get(&id)?.remote?;
        Some((remote.fork, remote.length))
    }

    /// Whether no peer is known to have more of the log than is here: each has said what it has, and none is longer or in
    /// a newer fork.
    pub fn is_current<S: Storage>(&self, log: &Log<S>) -> bool {
        self.peers.values().all(|peer| {
            peer.remote
                .is_some_and(|it| it.fork < log.fork() || it.fork == log.fork() && it.length <= log.length())
        })
    }

    /// How many peers say to hold all blocks that are held here, from block `from` on up to the first that is not.
    pub fn holders<S: Storage>(&self, log: &Log<S>, from: u64) -> usize {
        let held = log.next_missing(from);
        let holds = |peer: &&Peer| peer.fork() == log.fork() && peer.have.next_missing(from) >= held;
        self.peers.values().filter(holds).count()
    }

    /// The log's length or fork changed: everyone is told, and asked differently.
    fn changed<S: Storage>(&mut self, log: &Log<S>) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.update_upgrade(id, log);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.sync_due = true;
            }
            self.wake(id);
        }
    }

    fn tell_came<S: Storage>(&mut self, blocks: Range<u64>, log: &Log<S>) {
        for peer in self.peers.values_mut() {
            let same_fork = peer.fork() == log.fork();
            let have = Some(&peer.have).filter(|_| same_fork);
            peer.announcements.came(blocks.start, blocks.end, have, log);
        }
    }

    /// Nodes that were known may be of another tree now.
    fn forget_tree(&mut self) {
        self.known.clear();
        for peer in self.peers.values_mut() {
            peer.coming.clear();
            peer.agrees = None;
            peer.ask_have_anew();
        }
    }

    fn wake(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.ready) {
            peer.ready = true;
            self.ready.push_back(id);
        }
    }

    fn wake_all(&mut self) {
        let Replicator { peers, ready, .. } = self;
        for (id, peer) in peers.iter_mut().filter(|(_, peer)| !peer.ready) {
            peer.ready = true;
            ready.push_back(*id);
        }
    }
}
