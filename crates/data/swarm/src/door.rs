//! Answering those who found us on the table and knock.

use crate::actor::Event;
use crate::carry::Arrived;
use crate::punch::{Hole, Punch, reply_mode};
use cloudpal_log::wire::Role;
use cloudpal_store::Access;
use libudx::{RuntimeHandle, UdxRuntime, UdxSocket, UdxStream};
use peeroxide_dht::hyperdht::{HyperDhtHandle, KeyPair, PeerConnection, ServerEvent, alloc_stream_id};
use peeroxide_dht::hyperdht_messages::{
    ERROR_NONE, FIREWALL_CONSISTENT, FIREWALL_RANDOM, FIREWALL_UNKNOWN, HandshakeMessage, HolepunchInfo,
    HolepunchMessage, NoisePayload, RelayInfo, SecretStreamInfo, UdxInfo, encode_handshake_to_bytes,
};
use peeroxide_dht::messages::Ipv4Peer;
use peeroxide_dht::noise::Keypair;
use peeroxide_dht::noise_wrap::{NoiseWrap, NoiseWrapResult};
use peeroxide_dht::secret_stream::SecretStream;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How many may be greeted at a time; more get no answer.
const GREETINGS: usize = 32;
/// How long a peer may take from its first message to its first packet. Punching takes up to ten seconds.
const GREETING: Duration = Duration::from_secs(15);

/// Where others knock.
#[derive(Clone)]
pub(crate) struct Door(Arc<Inner>);

struct Inner {
    pair: KeyPair,
    dht: HyperDhtHandle,
    runtime: Arc<RuntimeHandle>,
    access: Access,
    to: mpsc::UnboundedSender<Event>,
    room: Semaphore,
    punches: Mutex<HashMap<u64, Punch>>,
    next: AtomicU64,
}

/// One socket where a peer's first packet is awaited.
struct Place {
    stream: UdxStream,
    socket: UdxSocket,
    /// Where it came from in the end.
    from: Arc<OnceLock<SocketAddr>>,
}

/// What a greeting made.
struct Greeting {
    answer: Vec<u8>,
    places: Vec<Place>,
    noise: NoiseWrapResult,
}

impl Door {
    pub(crate) fn new(
        pair: KeyPair,
        dht: HyperDhtHandle,
        runtime: Arc<RuntimeHandle>,
        access: Access,
        to: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let room = Semaphore::new(GREETINGS);
        Door(Arc::new(Inner {
            pair,
            dht,
            runtime,
            access,
            to,
            room,
            punches: Mutex::default(),
            next: AtomicU64::new(1),
        }))
    }

    /// Answers without holding up the caller.
    pub(crate) fn answer(&self, event: ServerEvent) {
        let door = Arc::clone(&self.0);
        match event {
            ServerEvent::PeerHandshake { msg, reply_tx, .. } => {
                tokio::spawn(async move { door.greet(&msg, reply_tx).await });
            }
            ServerEvent::PeerHolepunch { msg, peer_address, reply_tx, .. } => {
                tokio::spawn(async move {
                    // Nobody waits for it any more when this fails.
                    let _sent = reply_tx.send(door.punch(&msg, &peer_address).await);
                });
            }
            _ => {}
        }
    }
}

impl Inner {
    /// A whole greeting; `None` is the answer to whoever is not let in.
    async fn greet(&self, message: &HandshakeMessage, reply: oneshot::Sender<Option<Vec<u8>>>) {
        let Ok(_room) = self.room.try_acquire() else {
            let _refused = reply.send(None);
            return;
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(Greeting { answer, places, noise }) = self.handshake(message, id).await else {
            let _refused = reply.send(None);
            return;
        };
        let _sent = reply.send(Some(answer));
        let arrived = timeout(GREETING, first(places, &noise)).await;
        self.lock().remove(&id);
        match arrived {
            // The swarm is closing when the telling fails.
            Ok(Some(arrived)) => drop(self.to.send(Event::Arrived(Box::new(arrived)))),
            Ok(None) => tracing::debug!("a peer that knocked speaks another protocol"),
            Err(_) => tracing::debug!("a peer that knocked did not come in"),
        }
    }

    /// Reads the peer's message and makes ours; None if it is not let in. The session `id` is there for its rounds of
    /// punching, if any.
    async fn handshake(&self, message: &HandshakeMessage, id: u64) -> Option<Greeting> {
        let keys = Keypair { public_key: self.pair.public_key, secret_key: self.pair.secret_key };
        let mut noise = NoiseWrap::new_responder(keys);
        let theirs = noise.recv(&message.noise).ok()?;
        let remote_id = u32::try_from(theirs.udx.as_ref()?.id).ok()?;
        if theirs.error != ERROR_NONE || theirs.version != 1 {
            return None;
        }
        let ways = self.ways().await;
        let hole = match ways.is_empty() {
            true => None,
            false => Hole::open(&self.dht, &self.udx(), theirs.firewall).await,
        };
        // Who shares our network comes straight to the table's own socket, everybody else through the hole.
        let socket = self.dht.server_socket().await.ok()??;
        let port = socket.local_addr().await.ok()?.port();
        let stream_id = alloc_stream_id();
        let mut places = Vec::new();
        for socket in std::iter::once(socket).chain(hole.as_ref().map(|hole| hole.socket.clone())) {
            places.push(self.place(stream_id, remote_id, socket).await?);
        }
        let ours = NoisePayload {
            version: 1,
            error: ERROR_NONE,
            firewall: FIREWALL_UNKNOWN,
            holepunch: hole.is_some().then_some(HolepunchInfo { id, relays: ways }),
            addresses4: self.dht.noise_addresses4(port).await,
            addresses6: Vec::new(),
            udx: Some(UdxInfo { version: 1, reusable_socket: true, id: u64::from(stream_id), seq: 0 }),
            secret_stream: Some(SecretStreamInfo { version: 1 }),
            relay_through: None,
            relay_addresses: None,
        };
        let answer = HandshakeMessage {
            mode: reply_mode(message.mode),
            noise: noise.send(&ours).ok()?,
            peer_address: message.peer_address.clone(),
            relay_address: None,
        };
        let noise = noise.finalize().ok()?;
        if !self.access.allows(&noise.remote_public_key) {
            tracing::debug!("a peer that knocked is not on the list of those who may");
            return None;
        }
        let answer = encode_handshake_to_bytes(&answer).ok()?;
        if let Some(hole) = hole {
            self.lock().insert(id, Punch::new(hole, noise.holepunch_secret));
        }
        Some(Greeting { answer, places, noise })
    }

    /// The nodes through which a peer can agree on punching, if our address is translated: each with our address as it
    /// sees it. None if we can be reached as we are, or nothing is known about it yet.
    async fn ways(&self) -> Vec<RelayInfo> {
        let firewall = self.dht.firewalled().await.unwrap_or(FIREWALL_UNKNOWN);
        if !matches!(firewall, FIREWALL_CONSISTENT | FIREWALL_RANDOM) {
            return Vec::new();
        }
        let Ok(Some(us)) = self.dht.remote_address().await else { return Vec::new() };
        let nodes = self.dht.current_relay_addresses().into_iter();
        nodes.map(|relay_address| RelayInfo { relay_address, peer_address: us.clone() }).collect()
    }

    /// A stream that takes its first packet from wherever it comes: who has the keys will prove it.
    async fn place(&self, stream_id: u32, remote_id: u32, socket: UdxSocket) -> Option<Place> {
        let stream = self.udx().create_stream(stream_id).await.ok()?;
        let from = Arc::new(OnceLock::new());
        let seen = Arc::clone(&from);
        let hook = move |_: &UdxSocket, port, address| seen.set(SocketAddr::new(address, port)).is_ok();
        stream.set_firewall_hook(&socket, remote_id, hook).ok()?;
        Some(Place { stream, socket, from })
    }

    async fn punch(&self, message: &HolepunchMessage, from: &Ipv4Peer) -> Option<Vec<u8>> {
        let firewall = self.dht.firewalled().await.unwrap_or(FIREWALL_UNKNOWN);
        self.lock().get_mut(&message.id)?.round(message, from, firewall, &self.runtime)
    }

    fn udx(&self) -> UdxRuntime {
        UdxRuntime::shared(Arc::clone(&self.runtime))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Punch>> {
        self.punches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits at all places for a peer with the right keys, and takes the first that comes.
async fn first(places: Vec<Place>, noise: &NoiseWrapResult) -> Option<Arrived> {
    let mut opening = JoinSet::new();
    for Place { stream, socket, from } in places {
        let NoiseWrapResult { tx, rx, handshake_hash, remote_public_key, .. } = *noise;
        let stream = stream.into_async_stream();
        opening.spawn(async move {
            let stream = SecretStream::from_session(false, stream, tx, rx, handshake_hash, remote_public_key);
            let connection = PeerConnection::new(stream.await.ok()?, remote_public_key, socket, None);
            let remote_address = from.get().copied();
            Some(Arrived { connection, role: Role::Responder, remote_address })
        });
    }
    while let Some(opened) = opening.join_next().await {
        if let Ok(Some(arrived)) = opened {
            return Some(arrived);
        }
    }
    None
}
