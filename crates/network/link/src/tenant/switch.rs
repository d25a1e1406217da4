//! The one thing that changes between awake and asleep: where the pal's address leads.

use super::links::wait_until_running;
use super::{BELL, TAP, TenantPlan, addresses};
use crate::netlink::{Netlink, NetlinkError};
use crate::route::{family, index, route};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope};
use netlink_sys::protocols::NETLINK_ROUTE;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where a pal's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the machine.
    Tap,
    /// To the doorbell.
    Bell,
    /// Nowhere yet, or IPv4 and IPv6 differ: an agent ended in the midst of switching.
    Nowhere,
}

/// The route was not switched or read.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The kernel refused.
    #[error("could not {what} the pal's route")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: NetlinkError,
    },
    /// No hypervisor has the tap open: every packet would be lost.
    #[error("the pal's machine has not opened its tap; start it before packets are sent to it")]
    Closed,
}

const OPENING: Duration = Duration::from_secs(1);

/// Switches a pal's route over a netlink socket that is open in its namespace, so it starts no
/// process or thread.
pub struct Switch {
    netlink: Mutex<Netlink>,
    addresses: Vec<IpAddr>,
    tap: u32,
    bell: u32,
}

impl Switch {
    /// In the tenant's namespace.
    pub(super) fn open(plan: &TenantPlan) -> Result<Self, SwitchError> {
        let fail = |source| SwitchError::Kernel { what: "reach", source };
        let netlink = Netlink::open(NETLINK_ROUTE);
        let netlink = netlink.map_err(|source| fail(NetlinkError::new("open a netlink socket", source)))?;
        let (tap, bell) = (index(TAP).map_err(fail)?, index(BELL).map_err(fail)?);
        Ok(Switch { netlink: Mutex::new(netlink), addresses: addresses(plan).collect(), tap, bell })
    }

    /// Packets go to the doorbell from now on. Some may be on their way to the machine still.
    pub fn to_bell(&self) -> Result<(), SwitchError> {
        self.addresses
            .iter()
            .try_for_each(|address| self.replace(*address, self.bell, "switch to the doorbell"))
    }

    /// Packets go to the machine from now on. Some may be on their way to the doorbell still. Waits
    /// up to a second for the hypervisor to open the tap.
    pub fn to_tap(&self) -> Result<(), SwitchError> {
        self.wait_for_tap()?;
        self.to_tap_one_by_one(|| {})
    }

    /// Waits up to a second for the hypervisor to open the tap.
    pub(crate) fn wait_for_tap(&self) -> Result<(), SwitchError> {
        let mut netlink = self.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        match wait_until_running(&mut netlink, self.tap, OPENING) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SwitchError::Closed),
            Err(source) => Err(SwitchError::Kernel { what: "look at the machine's end of", source }),
        }
    }

    /// Switches address by address to the machine, with something done right after each.
    pub(crate) fn to_tap_one_by_one(&self, mut after_each: impl FnMut()) -> Result<(), SwitchError> {
        for address in &self.addresses {
            self.replace(*address, self.tap, "switch to the machine")?;
            after_each();
        }
        Ok(())
    }

    /// Where packets go.
    pub fn current(&self) -> Result<Target, SwitchError> {
        let mut found = Vec::new();
        for address in &self.addresses {
            found.push(self.interface(*address)?);
        }
        let all = |interface| found.iter().all(|found| *found == Some(interface));
        Ok(if all(self.tap) {
            Target::Tap
        } else if all(self.bell) {
            Target::Bell
        } else {
            Target::Nowhere
        })
    }

    fn replace(&self, address: IpAddr, interface: u32, what: &'static str) -> Result<(), SwitchError> {
        let mut message = route(address, family(address).1, interface);
        message.header.scope = RouteScope::Link;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        let mut netlink = self.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = netlink.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE);
        changed.map_err(|source| SwitchError::Kernel {
            what,
            source: NetlinkError::new("replace a route", source),
        })
    }

    fn interface(&self, address: IpAddr) -> Result<Option<u32>, SwitchError> {
        let mut message = RouteMessage::default();
        (message.header.address_family, message.header.destination_prefix_length) = family(address);
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        let mut netlink = self.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match netlink.exchange(RouteNetlinkMessage::GetRoute(message), NLM_F_ACK) {
            Ok(found) => found,
            Err(error) if error.raw_os_error() == Some(nix::libc::ENETUNREACH) => return Ok(None),
            Err(source) => {
                let source = NetlinkError::new("look up a route", source);
                return Err(SwitchError::Kernel { what: "read", source });
            }
        };
        let interface = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewRoute(route) => {
                route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                })
            }
            _ => None,
        };
        Ok(found.iter().find_map(interface))
    }
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Switch")
    }
}
