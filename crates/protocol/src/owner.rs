//! What an owner's device and the pal say inside the encrypted channel ([`crate::channel`]).
//! The host relays it and reads none of it.

use crate::TicketText;
use crate::guest::{Account, DataState, PalKeys, WakeReason};
use cloudpal_core::{Secret, SignedBytes};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{Ipv4Addr, Ipv6Addr};
use zeroize::Zeroize;

/// From the owner's device to the pal. Each is answered by one [`PalReply`].
#[derive(Debug, Serialize, Deserialize)]
pub enum OwnerRequest {
    /// How are things?
    Status,
    /// Open the data disk; made and formatted at the first time.
    Unlock(DataKey),
    /// Close the data disk: plaintext and key leave memory.
    Lock,
    /// The devices that may join: `Signed<Roster>` of crate `cloudpal-plan`. A lower version is refused.
    SetRoster(SignedBytes),
    /// Tickets for the pal to release to its host step by step. Adding one twice changes nothing.
    AddTickets(Vec<TicketText>),
    /// Hand tickets back that were not released, to be returned to the purse; at most `limit` a reply.
    TakeTickets {
        /// How many at most.
        limit: u32,
    },
}

/// From the pal to the owner's device.
#[derive(Debug, Serialize, Deserialize)]
pub enum PalReply {
    /// Answer to `Status`.
    Status(Box<PalStatus>),
    /// Done.
    Done,
    /// Answer to `TakeTickets`; empty when none are left.
    Tickets(Vec<TicketText>),
    /// Not done, in a sentence that says what to do.
    Refused(String),
}

/// What a pal tells its owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PalStatus {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: PalKeys,
    /// Whether its data is open.
    pub data: DataState,
    /// Version of the roster in force.
    pub roster_version: u64,
    /// Overlay address of the pal itself.
    pub overlay_v4: Ipv4Addr,
    /// Overlay address of the pal itself.
    pub overlay_v6: Ipv6Addr,
    /// Tickets it holds and has not released, whole cpm.
    pub held_cpm: u64,
    /// What the host last said of the account.
    pub account: Account,
    /// Why it last woke; none since a cold boot.
    pub woke: Option<WakeReason>,
    /// This life's number.
    pub generation: u64,
}

/// The 64-byte key of the data disk on its way from the owner's device into the pal, inside the
/// encrypted channel: the one other place where a secret travels.
#[derive(Debug)]
pub struct DataKey(pub Secret<64>);

impl Serialize for DataKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (first, second) = self.0.expose().split_at(32);
        (first, second).serialize(to)
    }
}

impl<'de> Deserialize<'de> for DataKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (mut first, mut second) = <(Vec<u8>, Vec<u8>)>::deserialize(from)?;
        let mut both = [0; 64];
        let fits = first.len() == 32 && second.len() == 32;
        if fits {
            both[..32].copy_from_slice(&first);
            both[32..].copy_from_slice(&second);
        }
        let key = DataKey(Secret::new(both));
        first.zeroize();
        second.zeroize();
        both.zeroize();
        if fits { Ok(key) } else { Err(serde::de::Error::custom("a data key has 64 bytes")) }
    }
}
