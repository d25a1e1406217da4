//! The config file of a stock WireGuard client: one peer (the pal), never a PersistentKeepalive, so
//! that an idle device sends nothing and lets its pal sleep.

use crate::{Addresses, Overlay};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudpal_core::{AgreementKey, Secret};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use zeroize::Zeroizing;

/// What a device sends through the pal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Only what is meant for the pal and the owner's other devices.
    OverlayOnly,
    /// Everything: the pal is the device's way to the internet.
    ThroughPal,
}

/// Everything in a device's config.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientConf {
    /// The device's WireGuard private key.
    pub private_key: Secret<32>,
    /// The device's overlay addresses.
    pub device: Addresses,
    /// The pal's overlay addresses: the resolver.
    pub hub: Addresses,
    /// The pal's WireGuard public key.
    pub pal: AgreementKey,
    /// Where to dial.
    pub endpoint: SocketAddr,
    /// What goes through the pal.
    pub routing: Routing,
}

/// Text that is not a config of ours. Never holds a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfError {
    /// A line that is neither a section, a setting nor a comment, or a setting we do not write.
    #[error(
        "line {0} of the WireGuard config is not one that CloudPal writes; print the config again with `cloudpal`"
    )]
    Line(usize),
    /// Something is missing.
    #[error("the WireGuard config has no {0}; print the config again with `cloudpal`")]
    Missing(&'static str),
}

impl ClientConf {
    /// The config's text, zeroed when dropped. Addresses outside the pal's overlay cannot occur:
    /// the allowed networks come from `hub`.
    pub fn render(&self) -> Zeroizing<String> {
        // Sized so that it never grows and leaves no copy of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(1024));
        text.push_str("[Interface]\nPrivateKey = ");
        STANDARD.encode_string(self.private_key.expose(), &mut text);
        let (net4, net6) = networks(self.hub);
        let allowed = match self.routing {
            Routing::OverlayOnly => format!("{net4}/24, {net6}/48"),
            Routing::ThroughPal => "0.0.0.0/0, ::/0".to_owned(),
        };
        let rest = write!(
            text,
            "\nAddress = {}/32, {}/128\nDNS = {}, {}\n\n[Peer]\nPublicKey = {}\nAllowedIPs = {allowed}\nEndpoint = {}\n",
            self.device.v4,
            self.device.v6,
            self.hub.v4,
            self.hub.v6,
            STANDARD.encode(self.pal.as_bytes()),
            self.endpoint,
        );
        rest.expect("writing to a string cannot fail");
        text
    }

    /// Reads a config that [`ClientConf::render`] wrote; comments and blank lines are passed over.
    pub fn parse(text: &str) -> Result<Self, ConfError> {
        let mut found = Found::default();
        let mut section = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "[Interface]" || line == "[Peer]" {
                section = line;
                continue;
            }
            let known =
                line.split_once('=').and_then(|(key, value)| found.take(section, key.trim(), value.trim()));
            known.ok_or(ConfError::Line(number + 1))?;
        }
        found.whole()
    }
}

#[derive(Default)]
struct Found {
    private_key: Option<Secret<32>>,
    device: Option<Addresses>,
    hub: Option<Addresses>,
    pal: Option<AgreementKey>,
    endpoint: Option<SocketAddr>,
    allowed: Option<String>,
}

impl Found {
    fn take(&mut self, section: &str, key: &str, value: &str) -> Option<()> {
        match (section, key) {
            ("[Interface]", "PrivateKey") => self.private_key = Some(key_bytes(value)?),
            ("[Interface]", "Address") => self.device = Some(pair(value, "/32", "/128")?),
            ("[Interface]", "DNS") => self.hub = Some(pair(value, "", "")?),
            ("[Peer]", "PublicKey") => self.pal = Some(AgreementKey::from_bytes(*key_bytes(value)?.expose())),
            ("[Peer]", "AllowedIPs") => self.allowed = Some(value.to_owned()),
            ("[Peer]", "Endpoint") => self.endpoint = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    fn whole(self) -> Result<ClientConf, ConfError> {
        let hub = self.hub.ok_or(ConfError::Missing("DNS"))?;
        let (net4, net6) = networks(hub);
        let allowed = self.allowed.ok_or(ConfError::Missing("AllowedIPs"))?;
        let routing = match pair(&allowed, "/24", "/48") {
            Some(Addresses { v4, v6 }) if v4 == net4 && v6 == net6 => Routing::OverlayOnly,
            _ if allowed == "0.0.0.0/0, ::/0" => Routing::ThroughPal,
            _ => return Err(ConfError::Missing("AllowedIPs that CloudPal writes")),
        };
        Ok(ClientConf {
            private_key: self.private_key.ok_or(ConfError::Missing("PrivateKey"))?,
            device: self.device.ok_or(ConfError::Missing("Address"))?,
            hub,
            pal: self.pal.ok_or(ConfError::Missing("PublicKey"))?,
            endpoint: self.endpoint.ok_or(ConfError::Missing("Endpoint"))?,
            routing,
        })
    }
}

fn networks(hub: Addresses) -> (Ipv4Addr, Ipv6Addr) {
    let overlay = Overlay::around(hub);
    (overlay.network_v4().0, overlay.network_v6().0)
}

/// `v4<suffix>, v6<suffix>`.
fn pair(value: &str, suffix4: &str, suffix6: &str) -> Option<Addresses> {
    let (v4, v6) = value.split_once(',')?;
    let v4 = v4.trim().strip_suffix(suffix4)?.parse().ok()?;
    let v6 = v6.trim().strip_suffix(suffix6)?.parse().ok()?;
    match (v4, v6) {
        (IpAddr::V4(v4), IpAddr::V6(v6)) => Some(Addresses { v4, v6 }),
        _ => None,
    }
}

fn key_bytes(value: &str) -> Option<Secret<32>> {
    let mut bytes = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(value, &mut bytes[..]).ok()?;
    (length == 32).then(|| Secret::from_slice(&bytes[..32]))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::PalId;

    fn conf(routing: Routing, endpoint: &str) -> ClientConf {
        let overlay = Overlay::of(PalId::from_random([4; 16]));
        ClientConf {
            private_key: Secret::new([0xa5; 32]),
            device: overlay.next_free(&crate::Roster::empty("ada")).unwrap(),
            hub: overlay.hub(),
            pal: AgreementKey::from_bytes([0x5a; 32]),
            endpoint: endpoint.parse().unwrap(),
            routing,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for routing in [Routing::OverlayOnly, Routing::ThroughPal] {
            for endpoint in ["203.0.113.7:51820", "[2001:db8::7]:51820"] {
                let conf = conf(routing, endpoint);
                let text = conf.render();
                assert_eq!(ClientConf::parse(&text).unwrap(), conf);
                let noted = format!("# from ada\n\n{}", *text);
                assert_eq!(ClientConf::parse(&noted).unwrap(), conf);
                assert!(!text.contains("Keepalive"));
                assert!(text.capacity() == 1024, "the text grew and left a copy of the key behind");
            }
        }
    }

    #[test]
    fn says_which_line_is_foreign_without_repeating_it() {
        let text = conf(Routing::OverlayOnly, "203.0.113.7:51820").render();
        let kept = format!("{}PersistentKeepalive = 25\n", *text);
        assert_eq!(ClientConf::parse(&kept), Err(ConfError::Line(10)));
        assert_eq!(ClientConf::parse(""), Err(ConfError::Missing("DNS")));
        let cut = text.replace("PrivateKey = p", "PrivateKey = ");
        let error = ClientConf::parse(&cut).unwrap_err();
        assert_eq!(error, ConfError::Line(2));
    }
}
