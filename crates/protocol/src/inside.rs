//! What the programs inside one pal's micro-VM say to each other, in the same frames as on the
//! host's channel. `cloudpal-init` sits in the middle and passes messages on:
//!
//! ```text
//! host <-> cloudpal-init <-> cloudpald network   (keys, WireGuard, names, tickets; lives through sleep)
//!                        <-> cloudpald data      (owner channel, page, data; a new process at each wake)
//! ```

use crate::TicketText;
use crate::guest::{Account, BootRecord, PalKeys, ToHost, WakeReason, handover};
use crate::price::PriceList;
use cloudpal_core::{AgreementKey, Milli, PalId, Secret, SignedBytes};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// To `cloudpald network`.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToNetwork {
    /// Bring the network up; answered by [`ToHost::Up`]. Also after a crash of the process.
    Boot(Box<BootRecord>),
    /// Forget every session; answered by [`FromNetwork::Quiesced`].
    Quiesce,
    /// Nothing readable is left in memory: bring WireGuard up without any session, so that waking has
    /// nothing to do; answered by [`FromNetwork::Standing`].
    Stand,
    /// Init has set clock and randomness: WireGuard is to be up, and devices are to be greeted; answered by
    /// [`FromNetwork::Awake`].
    Awake {
        /// This life's number.
        generation: u64,
        /// Why it woke; none when a sleep was called off.
        reason: Option<WakeReason>,
    },
    /// The host's [`crate::guest::ToGuest::Due`].
    Due(Milli),
    /// The host's [`crate::guest::ToGuest::Receipt`].
    Receipt(SignedBytes),
    /// The host's [`crate::guest::ToGuest::Account`].
    Account(Account),
    /// Something `cloudpald data` asks for.
    Ask(Ask),
}

/// From `cloudpald network`.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromNetwork {
    /// For the host as it is.
    Host(ToHost),
    /// No session is left and WireGuard is down.
    Quiesced,
    /// WireGuard is up and has said nothing.
    Standing,
    /// WireGuard is up.
    Awake,
    /// For `cloudpald data`.
    Data(ToData),
}

/// To `cloudpald data`.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToData {
    /// Who this pal is; without it nothing is served. Sent when asked and when the network comes up.
    Start(Box<DataStart>),
    /// The host's [`crate::guest::ToGuest::Relay`].
    Relay {
        /// The owner's session.
        session: u64,
        /// Noise message.
        message: Vec<u8>,
    },
    /// Answer to an [`Ask`] of the same id.
    Answer {
        /// Which.
        id: u64,
        /// What.
        answer: Answer,
    },
}

/// From `cloudpald data`.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromData {
    /// For the host as it is.
    Host(ToHost),
    /// For `cloudpald network`.
    Ask(Ask),
}

/// A question from `cloudpald data` to `cloudpald network`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Comes back in the answer.
    pub id: u64,
    /// What is asked.
    pub question: Question,
}

/// What `cloudpald data` can ask for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    /// Send [`ToData::Start`].
    Start,
    /// How are things?
    Status,
    /// The owner's new roster.
    SetRoster(SignedBytes),
    /// Keep these tickets.
    AddTickets(Vec<TicketText>),
    /// Give back at most this many tickets.
    TakeTickets(u32),
    /// What the echo service counted for a run.
    Echo([u8; 8]),
}

/// What `cloudpald network` answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// Not done, in a sentence that says what to do.
    Refused(String),
    /// To `Status`.
    Status(Box<NetworkStatus>),
    /// To `TakeTickets`.
    Tickets(Vec<TicketText>),
    /// To `Echo`.
    Echo(EchoCount),
}

/// What `cloudpald data` needs to know of its pal.
#[derive(Debug, Serialize, Deserialize)]
pub struct DataStart {
    /// Which pal.
    pub pal: PalId,
    /// Its name.
    pub name: String,
    /// The owner's end of the encrypted channel.
    pub owner_unlock: AgreementKey,
    /// The pal's own end.
    #[serde(with = "handover")]
    pub channel: Secret<32>,
    /// The pal's public keys.
    pub keys: PalKeys,
    /// The pal's overlay address, where it serves its page.
    pub overlay_v4: Ipv4Addr,
    /// The pal's overlay address, where it serves its page.
    pub overlay_v6: Ipv6Addr,
    /// What the host charges.
    pub prices: PriceList,
}

/// How the network half stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Version of the roster in force.
    pub roster_version: u64,
    /// Its devices.
    pub devices: Vec<DeviceStatus>,
    /// Tickets held and not released, whole cpm.
    pub held_cpm: u64,
    /// What the host last said of the account.
    pub account: Account,
    /// Used since midnight UTC, by the receipts that were checked.
    pub today: Milli,
    /// Why the pal last woke; none since a cold boot.
    pub woke: Option<WakeReason>,
    /// This life's number.
    pub generation: u64,
}

/// One device as the pal sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its name.
    pub name: String,
    /// Its overlay address.
    pub v4: Ipv4Addr,
    /// Its overlay address.
    pub v6: Ipv6Addr,
    /// Its last handshake, seconds since 1970; none since the last cold boot.
    pub seen_unix_s: Option<u64>,
}

/// What the echo service counted for one run of numbered datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoCount {
    /// Datagrams, doubled ones too.
    pub received: u64,
    /// Different numbers.
    pub distinct: u64,
    /// Datagrams with a number lower than one before.
    pub reordered: u64,
}
