//! `cloudpal open`: a pal's page in a browser, through a tunnel that needs no root.

use crate::app::App;
use crate::command::device;
use crate::failure::{Exit, Failure};
use crate::person::{self, PalRecord};
use crate::terminal::{Report, Terminal};
use crate::tunnel::core::Ends;
use crate::tunnel::forward::{ForwardError, Forwarder, Gate};
use cloudpal_plan::Overlay;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::json;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// Whether a browser is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// If there is a display.
    Start,
    /// Not.
    Leave,
}

/// Serves the page on `listen` until SIGINT or SIGTERM.
pub fn run(
    app: App<'_>,
    terminal: &Terminal,
    wanted: Option<&str>,
    listen: SocketAddr,
    browser: Browser,
) -> Result<(), Failure> {
    if !listen.ip().is_loopback() {
        let message =
            format!("{listen} can be reached from outside; the page is only for this machine: use 127.0.0.1");
        return Err(Failure::new(Exit::Usage, message));
    }
    let stop =
        stop_signals().map_err(|error| Failure::because(Exit::Failed, "signals cannot be caught", error))?;
    let (pal, mut forwarder) = tunnel(app, wanted, listen, Gate::Page)?;
    let url = format!("http://{}/", forwarder.local_addr().map_err(failed)?);
    let text = format!("{} is open at {url} until Ctrl-C.", pal.name);
    terminal.print(&Report::new(text, json!({ "id": pal.id, "name": pal.name, "url": url })))?;
    if browser == Browser::Start {
        start_browser(&url);
    }
    forwarder.run(&stop).map_err(failed)
}

/// A tunnel from `listen` to a pal, for this device.
pub fn tunnel(
    app: App<'_>,
    wanted: Option<&str>,
    listen: SocketAddr,
    gate: Gate,
) -> Result<(PalRecord, Forwarder), Failure> {
    let (pal, device, key) = device::this(app, wanted)?;
    let keys = crate::app::pinned(&pal)?;
    let endpoint =
        pal.endpoint.ok_or_else(|| Failure::new(Exit::Failed, "the pal's address is not known yet"))?;
    let ends = Ends { key, device: device.v4, pal: keys.wireguard, hub: Overlay::of(pal.id).hub().v4 };
    let page = format!("home.{}.internal", pal.name);
    let seed = u64::from_le_bytes(person::random()?);
    let forwarder = Forwarder::bind(&ends, endpoint, listen, page, gate, seed).map_err(failed)?;
    Ok((pal, forwarder))
}

fn stop_signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// A tunnel's error with its exit code.
pub fn failed(error: ForwardError) -> Failure {
    let exit = match &error {
        ForwardError::Endpoint { .. } => Exit::Unreachable,
        ForwardError::Listen { .. } | ForwardError::Wait(_) => Exit::Failed,
    };
    Failure::lift(exit, error)
}

fn start_browser(url: &str) {
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !display {
        return;
    }
    let quiet = || Stdio::null();
    // The address is printed all the same.
    if let Err(error) =
        Command::new("xdg-open").arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn()
    {
        tracing::debug!(%error, "no browser could be started");
    }
}
