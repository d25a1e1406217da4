//! Making a way through our own address translation, for a peer that asked for it through a node of the table.

use libudx::{RuntimeHandle, UdxRuntime, UdxSocket};
use peeroxide_dht::holepuncher::Holepuncher;
use peeroxide_dht::hyperdht::HyperDhtHandle;
use peeroxide_dht::hyperdht_messages::{
    ERROR_NONE, HolepunchMessage, HolepunchPayload, MODE_FROM_RELAY, MODE_FROM_SECOND_RELAY,
    MODE_FROM_SERVER, MODE_REPLY, encode_holepunch_msg_to_bytes,
};
use peeroxide_dht::messages::Ipv4Peer;
use peeroxide_dht::secure_payload::SecurePayload;
use peeroxide_dht::socket_pool::SocketPool;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Where sockets are bound for punching.
const ANYWHERE: &str = "0.0.0.0";

/// A socket of its own whose address, as others see it, is known.
pub(crate) struct Hole {
    puncher: Holepuncher,
    pub socket: UdxSocket,
    port: u16,
}

impl Hole {
    /// Opens a socket and asks nodes of the table as what they see it. None if the system or the table does not help.
    pub(crate) async fn open(
        dht: &HyperDhtHandle,
        runtime: &UdxRuntime,
        remote_firewall: u64,
    ) -> Option<Hole> {
        // Who initiates is told by an event when a way is open; on our side the stream's first packet tells.
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let pool = SocketPool::new(ANYWHERE.into());
        let mut puncher =
            Holepuncher::new(&pool, runtime, true, false, remote_firewall, events).await.ok()?;
        puncher.auto_sample(dht.dht()).await;
        let socket = puncher.primary_socket()?.socket.clone();
        let port = socket.local_addr().await.ok()?.port();
        Some(Hole { puncher, socket, port })
    }
}

/// One peer's rounds of asking and punching, until it is through or given up.
pub(crate) struct Punch {
    payload: SecurePayload,
    addresses: Vec<Ipv4Peer>,
    stage: Stage,
}

enum Stage {
    Asking(Box<Holepuncher>),
    Punching(JoinHandle<()>),
    Between,
}

impl Punch {
    pub(crate) fn new(hole: Hole, secret: [u8; 32]) -> Self {
        let addresses = hole.puncher.punch_addresses(hole.port);
        Punch { payload: SecurePayload::new(secret), addresses, stage: Stage::Asking(Box::new(hole.puncher)) }
    }

    /// Answers one round of the peer at `from`; None if it is not of this session.
    pub(crate) fn round(
        &mut self,
        message: &HolepunchMessage,
        from: &Ipv4Peer,
        firewall: u64,
        runtime: &Arc<RuntimeHandle>,
    ) -> Option<Vec<u8>> {
        let theirs = self.payload.decrypt(&message.payload).ok()?;
        if let Stage::Asking(puncher) = &mut self.stage {
            let addresses = theirs.addresses.as_deref().unwrap_or_default();
            puncher.update_remote(theirs.punching, theirs.firewall, addresses, Some(&from.host));
        }
        if theirs.punching {
            self.begin(runtime);
        }
        let ours = HolepunchPayload {
            error: ERROR_NONE,
            firewall,
            round: theirs.round,
            connected: false,
            punching: theirs.punching,
            addresses: Some(self.addresses.clone()),
            remote_address: Some(from.clone()),
            token: Some(self.payload.token(&from.host)),
            remote_token: theirs.token,
        };
        let reply = HolepunchMessage {
            mode: reply_mode(message.mode),
            id: message.id,
            payload: self.payload.encrypt(&ours).ok()?,
            peer_address: Some(from.clone()),
        };
        encode_holepunch_msg_to_bytes(&reply).ok()
    }

    /// Punches, if it has not begun.
    fn begin(&mut self, runtime: &Arc<RuntimeHandle>) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Between) {
            Stage::Asking(mut puncher) => {
                let runtime = UdxRuntime::shared(Arc::clone(runtime));
                Stage::Punching(tokio::spawn(async move {
                    puncher.punch(&SocketPool::new(ANYWHERE.into()), &runtime).await;
                }))
            }
            begun => begun,
        };
    }
}

impl Drop for Punch {
    fn drop(&mut self) {
        match &mut self.stage {
            Stage::Asking(puncher) => puncher.destroy(),
            Stage::Punching(task) => task.abort(),
            Stage::Between => {}
        }
    }
}

/// What came through a node goes back through it.
pub(crate) fn reply_mode(mode: u64) -> u64 {
    match mode {
        MODE_FROM_RELAY | MODE_FROM_SECOND_RELAY => MODE_FROM_SERVER,
        _ => MODE_REPLY,
    }
}
