//! Names in a pal's network: `<pal>.internal` and `home.<pal>.internal` are the pal,
//! `<device>.<pal>.internal` a device. `internal` is set aside for private use, so a name under it
//! must never be asked of a resolver outside.

use crate::{Addresses, Overlay, Roster};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses behind a name, in any case and with or without a final dot.
pub fn resolve(roster: &Roster, overlay: &Overlay, name: &str) -> Option<Addresses> {
    let name = plain(name);
    let inner = name.strip_suffix(".internal")?;
    if inner == roster.pal {
        return Some(overlay.hub());
    }
    let label = inner.strip_suffix(roster.pal.as_str())?.strip_suffix('.')?;
    if label == "home" {
        return Some(overlay.hub());
    }
    roster.devices.iter().find(|device| device.name == label).map(|device| device.addresses())
}

/// The name behind an overlay address, without a final dot.
pub fn reverse(roster: &Roster, overlay: &Overlay, address: IpAddr) -> Option<String> {
    let has = |place: Addresses| address == IpAddr::V4(place.v4) || address == IpAddr::V6(place.v6);
    if has(overlay.hub()) {
        return Some(format!("home.{}.internal", roster.pal));
    }
    let device = roster.devices.iter().find(|device| has(device.addresses()))?;
    Some(format!("{}.{}.internal", device.name, roster.pal))
}

/// Whether a name is answered here or not at all, never asked outside: everything under `internal`.
pub fn is_internal(name: &str) -> bool {
    let name = plain(name);
    name == "internal" || name.ends_with(".internal")
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` asks for; none unless it is whole.
pub fn reverse_query(name: &str) -> Option<IpAddr> {
    let name = plain(name);
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let dotted: Vec<&str> = labels.split('.').rev().collect();
        return dotted.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let labels: Vec<&str> = name.strip_suffix(".ip6.arpa")?.split('.').collect();
    if labels.len() != 32 || labels.iter().any(|label| label.len() != 1) {
        return None;
    }
    let digits: String = labels.iter().rev().copied().collect();
    u128::from_str_radix(&digits, 16).ok().map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

/// Whether text is one DNS label as we write them: `a` to `z`, `0` to `9`, hyphens inside, 1 to 63 bytes.
pub fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use cloudpal_core::{AgreementKey, PalId};

    fn pal() -> (Roster, Overlay) {
        let overlay = Overlay::of(PalId::from_random([9; 16]));
        let mut roster = Roster::empty("ada");
        for name in ["laptop", "nas"] {
            let place = overlay.next_free(&roster).unwrap();
            let wireguard = AgreementKey::from_bytes([roster.devices.len() as u8; 32]);
            roster.devices.push(Device {
                name: name.to_owned(),
                wireguard,
                v4: place.v4,
                v6: place.v6,
                added_unix_ms: 0,
            });
        }
        (roster, overlay)
    }

    #[test]
    fn every_name_leads_there_and_back() {
        let (roster, overlay) = pal();
        for name in ["home.ada.internal", "laptop.ada.internal", "nas.ada.internal"] {
            let place = resolve(&roster, &overlay, name).unwrap();
            assert_eq!(reverse(&roster, &overlay, place.v4.into()).unwrap(), name);
            assert_eq!(reverse(&roster, &overlay, place.v6.into()).unwrap(), name);
        }
        assert_eq!(resolve(&roster, &overlay, "ADA.internal."), Some(overlay.hub()));
        assert_eq!(resolve(&roster, &overlay, "Laptop.Ada.INTERNAL"), Some(roster.devices[0].addresses()));
    }

    #[test]
    fn other_names_lead_nowhere() {
        let (roster, overlay) = pal();
        for name in [
            "",
            ".",
            "internal",
            "ada",
            "xada.internal",
            "nasada.internal",
            "b.internal",
            "x.laptop.ada.internal",
            ".ada.internal",
            "laptop.ada.internal.example",
            "phone.ada.internal",
        ] {
            assert_eq!(resolve(&roster, &overlay, name), None, "{name}");
        }
        assert!(is_internal("x.Internal.") && is_internal("internal") && !is_internal("notinternal"));
    }

    #[test]
    fn reads_reverse_queries() {
        let v6: Ipv6Addr = "fd01:203:405::2".parse().unwrap();
        let digits: Vec<String> = format!("{:032x}", v6.to_bits()).chars().rev().map(String::from).collect();
        assert_eq!(reverse_query(&format!("{}.ip6.arpa.", digits.join("."))), Some(v6.into()));
        assert_eq!(reverse_query("2.3.64.100.in-addr.arpa"), Some(Ipv4Addr::new(100, 64, 3, 2).into()));
        for bad in ["3.64.100.in-addr.arpa", "x.ip6.arpa", "ip6.arpa", "+.0.ip6.arpa", "1.2.3.4"] {
            assert_eq!(reverse_query(bad), None, "{bad}");
        }
    }
}
