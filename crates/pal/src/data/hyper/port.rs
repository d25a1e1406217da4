//! The port where the owner's devices replicate with the pal: TCP on the overlay, Noise and secretstream as npm
//! `core.replicate(socket)` speaks them. Only addresses of the roster's devices are heard; WireGuard vouches for them.

use super::Hyper;
use crate::data::network::Network;
use cloudpal_protocol::inside::{Answer, Question};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};

/// TCP port on the pal's overlay addresses. HyperDHT's nodes use the same number for UDP.
pub const PORT: u16 = 49737;

/// Greetings at the same time.
const GREETINGS: usize = 8;
/// The roster is asked for again after this long.
const FRESH: Duration = Duration::from_secs(2);
/// How often it is looked whether the contents of a drive can be followed.
const LOOK: Duration = Duration::from_secs(3);

/// Serves on both overlay addresses.
pub fn start(hyper: &Hyper, network: &Arc<Network>) {
    let devices = Arc::new(Devices { network: network.clone(), known: Mutex::default() });
    let turns = Arc::new(Semaphore::new(GREETINGS));
    for address in hyper.addresses {
        tokio::spawn(serve(address, hyper.clone(), devices.clone(), turns.clone()));
    }
    tokio::spawn(follow(hyper.clone()));
}

/// Which log holds the contents of a drive is known once its beginning has come.
async fn follow(hyper: Hyper) {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(shelf) = hyper.vault.open_shelf().await {
            let _ = tokio::task::spawn_blocking(move || shelf.follow_contents()).await;
        }
    }
}

async fn serve(address: IpAddr, hyper: Hyper, devices: Arc<Devices>, turns: Arc<Semaphore>) {
    // The address comes back a moment after the interface.
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind((address, PORT)).await {
            loop {
                let Ok((stream, peer)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let Ok(turn) = turns.clone().acquire_owned().await else { return };
                let (hyper, devices) = (hyper.clone(), devices.clone());
                tokio::spawn(async move {
                    greet(stream, peer.ip(), &hyper, &devices).await;
                    drop(turn);
                });
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whoever may not, or comes while the data is locked, finds the connection closed.
async fn greet(stream: TcpStream, peer: IpAddr, hyper: &Hyper, devices: &Devices) {
    if !devices.include(peer).await {
        return;
    }
    let Ok(shelf) = hyper.shelf().await else { return };
    let Ok(stream) = stream.into_std() else { return };
    if stream.set_nonblocking(false).is_ok() {
        // A peer that does not speak the protocol is nobody's problem but its own.
        let _ = tokio::task::spawn_blocking(move || shelf.welcome(stream)).await;
    }
}

/// The addresses of the roster's devices.
struct Devices {
    network: Arc<Network>,
    known: Mutex<Option<(Instant, HashSet<IpAddr>)>>,
}

impl Devices {
    async fn include(&self, address: IpAddr) -> bool {
        let mut known = self.known.lock().await;
        let stale = known.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH);
        if stale && let Answer::Status(status) = self.network.ask(Question::Status).await {
            let both = status.devices.iter().flat_map(|device| [device.v4.into(), device.v6.into()]);
            *known = Some((Instant::now(), both.collect()));
        }
        known.as_ref().is_some_and(|(_, devices)| devices.contains(&address))
    }
}
