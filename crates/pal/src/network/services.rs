//! What the pal serves on its overlay addresses besides the page: names (port 53) and echo (port 7).

use super::dns::{self, Zone};
use super::echo::Echo;
use cloudpal_protocol::inside::EchoCount;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UdpSocket;

const ECHO_PORT: u16 = 7;

/// Running services. They go on through sleep.
pub struct Services {
    zone: Arc<dns::Shared>,
    echo: Arc<Mutex<Echo>>,
}

impl Services {
    /// Starts them on the zone's overlay addresses.
    pub fn start(zone: Zone, resolvers: Vec<SocketAddr>) -> Self {
        let hub = zone.overlay.hub();
        let services = Services { zone: Arc::new(dns::Shared::new(zone, resolvers)), echo: Arc::default() };
        for address in [IpAddr::V4(hub.v4), IpAddr::V6(hub.v6)] {
            tokio::spawn(dns::serve_udp(address, services.zone.clone()));
            tokio::spawn(dns::serve_tcp(address, services.zone.clone()));
            tokio::spawn(serve_echo(address, services.echo.clone()));
        }
        services
    }

    /// Answers by this roster from now on.
    pub fn set_zone(&self, zone: Zone) {
        self.zone.set(zone);
    }

    /// What the echo service counted for a run.
    pub fn echoed(&self, run: [u8; 8]) -> EchoCount {
        self.echo.lock().unwrap_or_else(PoisonError::into_inner).of(run)
    }
}

async fn serve_echo(address: IpAddr, echo: Arc<Mutex<Echo>>) {
    let Ok(socket) = UdpSocket::bind((address, ECHO_PORT)).await else { return };
    let mut buffer = vec![0; 2048];
    loop {
        let Ok((size, from)) = socket.recv_from(&mut buffer).await else { continue };
        echo.lock().unwrap_or_else(PoisonError::into_inner).count(&buffer[..size]);
        // Another echo service would answer for ever.
        if from.port() >= 1024 {
            let _ = socket.send_to(&buffer[..size], from).await;
        }
        // This process lives through sleep; what it was sent does not.
        buffer[..size].fill(0);
    }
}
