//! Between a connection of the table and a store: the one is asynchronous, the other has threads.

use bytes::Bytes;
use cloudpal_log::wire::Role;
use cloudpal_store::{Carrier, Connection, FrameSink, FrameSource, Offer, Store};
use peeroxide_dht::hyperdht::PeerConnection;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Bytes that a peer may be ahead of the store. The transport cannot be told to wait, and nobody is asked for so much
/// at once, so whoever sends more is cut off.
const AHEAD: usize = 64 << 20;
/// Frames that may wait to be sent.
const WAITING: usize = 2;
/// How long a peer may take none of what is sent. Something is sent at least every five seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A peer that is there, greeted and encrypted.
pub(crate) struct Arrived {
    pub connection: PeerConnection,
    pub role: Role,
    pub remote_address: Option<SocketAddr>,
}

/// Hands a connection to the store. What is given back beside it runs the connection, and ends with it.
pub(crate) fn attach(
    store: &Store,
    arrived: Arrived,
) -> io::Result<(Connection, impl Future<Output = ()> + Send + 'static)> {
    let Arrived { connection, role, remote_address } = arrived;
    let (remote_key, hash) = (connection.remote_public_key, *connection.stream.handshake_hash());
    let (to_store, from_peer) = mpsc::channel();
    let (to_peer, from_store) = tokio::sync::mpsc::channel(WAITING);
    let (ahead, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let pump =
        pump(connection, Ways { to_store, from_store, ahead: Arc::clone(&ahead), stop: Arc::clone(&stop) });
    let carrier = Carrier {
        role,
        hash,
        remote_key,
        remote_address,
        // Whoever looked for one log is told of no other.
        offer: if role == Role::Initiator { Offer::Open } else { Offer::Nothing },
        source: Box::new(Incoming { from_peer, ahead }),
        sink: Box::new(Outgoing(to_peer)),
        hang_up: Box::new(move || stop.notify_one()),
    };
    Ok((store.attach(carrier)?, pump))
}

/// Ends a connection that is not wanted, so that the peer need not find out by waiting.
pub(crate) async fn decline(mut connection: PeerConnection) {
    // A peer that does not hear it notices by itself.
    let _goodbye = timeout(GOODBYE, connection.stream.shutdown()).await;
}

struct Ways {
    to_store: mpsc::Sender<Bytes>,
    from_store: tokio::sync::mpsc::Receiver<Vec<u8>>,
    ahead: Arc<AtomicUsize>,
    stop: Arc<Notify>,
}

async fn pump(connection: PeerConnection, ways: Ways) {
    // The socket lives as long as the connection.
    let PeerConnection { stream, socket: _socket, .. } = connection;
    let Ways { to_store, mut from_store, ahead, stop } = ways;
    let (mut read, mut write) = stream.into_split();
    let receive = async {
        while let Ok(Some(frame)) = read.read().await {
            let before = ahead.fetch_add(frame.len(), Ordering::AcqRel);
            if before + frame.len() > AHEAD {
                tracing::debug!("a peer sends more than it is asked for");
                return;
            }
            if to_store.send(frame.into()).is_err() {
                return;
            }
        }
    };
    let send = async {
        while let Some(frame) = from_store.recv().await {
            if !matches!(timeout(SILENCE, write.write(&frame)).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    tokio::select! {
        () = receive => {}
        () = send => {}
        () = stop.notified() => {}
    }
    let _goodbye = timeout(GOODBYE, write.shutdown()).await;
}

struct Incoming {
    from_peer: mpsc::Receiver<Bytes>,
    ahead: Arc<AtomicUsize>,
}

impl FrameSource for Incoming {
    fn receive(&mut self, frames: &mut Vec<Bytes>) -> io::Result<()> {
        let before = frames.len();
        frames.push(self.from_peer.recv().map_err(|_| io::ErrorKind::UnexpectedEof)?);
        frames.extend(self.from_peer.try_iter());
        let taken = frames[before..].iter().map(Bytes::len).sum();
        self.ahead.fetch_sub(taken, Ordering::AcqRel);
        Ok(())
    }
}

struct Outgoing(tokio::sync::mpsc::Sender<Vec<u8>>);

impl FrameSink for Outgoing {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.blocking_send(frame.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
