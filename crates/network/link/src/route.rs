//! Interfaces, addresses, routes and neighbours, over netlink.

use crate::netlink::{Netlink, NetlinkError};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use std::io;
use std::net::IpAddr;

/// Interfaces, addresses, routes and neighbours of this network namespace.
pub struct Routes(Netlink);

pub(crate) fn family(address: IpAddr) -> (AddressFamily, u8) {
    match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    }
}

/// An interface's number.
pub(crate) fn index(name: &str) -> Result<u32, NetlinkError> {
    nix::net::if_::if_nametoindex(name)
        .map_err(|error| NetlinkError::new(format!("find interface {name}"), error.into()))
}

impl Routes {
    /// Opens a netlink socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = Netlink::open(NETLINK_ROUTE);
        socket.map(Routes).map_err(|source| NetlinkError::new("open a netlink socket", source))
    }

    fn change(
        &mut self,
        what: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.0.change(message, flags).map_err(|source| NetlinkError::new(what(), source))
    }

    /// Takes an interface up.
    pub fn up(&mut self, name: &str) -> Result<(), NetlinkError> {
        self.switch(name, LinkFlags::Up)
    }

    /// Takes an interface down.
    pub fn down(&mut self, name: &str) -> Result<(), NetlinkError> {
        self.switch(name, LinkFlags::empty())
    }

    fn switch(&mut self, name: &str, flags: LinkFlags) -> Result<(), NetlinkError> {
        let mut link = LinkMessage::default();
        link.header.index = index(name)?;
        link.header.flags = flags;
        link.header.change_mask = LinkFlags::Up;
        self.change(|| format!("switch interface {name}"), RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Makes a WireGuard interface; one that exists is fine.
    pub fn add_wireguard(&mut self, name: &str, mtu: u32) -> Result<(), NetlinkError> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        link.attributes.push(LinkAttribute::Mtu(mtu));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]));
        let made = self.change(
            || format!("make WireGuard interface {name}"),
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
        );
        match made {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Gives an interface an address, usable at once (no duplicate address detection).
    pub fn add_address(&mut self, name: &str, address: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.family = family(address).0;
        message.header.prefix_len = prefix;
        message.header.index = index(name)?;
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.change(|| format!("add an address to {name}"), RouteNetlinkMessage::NewAddress(message), flags)
    }

    /// Routes a network out of an interface, directly.
    pub fn add_network(&mut self, name: &str, network: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        let mut message = route(network, prefix, index(name)?);
        message.header.scope = RouteScope::Link;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(network)));
        self.add_route(name, message)
    }

    /// The default route through a next hop that no prefix covers.
    pub fn add_default(&mut self, name: &str, gateway: IpAddr) -> Result<(), NetlinkError> {
        let mut message = route(gateway, 0, index(name)?);
        message.header.flags = RouteFlags::Onlink;
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
        self.add_route(name, message)
    }

    fn add_route(&mut self, name: &str, message: RouteMessage) -> Result<(), NetlinkError> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.change(|| format!("add a route through {name}"), RouteNetlinkMessage::NewRoute(message), flags)
    }

    /// Fixes the hardware address of a neighbour for good.
    pub fn add_neighbour(&mut self, name: &str, address: IpAddr, mac: [u8; 6]) -> Result<(), NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address).0;
        message.header.ifindex = index(name)?;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.change(
            || format!("set a neighbour on {name}"),
            RouteNetlinkMessage::NewNeighbour(message),
            flags,
        )
    }
}

pub(crate) fn route(address: IpAddr, prefix: u8, interface: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address).0;
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Oif(interface));
    message
}

/// Writes a kernel setting below `/proc/sys`.
pub(crate) fn set(setting: &str, value: &str) -> Result<(), NetlinkError> {
    std::fs::write(format!("/proc/sys/{setting}"), value)
        .map_err(|source: io::Error| NetlinkError::new(format!("set {setting}"), source))
}
