//! Interfaces, addresses, neighbours and settings on both sides. All functions work in the namespace
//! of the thread that calls them.

use super::{BELL, GATEWAY_V4, GATEWAY_V6, TAP, TenantPlan, UP, addresses};
use crate::bell::tun;
use crate::namespace::Namespace;
use crate::netlink::{Netlink, NetlinkError};
use crate::route::{Routes, family, index, route, set};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;
use sha2::{Digest, Sha256};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// Next hop out of the tenant's namespace. Nobody holds the IPv4 one: the neighbour entry is all it takes.
const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 1);
const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 2, 1);
/// Next hop into it.
const INSIDE_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);
const INSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 2, 2);

/// Packets that wait for a doorbell or machine that is not reading yet.
const QUEUE: u32 = 10_000;

/// The kernel sets new interfaces up within milliseconds; this is for a machine that is very busy.
const SETTLING: Duration = Duration::from_secs(10);

/// Hardware addresses, fixed by the tenant's name.
pub(super) struct Macs {
    pub(super) outside: [u8; 6],
    pub(super) inside: [u8; 6],
    pub(super) tap: [u8; 6],
}

impl Macs {
    pub(super) fn of(name: &str) -> Self {
        Macs { outside: mac(name, "outside"), inside: mac(name, "inside"), tap: mac(name, "tap") }
    }
}

/// A hardware address for the machine of this tenant, always the same.
pub fn guest_mac(name: &str) -> [u8; 6] {
    mac(name, "guest")
}

/// Locally administered, unicast.
fn mac(name: &str, role: &str) -> [u8; 6] {
    let hash = Sha256::new()
        .chain_update(b"cloudpal mac 1\0")
        .chain_update(name)
        .chain_update([0])
        .chain_update(role);
    let hash = hash.finalize();
    [0x02, hash[0], hash[1], hash[2], hash[3], hash[4]]
}

/// In the uplink namespace: the pair, and the way to the pal.
pub(super) fn lay_pair(plan: &TenantPlan, macs: &Macs, tenant: &Namespace) -> Result<(), NetlinkError> {
    let mut links = Links::open()?;
    if index(&plan.name).is_err() {
        links.add_pair(plan, macs, tenant)?;
    }
    for (setting, value) in [
        ("ipv6/conf/{}/addr_gen_mode", "1"),
        ("ipv6/conf/{}/accept_ra", "0"),
        ("ipv4/conf/{}/forwarding", "1"),
    ] {
        set(&format!("net/{}", setting.replace("{}", &plan.name)), value)?;
    }
    let mut routes = Routes::open()?;
    routes.up(&plan.name)?;
    routes.add_neighbour(&plan.name, INSIDE_V4.into(), macs.inside)?;
    routes.add_neighbour(&plan.name, INSIDE_V6.into(), macs.inside)?;
    routes.add_address(&plan.name, OUTSIDE_V6.into(), 64)?;
    for address in addresses(plan) {
        links.add_host(&plan.name, address, next_hop(address, INSIDE_V4, INSIDE_V6))?;
    }
    Ok(())
}

/// In the tenant's namespace: everything else but the route that is switched.
pub(super) fn lay_inside(plan: &TenantPlan, macs: &Macs) -> Result<(), NetlinkError> {
    for (setting, value) in SETTINGS {
        set(setting, value)?;
    }
    let mut links = Links::open()?;
    for (name, kind) in [(TAP, tun::Kind::Tap { owner: plan.tap_owner }), (BELL, tun::Kind::Tun)] {
        if index(name).is_err() {
            tun::create(name, kind).map_err(|source| NetlinkError::new(format!("make {name}"), source))?;
        }
        links.change(name, LinkAttribute::TxQueueLen(QUEUE))?;
    }
    links.set_mac(TAP, macs.tap)?;
    let mut routes = Routes::open()?;
    for name in [UP, TAP, BELL] {
        set(&format!("net/ipv6/conf/{name}/addr_gen_mode"), "1")?;
        routes.up(name)?;
    }
    routes.add_address(TAP, GATEWAY_V4.into(), 32)?;
    routes.add_address(TAP, GATEWAY_V6.into(), 64)?;
    routes.add_address(UP, INSIDE_V6.into(), 64)?;
    for (hop, any) in [(IpAddr::V4(OUTSIDE_V4), true), (IpAddr::V6(OUTSIDE_V6), plan.public_v6.is_some())] {
        if any {
            routes.add_neighbour(UP, hop, macs.outside)?;
            routes.add_default(UP, hop)?;
        }
    }
    for address in addresses(plan) {
        routes.add_neighbour(TAP, address, plan.guest_mac)?;
    }
    Ok(())
}

/// The firewall checks sources exactly, so the kernel's guess at them is off; no address is made up
/// or learnt from what passes.
const SETTINGS: [(&str, &str); 10] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
];

/// Waits until the pair carries packets, seen from the end in this namespace.
pub(super) fn settle(name: &str) -> Result<(), NetlinkError> {
    match wait_until_running(&mut Links::open()?.0, index(name)?, SETTLING)? {
        true => Ok(()),
        false => Err(NetlinkError::new(format!("bring {name} up"), io::ErrorKind::TimedOut.into())),
    }
}

/// Removes an interface of this namespace; one that is not there is fine.
pub(super) fn remove(name: &str) -> Result<(), NetlinkError> {
    let Ok(index) = index(name) else { return Ok(()) };
    let mut message = LinkMessage::default();
    message.header.index = index;
    let removed = Links::open()?.0.exchange(RouteNetlinkMessage::DelLink(message), NLM_F_ACK);
    match removed {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other.map(drop).map_err(|source| NetlinkError::new(format!("remove {name}"), source)),
    }
}

/// Whether this namespace forwards what the plan needs.
pub(super) fn forwards(plan: &TenantPlan) -> bool {
    let on = |setting: &str| {
        std::fs::read_to_string(format!("/proc/sys/net/{setting}")).is_ok_and(|v| v.trim() != "0")
    };
    on("ipv4/ip_forward") && (plan.public_v6.is_none() || on("ipv6/conf/all/forwarding"))
}

/// Waits until somebody has a TUN or TAP open and the kernel has set up its queue, which it does a
/// moment later on a thread of its own: until then it drops what is sent to it. False if nobody opens it in time.
pub(crate) fn wait_until_running(
    netlink: &mut Netlink,
    index: u32,
    patience: Duration,
) -> Result<bool, NetlinkError> {
    let fail = |source| NetlinkError::new("look at a tap", source);
    let until = Instant::now() + patience;
    let mut message = LinkMessage::default();
    message.header.index = index;
    loop {
        let found =
            netlink.exchange(RouteNetlinkMessage::GetLink(message.clone()), NLM_F_ACK).map_err(fail)?;
        let runs = |message: &RouteNetlinkMessage| matches!(message, RouteNetlinkMessage::NewLink(link) if link.header.flags.contains(LinkFlags::Running));
        if found.iter().any(runs) {
            break;
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    // It is shown as running just before its queue is set up. A change of nothing waits for the lock
    // under which both happen.
    netlink.change(RouteNetlinkMessage::SetLink(message), 0).map_err(fail)?;
    Ok(true)
}

fn next_hop(address: IpAddr, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
    if address.is_ipv4() { v4.into() } else { v6.into() }
}

struct Links(Netlink);

impl Links {
    fn open() -> Result<Self, NetlinkError> {
        let socket = Netlink::open(NETLINK_ROUTE);
        socket.map(Links).map_err(|source| NetlinkError::new("open a netlink socket", source))
    }

    fn add_pair(&mut self, plan: &TenantPlan, macs: &Macs, tenant: &Namespace) -> Result<(), NetlinkError> {
        let mut peer = LinkMessage::default();
        peer.attributes.push(LinkAttribute::IfName(UP.to_owned()));
        peer.attributes.push(LinkAttribute::Address(macs.inside.to_vec()));
        peer.attributes.push(LinkAttribute::NetNsFd(tenant.as_fd().as_raw_fd()));
        let mut pair = LinkMessage::default();
        pair.attributes.push(LinkAttribute::IfName(plan.name.clone()));
        pair.attributes.push(LinkAttribute::Address(macs.outside.to_vec()));
        let veth = InfoData::Veth(InfoVeth::Peer(peer));
        pair.attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(veth)]));
        let made = self.0.change(RouteNetlinkMessage::NewLink(pair), NLM_F_CREATE | NLM_F_EXCL);
        made.map_err(|source| NetlinkError::new(format!("make the pair {} and {UP}", plan.name), source))
    }

    /// The way to one address, through a next hop that no prefix covers.
    fn add_host(&mut self, name: &str, address: IpAddr, hop: IpAddr) -> Result<(), NetlinkError> {
        let mut message = route(address, family(address).1, index(name)?);
        message.header.flags = RouteFlags::Onlink;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(hop)));
        let added = self.0.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE);
        added.map_err(|source| NetlinkError::new(format!("add the pal's route to {name}"), source))
    }

    fn change(&mut self, name: &str, attribute: LinkAttribute) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index(name)?;
        message.attributes.push(attribute);
        let changed = self.0.change(RouteNetlinkMessage::SetLink(message), 0);
        changed.map_err(|source| NetlinkError::new(format!("set up {name}"), source))
    }

    /// Only if it is another: setting it tells the machine's neighbours, and may be refused while it runs.
    fn set_mac(&mut self, name: &str, mac: [u8; 6]) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index(name)?;
        let found = self.0.exchange(RouteNetlinkMessage::GetLink(message), NLM_F_ACK);
        let found = found.map_err(|source| NetlinkError::new(format!("look at {name}"), source))?;
        let wanted = LinkAttribute::Address(mac.to_vec());
        let has = |message: &RouteNetlinkMessage| matches!(message, RouteNetlinkMessage::NewLink(link) if link.attributes.contains(&wanted));
        if found.iter().any(has) { Ok(()) } else { self.change(name, wanted) }
    }
}
