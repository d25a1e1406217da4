//! The hub of the overlay: WireGuard with the roster's devices, taken down before a sleep and brought
//! back after it.

use super::state::Keys;
use cloudpal_core::AgreementKey;
use cloudpal_link::guest::{FirewallError, NetlinkError, Peer, Routes, Traffic, WG, WireGuard, lay_rules};
use cloudpal_plan::{Overlay, Roster};
use cloudpal_protocol::inside::DeviceStatus;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

/// How long peers are nudged after a wake, in seconds.
const NUDGE_S: u64 = 5;
/// Any interval makes the kernel greet a peer when the interface comes up; it is taken away before it
/// would send again.
const NUDGE_INTERVAL_S: u16 = 25;

/// The overlay was not brought up.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The interface.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The rules.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
}

/// The pal's end of WireGuard.
pub struct Hub {
    device: WireGuard,
    routes: Routes,
    overlay: Overlay,
    link: Link,
    /// Peers to be greeted after a wake.
    nudged: Vec<AgreementKey>,
    /// Until when they are nudged; none before they are greeted.
    nudged_until_s: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Down,
}

impl Hub {
    /// Makes the interface, with rules before it may forward.
    pub fn start(overlay: Overlay, keys: &Keys, port: u16, roster: &Roster) -> Result<Self, HubError> {
        let mut device = WireGuard::create(&keys.wireguard, port)?;
        device.set_peers(&peers(roster))?;
        match lay_rules(port) {
            // After a crash of this process: the rules still stand, and the program is long deleted.
            Err(FirewallError::Run(error)) if error.kind() == io::ErrorKind::NotFound && rules_stand() => {}
            other => other?,
        }
        let routes = Routes::open()?;
        let mut hub =
            Hub { device, routes, overlay, link: Link::Down, nudged: Vec::new(), nudged_until_s: None };
        let addresses = overlay.hub();
        hub.routes.add_address(WG, addresses.v4.into(), 32)?;
        hub.routes.add_address(WG, addresses.v6.into(), 128)?;
        hub.up()?;
        Ok(hub)
    }

    /// Takes the interface up, with its routes: going down lost them.
    fn up(&mut self) -> Result<(), NetlinkError> {
        if self.link == Link::Up {
            return Ok(());
        }
        self.link = Link::Up;
        self.routes.up(WG)?;
        let (v4, v4_bits) = self.overlay.network_v4();
        let (v6, v6_bits) = self.overlay.network_v6();
        self.routes.add_network(WG, v4.into(), v4_bits)?;
        self.routes.add_network(WG, v6.into(), v6_bits)
    }

    /// Takes the roster's devices as the only ones, at once.
    pub fn set_roster(&mut self, roster: &Roster) -> Result<(), NetlinkError> {
        self.device.set_peers(&peers(roster))
    }

    /// Forgets every session; endpoints stay.
    pub fn quiesce(&mut self) -> Result<(), NetlinkError> {
        self.routes.down(WG)?;
        self.link = Link::Down;
        let known = self.device.peers()?.into_iter().filter(|peer| peer.endpoint.is_some());
        self.nudged = known.map(|peer| peer.key).collect();
        self.nudged_until_s = None;
        // One that is still nudged would be greeted before the sleep, and so not after it.
        self.device.set_keepalive(&self.nudged, 0)
    }

    /// The interface is to be up, with no session and nothing to say. Done before a sleep already:
    /// on a translated processor it takes longer than all else that a wake has to wait for.
    pub fn stand(&mut self) -> Result<(), NetlinkError> {
        self.up()
    }

    /// Greets every device that was connected: the kernel begins a session by itself.
    pub fn greet(&mut self, now_s: u64) -> Result<(), NetlinkError> {
        self.nudged_until_s = Some(now_s + NUDGE_S);
        self.device.set_keepalive(&self.nudged, NUDGE_INTERVAL_S)
    }

    /// Ends the nudging in time, for the sake of batteries.
    pub fn tick(&mut self, now_s: u64) -> Result<(), NetlinkError> {
        if self.nudged_until_s.is_none_or(|until| now_s < until) {
            return Ok(());
        }
        self.nudged_until_s = None;
        self.device.set_keepalive(&std::mem::take(&mut self.nudged), 0)
    }

    /// What was received.
    pub fn received(&self) -> io::Result<Traffic> {
        self.device.received()
    }

    /// The roster's devices as they stand.
    pub fn devices(&mut self, roster: &Roster) -> Result<Vec<DeviceStatus>, NetlinkError> {
        let seen: HashMap<_, _> =
            self.device.peers()?.into_iter().map(|peer| (peer.key, peer.handshake_unix_s)).collect();
        let devices = roster.devices.iter().map(|device| DeviceStatus {
            name: device.name.clone(),
            v4: device.v4,
            v6: device.v6,
            seen_unix_s: seen.get(&device.wireguard).copied().flatten(),
        });
        Ok(devices.collect())
    }
}

/// Forwarding is switched on only once the rules are laid.
fn rules_stand() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1")
}

fn peers(roster: &Roster) -> Vec<Peer> {
    let devices = roster.devices.iter();
    let addresses = |v4, v6| vec![IpAddr::V4(v4), IpAddr::V6(v6)];
    devices.map(|device| Peer { key: device.wireguard, addresses: addresses(device.v4, device.v6) }).collect()
}
