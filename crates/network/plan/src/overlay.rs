use crate::Roster;
use cloudpal_core::PalId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const DOMAIN: &[u8] = b"cloudpal overlay 1\0";

/// Devices live at host numbers 2 to 251; 1 is the pal.
const FIRST_DEVICE: u8 = 2;
const LAST_DEVICE: u8 = 251;

/// One machine's two addresses on the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Addresses {
    /// In the pal's /24 of 100.64.0.0/10.
    pub v4: Ipv4Addr,
    /// In the pal's /48 of fd00::/8.
    pub v6: Ipv6Addr,
}

/// The private network of one pal: an IPv6 ULA /48 (RFC 4193) and an IPv4 /24 out of 100.64.0.0/10
/// (RFC 6598), both fixed by the pal's id, so that every program computes the same without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    v4: [u8; 3],
    v6: [u8; 6],
}

impl Overlay {
    /// The overlay of a pal.
    pub fn of(pal: PalId) -> Self {
        let hash = Sha256::new().chain_update(DOMAIN).chain_update(pal.as_bytes()).finalize();
        Overlay {
            v4: [100, 64 | (hash[5] & 0x3f), hash[6]],
            v6: [0xfd, hash[0], hash[1], hash[2], hash[3], hash[4]],
        }
    }

    /// The pal itself: host number 1. Also the devices' resolver.
    pub fn hub(&self) -> Addresses {
        self.at(1)
    }

    /// Network address and prefix length of the IPv4 part.
    pub fn network_v4(&self) -> (Ipv4Addr, u8) {
        (self.at(0).v4, 24)
    }

    /// Network address and prefix length of the IPv6 part.
    pub fn network_v6(&self) -> (Ipv6Addr, u8) {
        (self.at(0).v6, 48)
    }

    /// Whether an address lies in the overlay.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.octets()[..3] == self.v4,
            IpAddr::V6(v6) => v6.octets()[..6] == self.v6,
        }
    }

    /// The lowest pair of addresses that no device of the roster has; none when it is full.
    pub fn next_free(&self, roster: &Roster) -> Option<Addresses> {
        (FIRST_DEVICE..=LAST_DEVICE)
            .map(|host| self.at(host))
            .find(|free| roster.devices.iter().all(|device| device.v4 != free.v4 && device.v6 != free.v6))
    }

    /// The overlay whose hub this is.
    pub(crate) fn around(hub: Addresses) -> Self {
        let ([a, b, c, _], v6) = (hub.v4.octets(), hub.v6.octets());
        Overlay { v4: [a, b, c], v6: [v6[0], v6[1], v6[2], v6[3], v6[4], v6[5]] }
    }

    /// Whether a device may live at these addresses: both with the same host number, not the hub's.
    pub(crate) fn is_device(&self, place: Addresses) -> bool {
        (FIRST_DEVICE..=LAST_DEVICE).contains(&place.v4.octets()[3]) && self.at(place.v4.octets()[3]) == place
    }

    fn at(&self, host: u8) -> Addresses {
        let mut v6 = [0; 16];
        v6[..6].copy_from_slice(&self.v6);
        v6[15] = host;
        Addresses { v4: Ipv4Addr::new(self.v4[0], self.v4[1], self.v4[2], host), v6: Ipv6Addr::from(v6) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_in_the_private_ranges_for_every_pal() {
        for byte in 0..=255u8 {
            let overlay = Overlay::of(PalId::from_random([byte; 16]));
            let hub = overlay.hub();
            assert_eq!(hub.v4.octets()[0], 100);
            assert!((64..128).contains(&hub.v4.octets()[1]), "{hub:?}");
            assert_eq!(hub.v6.octets()[0], 0xfd);
            assert!(overlay.contains(hub.v4.into()) && overlay.contains(hub.v6.into()));
            assert!(!overlay.contains(Ipv4Addr::LOCALHOST.into()));
            assert!(!overlay.is_device(hub));
        }
    }

    #[test]
    fn is_fixed_for_good() {
        // Changing this would move every pal's devices.
        let hub = Overlay::of(PalId::from_random([7; 16])).hub();
        assert_eq!(
            (hub.v4.to_string().as_str(), hub.v6.to_string().as_str()),
            ("100.104.245.1", "fd2b:dbb7:76a8::1")
        );
    }
}
