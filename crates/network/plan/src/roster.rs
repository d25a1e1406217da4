use crate::names::is_label;
use crate::{Addresses, Overlay};
use cloudpal_core::{AgreementKey, PublicKey, Signed, SignedBytes, VerifyError};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A roster has at most this many devices.
pub const MAX_DEVICES: usize = 250;

/// A signed roster's body is at most this long, in bytes.
pub const MAX_ROSTER_BYTES: usize = 64 * 1024;

/// The devices that may join a pal's network. The owner signs it whole, as `Signed<Roster>`; a
/// greater version takes the place of a smaller one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Counts up with every change.
    pub version: u64,
    /// The pal's name, one DNS label.
    pub pal: String,
    /// The devices, in no order that means anything.
    pub devices: Vec<Device>,
}

/// One device of the owner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// One DNS label, unique in the roster; not `home`, which is the pal's page.
    pub name: String,
    /// Its WireGuard public key, unique in the roster.
    pub wireguard: AgreementKey,
    /// Its overlay address, from [`Overlay::next_free`].
    pub v4: Ipv4Addr,
    /// Its overlay address, from [`Overlay::next_free`].
    pub v6: Ipv6Addr,
    /// When it was added, milliseconds since 1970.
    pub added_unix_ms: u64,
}

/// Why a roster is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RosterError {
    /// Not the owner's, or damaged.
    #[error("the roster's signature was not accepted; send it again from the owner's device")]
    Signature(#[source] VerifyError),
    /// Older than what is in force.
    #[error(
        "the roster has version {offered}, but version {current} is in force; read it and make the change on top of it"
    )]
    Old {
        /// Version of the offered roster.
        offered: u64,
        /// Version in force.
        current: u64,
    },
    /// Too many bytes.
    #[error("the roster takes {0} bytes; it may take {MAX_ROSTER_BYTES}")]
    Long(usize),
    /// Too many devices.
    #[error("the roster has {0} devices; it may have {MAX_DEVICES}: remove one first")]
    Full(usize),
    /// A name that is no DNS label, or `home`.
    #[error(
        "\"{0}\" cannot be a name here: use a to z, 0 to 9 and hyphens inside, at most 63, and not \"home\""
    )]
    Name(String),
    /// Two devices have the same name, key or address.
    #[error("device \"{name}\" has the same {what} as another; each needs its own")]
    Twice {
        /// The second device's name.
        name: String,
        /// `name`, `WireGuard key` or `address`.
        what: &'static str,
    },
    /// An address that is not a device's address in this pal's overlay.
    #[error(
        "device \"{name}\" has an address outside this pal's network; leave the choice of addresses to `cloudpal`"
    )]
    Address {
        /// The device's name.
        name: String,
    },
}

impl Roster {
    /// Version 0 without devices.
    pub fn empty(pal: &str) -> Self {
        Roster { version: 0, pal: pal.to_owned(), devices: Vec::new() }
    }

    /// Reads a signed roster that is to take the place of version `current`. The same version again
    /// is accepted, so that a repeated request changes nothing.
    pub fn accept(
        signed: SignedBytes,
        owner: &PublicKey,
        overlay: &Overlay,
        current: u64,
    ) -> Result<Roster, RosterError> {
        if signed.body.len() > MAX_ROSTER_BYTES {
            return Err(RosterError::Long(signed.body.len()));
        }
        let roster = Signed::<Roster>::from(signed).verify(owner).map_err(RosterError::Signature)?;
        if roster.version < current {
            return Err(RosterError::Old { offered: roster.version, current });
        }
        roster.check(overlay)?;
        Ok(roster)
    }

    /// Checks names, addresses, keys and size.
    pub fn check(&self, overlay: &Overlay) -> Result<(), RosterError> {
        if self.devices.len() > MAX_DEVICES {
            return Err(RosterError::Full(self.devices.len()));
        }
        check_name(&self.pal)?;
        let (mut names, mut keys, mut places) = (HashSet::new(), HashSet::new(), HashSet::new());
        for device in &self.devices {
            check_name(&device.name)?;
            let twice = |what| RosterError::Twice { name: device.name.clone(), what };
            if !names.insert(&device.name) {
                return Err(twice("name"));
            }
            if !keys.insert(device.wireguard) {
                return Err(twice("WireGuard key"));
            }
            if !overlay.is_device(device.addresses()) {
                return Err(RosterError::Address { name: device.name.clone() });
            }
            if !places.insert(device.v4) {
                return Err(twice("address"));
            }
        }
        Ok(())
    }
}

impl Device {
    /// Both addresses.
    pub fn addresses(&self) -> Addresses {
        Addresses { v4: self.v4, v6: self.v6 }
    }
}

fn check_name(name: &str) -> Result<(), RosterError> {
    let fits = is_label(name) && name != "home";
    if fits { Ok(()) } else { Err(RosterError::Name(name.chars().take(64).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudpal_core::{PalId, Secret, SigningKey};

    fn overlay() -> Overlay {
        Overlay::of(PalId::from_random([3; 16]))
    }

    fn with(names: &[&str]) -> Roster {
        let mut roster = Roster::empty("ada");
        for (i, name) in names.iter().enumerate() {
            let place = overlay().next_free(&roster).unwrap();
            let wireguard = AgreementKey::from_bytes([i as u8 + 1; 32]);
            let (name, v4, v6) = ((*name).to_owned(), place.v4, place.v6);
            roster.devices.push(Device { name, wireguard, v4, v6, added_unix_ms: 5 });
        }
        roster
    }

    #[test]
    fn takes_what_the_owner_signed_and_nothing_older() {
        let key = SigningKey::from_secret(&Secret::new([1; 32]));
        let roster = Roster { version: 4, ..with(&["laptop", "phone-2"]) };
        let signed = Signed::sign(&roster, &key).into_bytes();
        let accept = |current| Roster::accept(signed.clone(), &key.public(), &overlay(), current);
        assert_eq!(accept(3).unwrap(), roster);
        assert_eq!(accept(4).unwrap(), roster);
        assert_eq!(accept(5), Err(RosterError::Old { offered: 4, current: 5 }));
        let other = SigningKey::from_secret(&Secret::new([2; 32])).public();
        assert!(matches!(
            Roster::accept(signed.clone(), &other, &overlay(), 0),
            Err(RosterError::Signature(_))
        ));
        let long = SignedBytes { body: vec![0; MAX_ROSTER_BYTES + 1], ..signed };
        assert_eq!(
            Roster::accept(long, &key.public(), &overlay(), 0),
            Err(RosterError::Long(MAX_ROSTER_BYTES + 1))
        );
    }

    #[test]
    fn refuses_doubles_bad_names_and_foreign_addresses() {
        assert_eq!(with(&["a", "b"]).check(&overlay()), Ok(()));
        for bad in ["", "home", "A", "-a", "a-", "a.b", "a b", "ä", &"a".repeat(64)] {
            assert_eq!(with(&[bad]).check(&overlay()), Err(RosterError::Name(bad.to_owned())), "{bad}");
        }
        let twice = |what| Err(RosterError::Twice { name: "b".to_owned(), what });
        let mut roster = with(&["b", "b"]);
        assert_eq!(roster.check(&overlay()), twice("name"));
        roster.devices[0].name = "a".to_owned();
        roster.devices[1].wireguard = roster.devices[0].wireguard;
        assert_eq!(roster.check(&overlay()), twice("WireGuard key"));
        roster.devices[1].wireguard = AgreementKey::from_bytes([9; 32]);
        (roster.devices[1].v4, roster.devices[1].v6) = (roster.devices[0].v4, roster.devices[0].v6);
        assert_eq!(roster.check(&overlay()), twice("address"));
        let hub = overlay().hub();
        (roster.devices[1].v4, roster.devices[1].v6) = (hub.v4, hub.v6);
        assert_eq!(roster.check(&overlay()), Err(RosterError::Address { name: "b".to_owned() }));
    }

    #[test]
    fn is_full_at_its_limit_and_fits_its_bytes() {
        let mut roster = Roster::empty("ada");
        while let Some(place) = overlay().next_free(&roster) {
            let mut key = [1; 32];
            key[0] = roster.devices.len() as u8;
            roster.devices.push(Device {
                name: format!("{:a>63}", roster.devices.len()),
                wireguard: AgreementKey::from_bytes(key),
                v4: place.v4,
                v6: place.v6,
                added_unix_ms: u64::MAX,
            });
        }
        assert_eq!(roster.devices.len(), MAX_DEVICES);
        assert_eq!(roster.check(&overlay()), Ok(()));
        let key = SigningKey::from_secret(&Secret::new([1; 32]));
        assert!(Signed::sign(&roster, &key).into_bytes().body.len() < MAX_ROSTER_BYTES);
        roster.devices.push(roster.devices[0].clone());
        assert_eq!(roster.check(&overlay()), Err(RosterError::Full(MAX_DEVICES + 1)));
    }
}
