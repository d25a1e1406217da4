//! The one task that decides: what to announce, to look up and to dial, and which connections to keep.

use crate::board::Board;
use crate::carry::{self, Arrived};
use crate::door::Door;
use crate::peers::Peers;
use crate::schedule::chance;
use crate::topics::Topics;
use crate::{Key, Part, SwarmOptions};
use cloudpal_log::wire::Role;
use cloudpal_store::{Connection, Store};
use libudx::{RuntimeHandle, UdxRuntime};
use peeroxide_dht::crypto::hash;
use peeroxide_dht::hyperdht::{HyperDhtHandle, KeyPair, PeerConnection, ServerEvent};
use peeroxide_dht::messages::Ipv4Peer;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Dials at a time, and how long one may take: punching alone takes up to 30 seconds.
const DIALS: usize = 4;
const DIAL: Duration = Duration::from_secs(45);
/// Questions to the table at a time, and how long one may take.
const QUESTIONS: usize = 8;
const QUESTION: Duration = Duration::from_secs(30);
/// Peers that one look-up may lead to.
const FOUND: usize = 128;
/// How long it is known where we can be reached.
const KNOWN: Duration = Duration::from_secs(300);
/// Two peers that dial each other meet twice within this time; both sides keep the same one of the two connections.
/// Later, a second connection means that the other side has lost the first.
const MEETING: Duration = Duration::from_secs(3);
/// The loop looks at the clock at least this often.
const LOOK: Duration = Duration::from_secs(5);
/// How long taking announcements back may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// What the actor is told.
pub(crate) enum Event {
    Join(Key, Part),
    Leave(Key),
    /// Each topic with what went wrong.
    Announced(Vec<(Key, Option<String>)>),
    LookedUp(Vec<(Key, Found)>),
    Dialled(Key, Result<Box<PeerConnection>, String>),
    Arrived(Box<Arrived>),
    Ended(Key, u64),
    Close(mpsc::Sender<()>),
}

/// Nodes that know where a peer is.
pub(crate) type Route = Vec<Ipv4Peer>;

/// Whom a look-up led to, or what went wrong.
type Found = Result<Vec<(Key, Route)>, String>;

pub(crate) struct Actor {
    dht: HyperDhtHandle,
    runtime: Arc<RuntimeHandle>,
    pair: KeyPair,
    store: Store,
    options: SwarmOptions,
    board: Arc<Board>,
    to: UnboundedSender<Event>,
    door: Door,
    topics: Topics,
    peers: Peers<Route>,
    live: BTreeMap<Key, Live>,
    /// Counts connections, so that the end of an old one is not taken for that of a new one.
    numbers: u64,
    announcing: bool,
    looking: bool,
    dialling: usize,
    /// Until when nodes know where we are.
    known_until: Duration,
    started: Instant,
}

struct Live {
    connection: Connection,
    since: Duration,
    number: u64,
}

impl Actor {
    pub(crate) fn new(
        dht: HyperDhtHandle,
        udx: UdxRuntime,
        pair: KeyPair,
        store: Store,
        options: SwarmOptions,
        board: Arc<Board>,
        to: UnboundedSender<Event>,
    ) -> Self {
        let runtime = udx.handle();
        let access = options.access.clone();
        let door = Door::new(pair.clone(), dht.clone(), Arc::clone(&runtime), access, to.clone());
        Actor {
            dht,
            runtime,
            pair,
            store,
            options,
            board,
            to,
            door,
            topics: Topics::default(),
            peers: Peers::new(),
            live: BTreeMap::new(),
            numbers: 0,
            announcing: false,
            looking: false,
            dialling: 0,
            known_until: Duration::ZERO,
            started: Instant::now(),
        }
    }

    /// Until it is told to close.
    pub(crate) async fn run(
        mut self,
        mut events: UnboundedReceiver<Event>,
        mut knocks: UnboundedReceiver<ServerEvent>,
    ) {
        loop {
            self.begin_what_is_due();
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Close(done)) => {
                        self.close().await;
                        // Nobody waits any more when this fails.
                        let _told = done.send(());
                        return;
                    }
                    Some(event) => self.handle(event),
                    None => return,
                },
                Some(knock) = knocks.recv() => self.door.answer(knock),
                () = sleep(self.pause()) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Until the next turn. What is overdue waits for something else to end, and that is told.
    fn pause(&self) -> Duration {
        let now = self.now();
        let next = self.topics.next().into_iter().chain(self.peers.next()).filter(|at| *at > now).min();
        next.map_or(LOOK, |at| (at - now).min(LOOK))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Join(topic, part) => self.join(topic, part),
            Event::Leave(topic) => self.leave(topic),
            Event::Announced(topics) => self.announced(topics),
            Event::LookedUp(topics) => self.looked_up(topics),
            Event::Dialled(key, result) => self.dialled(key, result),
            Event::Arrived(arrived) => self.arrived(*arrived),
            Event::Ended(key, number) => self.ended(key, number),
            // The loop deals with it.
            Event::Close(_) => {}
        }
    }

    fn begin_what_is_due(&mut self) {
        let now = self.now();
        if !self.announcing {
            let topics = self.topics.take_announcements(now);
            self.announcing = !topics.is_empty();
            if self.announcing {
                let unknown = now >= self.known_until;
                let announce = announce(self.dht.clone(), self.pair.clone(), topics, unknown);
                self.start(async move { Event::Announced(announce.await) });
            }
        }
        if !self.looking {
            let topics = self.topics.take_look_ups(now);
            self.looking = !topics.is_empty();
            if self.looking {
                let look_up = look_up(self.dht.clone(), topics);
                self.start(async move { Event::LookedUp(look_up.await) });
            }
        }
        let room = self.options.connections.saturating_sub(self.live.len() + self.dialling);
        for (key, route) in self.peers.take_dials(now, room.min(DIALS.saturating_sub(self.dialling))) {
            self.dialling += 1;
            let (dht, pair) = (self.dht.clone(), self.pair.clone());
            let udx = UdxRuntime::shared(Arc::clone(&self.runtime));
            self.start(async move {
                let result = timeout(DIAL, dht.connect_with_nodes(&pair, key, &route, &udx)).await;
                let result = match result {
                    Ok(result) => result.map(Box::new).map_err(|error| error.to_string()),
                    Err(_) => Err(format!("no connection within {} s", DIAL.as_secs())),
                };
                Event::Dialled(key, result)
            });
        }
    }

    /// Runs `work` beside the loop, which hears what came of it.
    fn start(&self, work: impl Future<Output = Event> + Send + 'static) {
        let to = self.to.clone();
        tokio::spawn(async move {
            // The swarm was closed meanwhile when this fails.
            let _told = to.send(work.await);
        });
    }

    fn join(&mut self, topic: Key, part: Part) {
        self.topics.join(topic, part, self.now());
        if part.serves() {
            self.dht.register_server(&hash(&self.pair.public_key));
        }
        self.board.note(&topic, |_| {});
    }

    fn leave(&mut self, topic: Key) {
        if self.topics.leave(&topic).is_some_and(Part::serves) {
            let (dht, pair) = (self.dht.clone(), self.pair.clone());
            // Nodes forget it by themselves if they do not hear this.
            tokio::spawn(async move { timeout(QUESTION, dht.unannounce(topic, &pair)).await });
            if self.topics.served().is_empty() {
                self.dht.unregister_server(&hash(&self.pair.public_key));
            }
        }
        self.peers.leave(&topic);
        self.board.forget(&topic);
    }

    fn announced(&mut self, topics: Vec<(Key, Option<String>)>) {
        self.announcing = false;
        let now = self.now();
        if topics.iter().any(|(_, trouble)| trouble.is_none()) && now >= self.known_until {
            self.known_until = now + KNOWN;
        }
        let served = self.topics.served();
        for (topic, trouble) in topics.into_iter().filter(|(topic, _)| served.contains(topic)) {
            self.topics.announced(&topic, trouble.is_none(), now, chance());
            self.board.note(&topic, |standing| {
                standing.announced = trouble.is_none();
                standing.trouble = trouble;
            });
        }
    }

    fn looked_up(&mut self, topics: Vec<(Key, Found)>) {
        self.looking = false;
        let now = self.now();
        for (topic, result) in topics {
            if !self.topics.is_sought(&topic) {
                continue;
            }
            let trouble = result.as_ref().err().cloned();
            for (key, route) in result.unwrap_or_default() {
                if key != self.pair.public_key && self.options.access.allows(&key) {
                    self.peers.found(key, topic, route, now);
                    if self.live.contains_key(&key) {
                        self.peers.connected(&key);
                    }
                }
            }
            let connected = self.peers.of(&topic).any(|key| self.live.contains_key(key));
            self.topics.looked_up(&topic, connected, now, chance());
            self.board.note(&topic, |standing| {
                standing.look_ups += 1;
                standing.trouble = trouble.or(standing.trouble.take());
            });
            self.tell(&topic);
        }
    }

    fn dialled(&mut self, key: Key, result: Result<Box<PeerConnection>, String>) {
        self.dialling -= 1;
        match result {
            Ok(connection) => {
                let remote_address = connection.remote_addr;
                self.arrived(Arrived { connection: *connection, role: Role::Initiator, remote_address });
            }
            Err(error) => {
                tracing::debug!(%error, "a peer was not reached");
                if !self.live.contains_key(&key) {
                    let topics = self.peers.topics(&key);
                    self.peers.lost(&key, Duration::ZERO, self.now(), chance());
                    for topic in topics {
                        self.board.note(&topic, |standing| standing.trouble = Some(error.clone()));
                        self.tell(&topic);
                    }
                }
            }
        }
    }

    /// Keeps a connection and hands it to the store, or declines it.
    fn arrived(&mut self, arrived: Arrived) {
        let key = arrived.connection.remote_public_key;
        let now = self.now();
        let keep = match self.live.get(&key) {
            Some(old) => {
                let expected = self.pair.public_key > key;
                let meeting = now - old.since < MEETING && !old.connection.is_closed();
                !meeting || expected == (arrived.role == Role::Initiator)
            }
            None => self.live.len() < self.options.connections,
        };
        if !keep || key == self.pair.public_key {
            tokio::spawn(carry::decline(arrived.connection));
            return;
        }
        match carry::attach(&self.store, arrived) {
            Ok((connection, pump)) => {
                self.numbers += 1;
                let number = self.numbers;
                self.start(async move {
                    pump.await;
                    Event::Ended(key, number)
                });
                if let Some(old) = self.live.insert(key, Live { connection, since: now, number }) {
                    old.connection.close();
                }
                self.peers.connected(&key);
                self.tell_of(&key);
            }
            Err(error) => tracing::warn!(%error, "a peer's connection cannot be used"),
        }
    }

    fn ended(&mut self, key: Key, number: u64) {
        let now = self.now();
        // An old one that a new one took the place of is not missed.
        if self.live.get(&key).is_some_and(|live| live.number == number)
            && let Some(live) = self.live.remove(&key)
        {
            live.connection.close();
            let topics = self.peers.topics(&key);
            self.peers.lost(&key, now - live.since, now, chance());
            self.tell_of(&key);
            topics.iter().for_each(|topic| self.tell(topic));
        }
    }

    /// Tells callers how it stands with the topics that led to a peer.
    fn tell_of(&self, key: &Key) {
        self.board.show(self.live.values().map(|live| live.connection.clone()).collect());
        self.peers.topics(key).iter().for_each(|topic| self.tell(topic));
    }

    fn tell(&self, topic: &Key) {
        let (mut found, mut connected) = (0, 0);
        for key in self.peers.of(topic) {
            found += 1;
            connected += usize::from(self.live.contains_key(key));
        }
        self.board.note(topic, |standing| (standing.found, standing.connected) = (found, connected));
    }

    /// Ends all connections and takes back what was announced.
    async fn close(&mut self) {
        self.live.values().for_each(|live| live.connection.close());
        let served = self.topics.served();
        let mut goodbyes = JoinSet::new();
        let ourselves = (!served.is_empty()).then(|| hash(&self.pair.public_key));
        for topic in served.into_iter().chain(ourselves) {
            let (dht, pair) = (self.dht.clone(), self.pair.clone());
            goodbyes.spawn(async move { dht.unannounce(topic, &pair).await });
        }
        // Nodes forget by themselves what they do not hear.
        let _heard = timeout(GOODBYE, goodbyes.join_all()).await;
        let _ended = self.dht.destroy().await;
    }
}

/// Tells the table where we are, unless it knows, and then each topic; gives what went wrong with each.
async fn announce(
    dht: HyperDhtHandle,
    pair: KeyPair,
    topics: Vec<Key>,
    unknown: bool,
) -> Vec<(Key, Option<String>)> {
    let here =
        if unknown { announce_one(dht.clone(), pair.clone(), hash(&pair.public_key)).await } else { None };
    if here.is_some() {
        return topics.into_iter().map(|topic| (topic, here.clone())).collect();
    }
    each(topics, |topic| announce_one(dht.clone(), pair.clone(), topic)).await
}

async fn announce_one(dht: HyperDhtHandle, pair: KeyPair, topic: Key) -> Option<String> {
    let nodes = dht.current_relay_addresses();
    // Where we are is not to be asked of nodes that learn it just now.
    let nodes = if topic == hash(&pair.public_key) { &[] } else { &nodes[..] };
    match timeout(QUESTION, dht.announce(topic, &pair, nodes)).await {
        Ok(Ok(result)) if result.closest_nodes.is_empty() => Some("no node took the announcement".into()),
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no node answered within {} s", QUESTION.as_secs())),
    }
}

/// Asks the table who announced each topic.
async fn look_up(dht: HyperDhtHandle, topics: Vec<Key>) -> Vec<(Key, Found)> {
    each(topics, |topic| look_up_one(dht.clone(), topic)).await
}

async fn look_up_one(dht: HyperDhtHandle, topic: Key) -> Found {
    match timeout(QUESTION, dht.lookup(topic)).await {
        Ok(Ok(results)) => {
            let peers = results.into_iter().flat_map(|result| result.peers);
            // Several nodes tell of the same peer; whichever knows its nodes is the one to believe.
            let mut found = BTreeMap::<Key, Route>::new();
            for peer in peers {
                let route = found.entry(peer.public_key).or_default();
                if route.is_empty() {
                    *route = peer.relay_addresses;
                }
            }
            Ok(found.into_iter().take(FOUND).collect())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no node answered within {} s", QUESTION.as_secs())),
    }
}

/// Asks about each topic, several at a time.
async fn each<T, F>(topics: Vec<Key>, ask: impl Fn(Key) -> F) -> Vec<(Key, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut answers = Vec::new();
    for some in topics.chunks(QUESTIONS) {
        let mut asked = JoinSet::new();
        for &topic in some {
            let answer = ask(topic);
            asked.spawn(async move { (topic, answer.await) });
        }
        answers.extend(asked.join_all().await);
    }
    answers
}
