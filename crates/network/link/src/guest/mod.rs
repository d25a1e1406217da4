//! The pal's side of its network, inside the micro-VM: the uplink `eth0`, the kernel's WireGuard `wg0`
//! and the rules for what passes between them.
//!
//! Everything that has to happen at a wake goes over netlink, without starting a process.

mod firewall;
mod sockets;
mod uplink;
mod wireguard;

pub use crate::netlink::NetlinkError;
pub use crate::route::Routes;
pub use firewall::{FirewallError, lay_rules};
pub use sockets::close_tcp;
pub use uplink::{UPLINK, bring_up_uplink, renew_uplink};
pub use wireguard::{Peer, PeerState, Traffic, WG, WireGuard};
