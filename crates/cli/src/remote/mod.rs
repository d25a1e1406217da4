//! The data of a running pal: its interface (`docs/data-api.md`), reached through the tunnel that
//! `cloudpal open` uses, for as long as one command runs. A sleeping pal wakes from it.
//!
//! - [`http`]: one request, and how its failures become exit codes.
//! - [`logs`], [`bees`], [`drives`], [`peers`]: one function for each thing a person can ask for; [`mirror`].

pub mod bees;
pub mod drives;
pub mod http;
pub mod logs;
pub mod mirror;
pub mod peers;

use crate::app::App;
use crate::command::open;
use crate::failure::{Exit, Failure};
use http::Http;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

/// A pal that data commands speak with.
pub struct Remote {
    /// Requests to it.
    pub http: Http,
    /// Its name.
    pub name: String,
    tunnel: Option<Tunnel>,
}

/// The tunnel's own thread; it ends when the other end of its socket pair closes.
struct Tunnel {
    stop: UnixStream,
    thread: JoinHandle<()>,
}

impl Remote {
    /// Opens the tunnel to a pal, or the only one.
    pub fn reach(app: App<'_>, wanted: Option<&str>) -> Result<Self, Failure> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (pal, mut forwarder) = open::tunnel(app, wanted, any_port)?;
        let address = forwarder.local_addr().map_err(open::failed)?;
        let started = |error| Failure::because(Exit::Failed, "the tunnel could not be started", error);
        let (stop, stopped) = UnixStream::pair().map_err(started)?;
        let carry = move || {
            if let Err(error) = forwarder.run(&stopped) {
                tracing::debug!(%error, "the tunnel ended");
            }
        };
        let thread = std::thread::Builder::new().name("tunnel".into()).spawn(carry).map_err(started)?;
        let tunnel = Some(Tunnel { stop, thread });
        Ok(Remote { http: Http::at(address), name: pal.name, tunnel })
    }

    /// One that answers at `address` without a tunnel.
    pub fn at(address: SocketAddr) -> Self {
        Remote { http: Http::at(address), name: address.to_string(), tunnel: None }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(Tunnel { mut stop, thread }) = self.tunnel.take() {
            // If it is gone already there is nothing to stop.
            let _ = stop.write_all(&[0]);
            drop(stop);
            let _ = thread.join();
        }
    }
}
