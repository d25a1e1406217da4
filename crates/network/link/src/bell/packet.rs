//! IP packets as they come out of the TUN, and the one kind that goes back in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

const UDP: u8 = 17;

/// A whole IP packet that carries a UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    bytes: Vec<u8>,
    source: SocketAddr,
    destination: SocketAddr,
    payload: Range<usize>,
}

impl Packet {
    /// Reads an IPv4 or IPv6 packet. Total: none for anything but a whole UDP datagram without
    /// IP options, extension headers or fragmentation, whose lengths agree with its size.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (source, destination, header) = match bytes.first()? >> 4 {
            4 => v4(bytes)?,
            6 => v6(bytes)?,
            _ => return None,
        };
        let udp = bytes.get(header..header + 8)?;
        let length = usize::from(two(udp, 4));
        if length < 8 || header + length != bytes.len() {
            return None;
        }
        Some(Packet {
            bytes: bytes.to_vec(),
            source: SocketAddr::new(source, two(udp, 0)),
            destination: SocketAddr::new(destination, two(udp, 2)),
            payload: header + 8..bytes.len(),
        })
    }

    /// Who sent it, as it says.
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    /// The datagram.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    /// The whole packet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A packet back to the sender with another datagram in it.
    pub fn answer(&self, payload: &[u8]) -> Vec<u8> {
        let length = (8 + payload.len()) as u16;
        let mut udp = Vec::with_capacity(8 + payload.len());
        for part in [self.destination.port(), self.source.port(), length, 0] {
            udp.extend(part.to_be_bytes());
        }
        udp.extend(payload);
        let (from, to) = (self.destination.ip(), self.source.ip());
        let sum = checksum(&[&pseudo_header(from, to, length), &udp]);
        // Zero means that there is none, so a sum of zero is written as its other form.
        let sum = if sum == 0 { 0xffff } else { sum };
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        let mut packet = ip_header(from, to, length);
        packet.extend(udp);
        packet
    }
}

type Header = (IpAddr, IpAddr, usize);

fn v4(bytes: &[u8]) -> Option<Header> {
    let header = bytes.first_chunk::<20>()?;
    // Five words, no options; the flag that forbids fragments may be set, nothing else there.
    let plain = header[0] == 0x45 && two(header, 6) & 0xbfff == 0 && header[9] == UDP;
    if !plain || usize::from(two(header, 2)) != bytes.len() {
        return None;
    }
    let address =
        |at: usize| IpAddr::V4(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    Some((address(12), address(16), 20))
}

fn v6(bytes: &[u8]) -> Option<Header> {
    let header = bytes.first_chunk::<40>()?;
    if header[6] != UDP || 40 + usize::from(two(header, 4)) != bytes.len() {
        return None;
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    Some((address(8), address(24), 40))
}

fn two(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Both addresses are of one family: they come from one packet.
fn ip_header(from: IpAddr, to: IpAddr, udp_length: u16) -> Vec<u8> {
    let mut header = Vec::with_capacity(40 + usize::from(udp_length));
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([0x45, 0]);
            header.extend((20 + udp_length).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            header.extend([0x60, 0, 0, 0]);
            header.extend(udp_length.to_be_bytes());
            header.extend([UDP, 64]);
            header.extend(octets6(from));
            header.extend(octets6(to));
        }
    }
    header
}

fn pseudo_header(from: IpAddr, to: IpAddr, udp_length: u16) -> Vec<u8> {
    let mut header = Vec::with_capacity(40);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            header.extend(octets6(from));
            header.extend(octets6(to));
        }
    }
    header.extend([0, UDP]);
    header.extend(udp_length.to_be_bytes());
    header
}

fn octets6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The internet checksum (RFC 1071); every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
        let packet = Packet {
            bytes: Vec::new(),
            source: to.parse().unwrap(),
            destination: from.parse().unwrap(),
            payload: 0..0,
        };
        packet.answer(payload)
    }

    const PAIRS: [(&str, &str); 2] =
        [("203.0.113.7:51820", "198.51.100.2:4000"), ("[2001:db8::7]:51820", "[2001:db8:1::2]:4000")];

    #[test]
    fn reads_what_it_writes() {
        for (from, to) in PAIRS {
            for payload in [&b""[..], b"x", b"datagram"] {
                let bytes = packet(from, to, payload);
                let read = Packet::parse(&bytes).unwrap();
                assert_eq!(read.source(), from.parse().unwrap());
                assert_eq!(read.destination, to.parse().unwrap());
                assert_eq!((read.payload(), read.bytes()), (payload, bytes.as_slice()));
            }
        }
    }

    #[test]
    fn checksums_add_up() {
        // From RFC 1071, section 3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        for (from, to) in PAIRS {
            let bytes = packet(from, to, b"odd");
            let read = Packet::parse(&bytes).unwrap();
            let udp = &bytes[read.payload.start - 8..];
            let pseudo = pseudo_header(read.source.ip(), read.destination.ip(), udp.len() as u16);
            assert_eq!(checksum(&[&pseudo, udp]), 0, "{from}");
        }
    }

    #[test]
    fn what_is_cut_fragmented_or_not_udp_is_none() {
        for (from, to) in PAIRS {
            let whole = packet(from, to, b"payload");
            for cut in 0..whole.len() {
                assert_eq!(Packet::parse(&whole[..cut]), None, "cut at {cut}");
            }
            let longer = [whole.as_slice(), b"x"].concat();
            assert_eq!(Packet::parse(&longer), None);
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = packet(PAIRS[0].0, PAIRS[0].1, b"payload");
            bytes[at] = byte;
            Packet::parse(&bytes)
        };
        assert!(with(6, 0).is_some(), "control");
        for (at, byte) in [(0, 0x46), (0, 0x55), (6, 0x20), (7, 1), (9, 6), (3, 34), (25, 4), (25, 255)] {
            assert_eq!(with(at, byte), None, "byte {at} = {byte:#x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_not(
            mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80),
            first in proptest::option::of(proptest::sample::select(vec![0x45u8, 0x60])),
        ) {
            if let (Some(first), Some(byte)) = (first, bytes.first_mut()) {
                *byte = first;
            }
            if let Some(packet) = Packet::parse(&bytes) {
                proptest::prop_assert!(packet.payload().len() + 28 <= bytes.len());
            }
        }
    }
}
