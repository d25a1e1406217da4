//! The data of a running pal: its interface (`docs/data-api.md`), reached through the tunnel that
//! `cloudpal open` uses, for as long as one command runs. A sleeping pal wakes from it.
//!
//! - [`http`]: one request, and how its failures become exit codes.
//! - [`logs`], [`bees`], [`drives`], [`databases`], [`peers`]: one function for each thing a person can ask for; [`mirror`].

pub mod bees;
pub mod databases;
pub mod drives;
pub mod http;
pub mod logs;
pub mod mirror;
pub mod peers;

use crate::app::App;
use crate::command::open;
use crate::failure::{Exit, Failure};
use crate::tunnel::forward::{Forwarder, Gate};
use http::Http;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where a pal replicates with its devices.
const PEERS: u16 = 49737;

/// A pal that data commands speak with.
pub struct Remote {
    /// Requests to it.
    pub http: Http,
    /// Its name.
    pub name: String,
    /// Where its page is for the devices of its network.
    pub url: String,
    /// Held for as long as it is spoken with.
    _tunnel: Option<Tunnel>,
}

/// A tunnel with a thread of its own, which ends when the other end of its socket pair closes.
pub struct Tunnel {
    address: SocketAddr,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// To the port where a pal, or the only one, replicates.
    pub fn to_peers(app: App<'_>, wanted: Option<&str>) -> Result<Self, Failure> {
        Tunnel::run(open::tunnel(app, wanted, ANY_PORT, Gate::Port(PEERS))?.1)
    }

    /// Where it begins on this machine.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn run(mut forwarder: Forwarder) -> Result<Self, Failure> {
        let address = forwarder.local_addr().map_err(open::failed)?;
        let started = |error| Failure::because(Exit::Failed, "the tunnel could not be started", error);
        let (stop, stopped) = UnixStream::pair().map_err(started)?;
        let carry = move || {
            if let Err(error) = forwarder.run(&stopped) {
                tracing::debug!(%error, "the tunnel ended");
            }
        };
        let thread = std::thread::Builder::new().name("tunnel".into()).spawn(carry).map_err(started)?;
        Ok(Tunnel { address, stop, thread: Some(thread) })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // If it is gone already there is nothing to stop.
        let _ = self.stop.write_all(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Remote {
    /// Opens the tunnel to a pal, or the only one.
    pub fn reach(app: App<'_>, wanted: Option<&str>) -> Result<Self, Failure> {
        let (pal, forwarder) = open::tunnel(app, wanted, ANY_PORT, Gate::Page)?;
        let tunnel = Tunnel::run(forwarder)?;
        let (http, url) =
            (Http::at(format!("http://{}", tunnel.address)), format!("http://home.{}.internal", pal.name));
        Ok(Remote { http, name: pal.name, url, _tunnel: Some(tunnel) })
    }

    /// One whose page is at `url`, reached without a tunnel.
    pub fn on(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        let name = url.trim_start_matches("http://").to_owned();
        Remote { http: Http::at(url.clone()), name, url, _tunnel: None }
    }

    /// One that answers at `address` without a tunnel.
    pub fn at(address: SocketAddr) -> Self {
        Remote::on(&format!("http://{address}"))
    }
}
