use crate::netlink::{Netlink, NetlinkError};
use crate::route::{Routes, index, set};
use cloudpal_core::{AgreementKey, AgreementSecret};
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use netlink_sys::protocols::NETLINK_GENERIC;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The overlay's interface.
pub const WG: &str = "wg0";

/// WireGuard over IPv6 inside a 1,500-byte Ethernet: 40 + 8 + 32 bytes less, as `wg-quick` reckons.
const MTU: u32 = 1420;

/// Peers in one netlink message; it has to stay under 64 KiB.
const PEERS_AT_ONCE: usize = 64;

/// A device that may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its public key.
    pub key: AgreementKey,
    /// Its overlay addresses, each whole (/32 or /128).
    pub addresses: Vec<IpAddr>,
}

/// How a peer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// Its public key.
    pub key: AgreementKey,
    /// Where it was last heard.
    pub endpoint: Option<SocketAddr>,
    /// Its last handshake, seconds since 1970.
    pub handshake_unix_s: Option<u64>,
}

/// What `wg0` has received, as the kernel counts it: every packet that proved to come from a peer, with
/// its 32 bytes of WireGuard header and tag; initiations with 148 and responses with 92 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Traffic {
    /// A number that grows with every handshake and every inner packet, and with no keepalive: those
    /// have 32 bytes exactly.
    pub fn beyond_keepalives(self) -> u64 {
        self.bytes.saturating_sub(self.packets.saturating_mul(32))
    }
}

/// The kernel's WireGuard interface [`WG`].
pub struct WireGuard {
    netlink: Netlink,
    family: u16,
    index: u32,
}

impl WireGuard {
    /// Makes the interface with this key and port; still down and without peers. One left by a process
    /// that crashed is taken over.
    pub fn create(key: &AgreementSecret, port: u16) -> Result<Self, NetlinkError> {
        Routes::open()?.add_wireguard(WG, MTU)?;
        // Without it the IPv6 address goes when the interface goes down.
        set(&format!("net/ipv6/conf/{WG}/keep_addr_on_down"), "1")?;
        let opened = Netlink::open(NETLINK_GENERIC).and_then(|mut netlink| {
            let family = family(&mut netlink)?;
            Ok((netlink, family))
        });
        let (netlink, family) =
            opened.map_err(|source| NetlinkError::new("reach the kernel's WireGuard", source))?;
        let mut device = WireGuard { netlink, family, index: index(WG)? };
        device.set(
            "set the key of wg0",
            vec![WireguardAttribute::PrivateKey(*key.expose()), WireguardAttribute::ListenPort(port)],
        )?;
        Ok(device)
    }

    /// Makes these the only peers. Peers that stay keep their sessions; one that goes is cut off at once.
    pub fn set_peers(&mut self, peers: &[Peer]) -> Result<(), NetlinkError> {
        let stays = |key: &AgreementKey| peers.iter().any(|peer| peer.key == *key);
        let gone: Vec<_> =
            self.peers()?.into_iter().filter(|peer| !stays(&peer.key)).map(|peer| remove(peer.key)).collect();
        for some in gone.chunks(PEERS_AT_ONCE) {
            self.set("remove devices from wg0", vec![WireguardAttribute::Peers(some.to_vec())])?;
        }
        for some in peers.chunks(PEERS_AT_ONCE) {
            let some = some.iter().map(put).collect();
            self.set("add devices to wg0", vec![WireguardAttribute::Peers(some)])?;
        }
        Ok(())
    }

    /// Sets the interval of keepalives, in seconds, for some peers; 0 is none. On an interface that is
    /// up, setting one where none was sends a keepalive, and that a handshake, at once.
    pub fn set_keepalive(&mut self, keys: &[AgreementKey], seconds: u16) -> Result<(), NetlinkError> {
        for some in keys.chunks(PEERS_AT_ONCE) {
            let some = some.iter().map(|key| {
                WireguardPeer(vec![
                    WireguardPeerAttribute::PublicKey(*key.as_bytes()),
                    WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
                    WireguardPeerAttribute::PersistentKeepalive(seconds),
                ])
            });
            self.set("set keepalives on wg0", vec![WireguardAttribute::Peers(some.collect())])?;
        }
        Ok(())
    }

    /// All peers.
    pub fn peers(&mut self) -> Result<Vec<PeerState>, NetlinkError> {
        let message = self.message(WireguardCmd::GetDevice, Vec::new());
        let parts = self
            .netlink
            .dump(message)
            .map_err(|source| NetlinkError::new("read the peers of wg0", source))?;
        let mut found: Vec<PeerState> = Vec::new();
        let attributes = parts.into_iter().flat_map(|part| part.payload.attributes);
        for attribute in attributes {
            let WireguardAttribute::Peers(peers) = attribute else { continue };
            // A peer with many addresses comes in several parts; only the first says more than its key.
            for state in peers.iter().filter_map(state) {
                if found.last().is_none_or(|last| last.key != state.key) {
                    found.push(state);
                }
            }
        }
        Ok(found)
    }

    /// What was received since the interface was made.
    pub fn received(&self) -> io::Result<Traffic> {
        let read = |what| -> io::Result<u64> {
            let text = fs::read_to_string(format!("/sys/class/net/{WG}/statistics/{what}"))?;
            text.trim().parse().map_err(io::Error::other)
        };
        Ok(Traffic { packets: read("rx_packets")?, bytes: read("rx_bytes")? })
    }

    fn set(&mut self, what: &str, attributes: Vec<WireguardAttribute>) -> Result<(), NetlinkError> {
        let message = self.message(WireguardCmd::SetDevice, attributes);
        self.netlink.change(message, 0).map_err(|source| NetlinkError::new(what, source))
    }

    fn message(&self, cmd: WireguardCmd, more: Vec<WireguardAttribute>) -> GenlMessage<WireguardMessage> {
        let mut attributes = vec![WireguardAttribute::IfIndex(self.index)];
        attributes.extend(more);
        let mut message = GenlMessage::from_payload(WireguardMessage { cmd, attributes });
        message.set_resolved_family_id(self.family);
        message
    }
}

fn family(netlink: &mut Netlink) -> io::Result<u16> {
    let ask = GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName("wireguard".to_owned())],
    };
    let answers = netlink.exchange(GenlMessage::from_payload(ask), NLM_F_ACK)?;
    let id = answers.iter().flat_map(|answer| &answer.payload.nlas).find_map(|nla| match nla {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    });
    id.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this kernel has no WireGuard"))
}

fn remove(key: AgreementKey) -> WireguardPeer {
    WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey(*key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
    ])
}

fn put(peer: &Peer) -> WireguardPeer {
    let allowed = peer.addresses.iter().map(|address| {
        let (family, bits) = match address {
            IpAddr::V4(_) => (WireguardAddressFamily::Ipv4, 32),
            IpAddr::V6(_) => (WireguardAddressFamily::Ipv6, 128),
        };
        WireguardAllowedIp(vec![
            WireguardAllowedIpAttr::Family(family),
            WireguardAllowedIpAttr::IpAddr(*address),
            WireguardAllowedIpAttr::Cidr(bits),
        ])
    });
    WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey(*peer.key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
        WireguardPeerAttribute::AllowedIps(allowed.collect()),
    ])
}

fn state(peer: &WireguardPeer) -> Option<PeerState> {
    let (mut key, mut endpoint, mut handshake_unix_s) = (None, None, None);
    for attribute in &peer.0 {
        match attribute {
            WireguardPeerAttribute::PublicKey(bytes) => key = Some(AgreementKey::from_bytes(*bytes)),
            WireguardPeerAttribute::Endpoint(address) => endpoint = Some(*address),
            WireguardPeerAttribute::LastHandshake(time) => {
                handshake_unix_s = u64::try_from(time.seconds).ok().filter(|seconds| *seconds > 0);
            }
            _ => {}
        }
    }
    Some(PeerState { key: key?, endpoint, handshake_unix_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keepalives_leave_the_number_as_it_is() {
        let before = Traffic { packets: 10, bytes: 4000 };
        let after = |bytes| Traffic { packets: 11, bytes: before.bytes + bytes }.beyond_keepalives();
        assert_eq!(after(32), before.beyond_keepalives());
        for (what, bytes) in [("smallest data", 48), ("initiation", 148), ("response", 92)] {
            assert!(after(bytes) > before.beyond_keepalives(), "{what}");
        }
    }
}
