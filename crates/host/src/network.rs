//! Which addresses pals get.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// UDP port that every pal's WireGuard listens on; the same inside and outside.
pub const WIREGUARD_PORT: u16 = 51_820;

/// An IPv4 range in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

/// Text that is not a range.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a range of IPv4 addresses; write it like 198.51.100.0/24")]
pub struct SubnetError(String);

impl Subnet {
    /// Addresses that pals may have: the first one and the last one of the range are left out unless
    /// it holds only one or two.
    pub fn hosts(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let base = u32::from(self.base);
        let count = 1u64 << (32 - self.prefix);
        let (from, to) = if count > 2 { (1, count - 1) } else { (0, count) };
        (from..to).map(move |n| Ipv4Addr::from(base + n as u32))
    }

    /// The first address that is not taken.
    pub fn free(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        self.hosts().find(|address| !taken.contains(address))
    }
}

/// The IPv6 address that goes with an IPv4 one: the prefix's first 64 bits, then the IPv4 address.
pub fn v6_beside(prefix: Ipv6Addr, v4: Ipv4Addr) -> Ipv6Addr {
    let high = u128::from(prefix) & !u128::from(u64::MAX);
    Ipv6Addr::from(high | u128::from(u32::from(v4)))
}

impl FromStr for Subnet {
    type Err = SubnetError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || SubnetError(text.to_owned());
        let (base, prefix) = text.split_once('/').ok_or_else(fail)?;
        let base: Ipv4Addr = base.parse().map_err(|_| fail())?;
        let prefix: u8 = prefix.parse().map_err(|_| fail())?;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
        if !(8..=32).contains(&prefix) || u32::from(base) & !mask != 0 {
            return Err(fail());
        }
        Ok(Subnet { base, prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_and_refuses_what_is_none() {
        let small: Subnet = "198.51.100.8/30".parse().unwrap();
        assert_eq!(
            small.hosts().collect::<Vec<_>>(),
            [Ipv4Addr::new(198, 51, 100, 9), Ipv4Addr::new(198, 51, 100, 10)]
        );
        assert_eq!("198.51.100.7/32".parse::<Subnet>().unwrap().hosts().count(), 1);
        for bad in ["198.51.100.1", "198.51.100.1/24", "0.0.0.0/0", "1.2.3.4/33", "x/24", ""] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn gives_each_pal_another_address_until_there_are_none() {
        let range: Subnet = "198.51.100.8/30".parse().unwrap();
        let mut taken = BTreeSet::new();
        while let Some(address) = range.free(&taken) {
            assert!(taken.insert(address));
        }
        assert_eq!(taken.len(), 2);
    }
}
