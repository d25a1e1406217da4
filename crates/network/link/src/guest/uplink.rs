use crate::netlink::NetlinkError;
use crate::route::{Routes, set};
use cloudpal_protocol::guest::GuestLink;
use std::net::IpAddr;

/// The pal's only network interface towards the host.
pub const UPLINK: &str = "eth0";

/// Brings up loopback and the uplink at a cold boot. Doing it twice changes nothing.
pub fn bring_up_uplink(link: &GuestLink) -> Result<(), NetlinkError> {
    // No address by itself, no router's word: everything comes from the boot record.
    for setting in ["accept_ra", "autoconf", "accept_dad"] {
        for interface in ["all", "default", UPLINK] {
            set(&format!("net/ipv6/conf/{interface}/{setting}"), "0")?;
        }
    }
    Routes::open()?.up("lo")?;
    renew_uplink(link)
}

/// Gives the uplink its addresses, routes and neighbours (again: its driver was taken off and put back).
pub fn renew_uplink(link: &GuestLink) -> Result<(), NetlinkError> {
    let mut routes = Routes::open()?;
    set(&format!("net/ipv6/conf/{UPLINK}/addr_gen_mode"), "1")?;
    routes.up(UPLINK)?;
    let v6 = link.v6.zip(link.gateway_v6);
    let pairs =
        [Some((IpAddr::from(link.v4), IpAddr::from(link.gateway_v4))), v6.map(|(a, g)| (a.into(), g.into()))];
    for (address, gateway) in pairs.into_iter().flatten() {
        routes.add_address(UPLINK, address, if address.is_ipv4() { 32 } else { 128 })?;
        routes.add_neighbour(UPLINK, gateway, link.gateway_mac)?;
        routes.add_default(UPLINK, gateway)?;
    }
    Ok(())
}
