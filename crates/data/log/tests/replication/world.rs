//! Some nodes, each with a copy of one log, and the links between them. Bytes take a while; time is a number.

use crate::lie::Liar;
use bytes::Bytes;
use cloudpal_log::replicate::{Connection, ConnectionEvent, Event, Options, Order, PeerId, Replicator};
use cloudpal_log::wire::{ChannelId, Message, Role};
use cloudpal_log::{Create, Durability, KeyPair, Log, MemoryStorage};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Frames that may be on their way in one direction: a socket's buffer.
const IN_FLIGHT: usize = 4;

/// Chance, from a seed.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

pub struct Node {
    pub log: Log<MemoryStorage>,
    pub storage: MemoryStorage,
    pub replicator: Replicator,
    pub events: Vec<Event>,
    pub liar: Option<Liar>,
    /// Messages sent, by kind.
    pub sent: BTreeMap<u64, u64>,
    /// Blocks of data messages that came.
    pub blocks_came: u64,
}

struct Link {
    ends: [End; 2],
    latency: Duration,
}

struct End {
    node: usize,
    connection: Connection,
    channel: Option<ChannelId>,
    /// Frames on their way to the other end, with the time of their arrival.
    frames: VecDeque<(Duration, Bytes)>,
}

pub struct World {
    pub nodes: Vec<Node>,
    links: Vec<Link>,
    pub now: Duration,
    hashes: u8,
}

impl Node {
    fn new(log: Log<MemoryStorage>, storage: MemoryStorage, options: Options) -> Self {
        Node {
            log,
            storage,
            replicator: Replicator::new(options),
            events: Vec::new(),
            liar: None,
            sent: BTreeMap::new(),
            blocks_came: 0,
        }
    }

    pub fn append(&mut self, blocks: &[Bytes]) {
        let from = self.log.length();
        self.log.append(blocks, Durability::Relaxed).unwrap();
        self.replicator.appended(from, &self.log);
    }

    pub fn truncate(&mut self, length: u64) {
        let from = self.log.length();
        self.log.truncate(length, None, Durability::Relaxed).unwrap();
        self.replicator.truncated(from, &self.log);
    }

    pub fn clear(&mut self, start: u64, end: u64) {
        if self.log.clear(start..end, Durability::Relaxed).is_err() {
            return;
        }
        self.replicator.cleared(start..end, &self.log);
    }

    pub fn want_all(&mut self) {
        self.replicator.want(0..u64::MAX, Order::Linear, &self.log);
    }

    pub fn is_whole(&self) -> bool {
        self.log.contiguous_length() == self.log.length()
    }
}

impl World {
    /// A writer and `copies` empty copies.
    pub fn new(copies: usize, options: Options) -> Self {
        let key_pair = KeyPair::from_seed(&[5; 32]);
        let storage = MemoryStorage::new();
        let log = Log::create(storage.clone(), Create::single(key_pair.public_key())).unwrap();
        let log = log.with_key_pair(key_pair);
        let key = *log.key();
        let mut nodes = vec![Node::new(log, storage, options)];
        for _ in 0..copies {
            let storage = MemoryStorage::new();
            let log = Log::create(storage.clone(), Create::remote(key)).unwrap();
            nodes.push(Node::new(log, storage, options));
        }
        World { nodes, links: Vec::new(), now: Duration::ZERO, hashes: 0 }
    }

    pub fn connect(&mut self, a: usize, b: usize, latency: Duration) {
        self.hashes = self.hashes.wrapping_add(1);
        let end = |node, role| End {
            node,
            connection: Connection::new(role, [self.hashes; 64]),
            channel: None,
            frames: VecDeque::new(),
        };
        let mut link = Link { ends: [end(a, Role::Initiator), end(b, Role::Responder)], latency };
        // One side opens the log by itself, the other when it is asked for it.
        let key = *self.nodes[a].log.key();
        link.ends[0].connection.open(&key);
        self.links.push(link);
    }

    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Cuts a link; what was on its way is lost.
    pub fn cut(&mut self, link: usize) {
        let link = self.links.swap_remove(link);
        for end in link.ends {
            if let Some(peer) = end.peer() {
                self.nodes[end.node].replicator.leave(peer);
            }
        }
    }

    pub fn connected(&self, a: usize, b: usize) -> bool {
        self.links.iter().any(|link| {
            let ends = [link.ends[0].node, link.ends[1].node];
            ends == [a, b] || ends == [b, a]
        })
    }

    /// The peer that `other` is to `node`.
    pub fn peer(&self, node: usize, other: usize) -> Option<PeerId> {
        self.links.iter().find_map(|link| {
            let [a, b] = &link.ends;
            match (a.node, b.node) {
                (x, y) if (x, y) == (node, other) => a.peer(),
                (x, y) if (x, y) == (other, node) => b.peer(),
                _ => None,
            }
        })
    }

    /// Lets a millisecond pass.
    pub fn step(&mut self) {
        self.now += Duration::from_millis(1);
        for link in 0..self.links.len() {
            for side in 0..2 {
                self.deliver(link, side);
            }
        }
        for node in &mut self.nodes {
            node.replicator.settle(self.now, &mut node.log);
            if node.replicator.poll_timeout().is_some_and(|at| at <= self.now) {
                node.replicator.handle_timeout(self.now);
            }
            node.events.extend(std::iter::from_fn(|| node.replicator.poll_event()));
            while node.replicator.poll_ready().is_some() {}
        }
        for link in &mut self.links {
            for side in 0..2 {
                link.fill(side, &mut self.nodes, self.now);
            }
        }
    }

    /// Steps until `done`, or fails after `limit` of simulated time.
    pub fn run_until(&mut self, limit: Duration, what: &str, done: impl Fn(&World) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.now < end, "after {limit:?} there is still no {what}: {}", self.state());
            self.step();
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Every honest node has what the first one has. Who lies may keep others from helping it.
    pub fn all_equal(&self) -> bool {
        let first = &self.nodes[0].log;
        self.honest().all(|(_, node)| {
            let log = &node.log;
            (log.fork(), log.length(), log.tree_hash()) == (first.fork(), first.length(), first.tree_hash())
                && node.is_whole()
        })
    }

    fn honest(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.liar.is_none())
    }

    /// Fails unless all honest nodes have the same blocks.
    pub fn assert_same_blocks(&self) {
        let first = &self.nodes[0].log;
        for (number, node) in self.honest() {
            for block in 0..first.length() {
                let (ours, theirs) = (node.log.get(block).unwrap(), first.get(block).unwrap());
                assert!(ours.is_some() && ours == theirs, "node {number}, block {block}");
            }
        }
    }

    pub fn state(&self) -> String {
        let node = |node: &Node| {
            let log = &node.log;
            format!("fork {} length {} contiguous {}", log.fork(), log.length(), log.contiguous_length())
        };
        self.nodes.iter().map(node).collect::<Vec<_>>().join("; ")
    }

    fn deliver(&mut self, link: usize, side: usize) {
        let Link { ends, .. } = &mut self.links[link];
        let [a, b] = ends;
        let (from, to) = if side == 0 { (a, b) } else { (b, a) };
        while from.frames.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, frame)) = from.frames.pop_front() else { break };
            to.connection.handle_frame(&frame).unwrap();
            while let Some(event) = to.connection.poll_event().unwrap() {
                to.handle(event, &mut self.nodes[to.node], self.now);
            }
        }
    }
}

impl End {
    fn peer(&self) -> Option<PeerId> {
        self.connection.peer(self.channel?)
    }

    fn handle(&mut self, event: ConnectionEvent, node: &mut Node, now: Duration) {
        match event {
            ConnectionEvent::Wanted { discovery_key } => {
                assert_eq!(discovery_key, *node.log.discovery_key());
                self.connection.open(node.log.key());
            }
            ConnectionEvent::Opened { channel, seeks } => {
                let peer = node.replicator.join(seeks, now, &node.log);
                self.connection.set_peer(channel, peer);
                self.channel = Some(channel);
            }
            ConnectionEvent::Message { channel, message } => {
                if let Message::Data(data) = &message {
                    node.blocks_came += u64::from(data.proof.block.is_some());
                }
                let Some(peer) = self.connection.peer(channel) else { return };
                node.replicator.receive(peer, message, now, &mut node.log);
            }
            ConnectionEvent::Closed { peer, .. } => {
                self.channel = None;
                if let Some(peer) = peer {
                    node.replicator.leave(peer);
                }
            }
            ConnectionEvent::Foreign(event) => panic!("nobody sends {event:?}"),
        }
    }
}

impl Link {
    /// Puts frames on their way as long as there is room.
    fn fill(&mut self, side: usize, nodes: &mut [Node], now: Duration) {
        let other = self.ends[1 - side].node;
        let end = &mut self.ends[side];
        let node = &mut nodes[end.node];
        while end.frames.len() < IN_FLIGHT {
            let mut out = Vec::new();
            if !end.connection.poll_control(&mut out) {
                let Some((channel, peer)) = end.channel.zip(end.peer()) else { return };
                let mut frame = end.connection.frame(&mut out);
                while !frame.is_full() {
                    let Some(message) = node.replicator.poll(peer, now, &node.log) else { break };
                    *node.sent.entry(message.kind()).or_default() += 1;
                    let message = match &mut node.liar {
                        Some(liar) => liar.twist(message),
                        None => Some(message),
                    };
                    if let Some(message) = message {
                        trace(now, [end.node, other], &message);
                        frame.push(channel, &message);
                    }
                }
            }
            if out.is_empty() {
                return;
            }
            end.frames.push_back((now + self.latency, Bytes::from(out)));
        }
    }
}

impl World {
    pub fn writer_and_first_equal(&self) -> bool {
        let [a, b] = [&self.nodes[0].log, &self.nodes[1].log];
        (a.fork(), a.length(), a.tree_hash()) == (b.fork(), b.length(), b.tree_hash())
            && self.nodes[1].is_whole()
    }
}

/// With `TRACE` set a run tells every message, for finding out what went wrong in a seed.
fn trace(now: Duration, [from, to]: [usize; 2], message: &Message) {
    if std::env::var_os("TRACE").is_some() {
        let text: String = format!("{message:?}").chars().take(230).collect();
        eprintln!("T {now:?} {from}->{to} {text}");
    }
}
