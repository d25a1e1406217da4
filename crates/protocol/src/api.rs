//! The host's HTTP interface, version 1, JSON. Paths are under `/v1`. Everything about one pal is
//! signed by its owner's key ([`crate::request`]).
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /v1/host` | | [`HostInfo`] |
//! | `POST /v1/pals` | [`CreatePal`] | [`PalInfo`] |
//! | `GET /v1/pals/{id}?after=N` | | [`PalInfo`] |
//! | `DELETE /v1/pals/{id}` | | [`PalInfo`] |
//! | `POST /v1/pals/{id}/sleep`, `/wake` | | [`PalInfo`], once it sleeps or is awake |
//! | `POST /v1/pals/{id}/credit` | [`AddCredit`] | [`PalInfo`] |
//! | `POST /v1/pals/{id}/relay` | [`Relay`] | [`Relay`] |
//! | `GET /v1/pals/{id}/receipts?from=N` | | [`Receipts`] |
//! | `POST /v1/pals/{id}/return` | [`ReturnTickets`] | [`ReturnedTickets`] |

use crate::TicketText;
use crate::guest::{Account, DataState, PalKeys, WakeReason};
use crate::price::PriceList;
use cloudpal_core::{AgreementKey, Milli, PalId, PublicKey, Signed, SignedBytes};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// `GET /v1/host`: who this host is. Not signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostInfo {
    /// Protocol versions it speaks.
    pub versions: Vec<u16>,
    /// What its operator calls it.
    pub name: String,
    /// Signs prices and receipts.
    pub key: PublicKey,
    /// Tickets must be locked to this key: compressed secp256k1, 66 hex digits.
    pub till: String,
    /// Mints whose tickets it takes.
    pub mints: Vec<String>,
    /// Signed price list.
    pub prices: Signed<PriceList>,
    /// The same, readable.
    pub price_list: PriceList,
    /// How long after now a ticket's locktime must lie at least, seconds.
    pub locktime_margin_s: u64,
    /// Least credit to create a pal with, whole cpm.
    pub least_cpm: u64,
    /// Hypervisor it uses and why.
    pub hypervisor: String,
    /// Time at the host, milliseconds since 1970.
    pub unix_ms: u64,
}

/// `POST /v1/pals`: create a pal. Repeating it with the same id and owner changes nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatePal {
    /// Chosen by the owner's device.
    pub id: PalId,
    /// One DNS label.
    pub name: String,
    /// Signs this and every later request.
    pub owner_sign: PublicKey,
    /// Owner's end of the encrypted channel.
    pub owner_unlock: AgreementKey,
    /// First step of credit.
    pub tickets: Vec<TicketText>,
}

/// `POST /v1/pals/{id}/credit`: pay a step directly, for a pal that sleeps for want of credit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddCredit {
    /// The tickets.
    pub tickets: Vec<TicketText>,
}

/// Where a pal is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PalState {
    /// Paid for, not yet started.
    Paid,
    /// Cold boot under way.
    Booting,
    /// Running.
    Awake,
    /// Getting ready to sleep.
    Quiescing,
    /// Its memory is being written to disk.
    Saving,
    /// A sleep was called off; its network is coming back.
    Resuming,
    /// No machine; its doorbell listens.
    Asleep,
    /// Being restored.
    Waking,
    /// Asleep for want of credit; wakes when topped up.
    Unpaid,
    /// Removed.
    Gone,
    /// Its machine cannot be started; the host's log says why.
    Failed,
}

/// `GET /v1/pals/{id}`, and the answer to every request that changes a pal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PalInfo {
    /// Its id.
    pub id: PalId,
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub state: PalState,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Counts changes of anything in here; `GET ...?after=N` waits up to 25 s for a greater one.
    pub change: u64,
    /// Its keys, once it booted.
    pub keys: Option<PalKeys>,
    /// Whether its data is open; none while no machine runs.
    pub data: Option<DataState>,
    /// Public IPv4 address.
    pub public_v4: Ipv4Addr,
    /// Public IPv6 address.
    pub public_v6: Option<Ipv6Addr>,
    /// What devices dial.
    pub endpoint: SocketAddr,
    /// Its account.
    pub account: Account,
    /// Receipts so far.
    pub receipts: u64,
    /// Receipts acknowledged by the pal.
    pub acknowledged: u64,
    /// Times it woke, and why the last time.
    pub wakes: u64,
    /// Why it woke last.
    pub last_wake: Option<WakeReason>,
    /// Cold boots so far.
    pub boots: u64,
    /// Something its owner should know, in a sentence: a refused snapshot, a disputed receipt.
    pub notice: Option<String>,
    /// Memory of its machine, MiB.
    pub memory_mib: u32,
}

/// `POST /v1/pals/{id}/relay`: one message of an owner session and its answer. Opens `session` anew
/// when it is `None`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relay {
    /// The session, as the host named it in its first answer.
    pub session: Option<u64>,
    /// Base64 (standard alphabet, padded).
    pub message: String,
}

/// `POST /v1/pals/{id}/return`: the host's signatures that give unreleased tickets back before their
/// locktime; it will never accept these tickets afterwards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReturnTickets {
    /// Secrets of the tickets.
    pub secrets: Vec<String>,
}

/// Answer to [`ReturnTickets`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReturnedTickets {
    /// One signature for each secret, in order, hex.
    pub signatures: Vec<String>,
}

/// `GET /v1/pals/{id}/receipts?from=N`: at most 500 from number N.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipts {
    /// `Signed<Receipt>`s in order.
    pub receipts: Vec<SignedBytes>,
    /// How many of all receipts are acknowledged.
    pub acknowledged: u64,
}

/// Every refusal: HTTP status and this body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: a sentence that says what to do.
    pub message: String,
}

/// Kinds of refusals, with the exit code of `cloudpal` that they lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request makes no sense: exit code 2.
    Malformed,
    /// No such pal, or not this owner's: exit code 3.
    NotFound,
    /// Signature, rights or tickets not good: exit code 4.
    Refused,
    /// The pal is in a state in which this cannot be done now: exit code 1.
    Conflict,
    /// The pal or something behind the host does not answer: exit code 5.
    Unreachable,
    /// The host is short of memory, disk or addresses: exit code 1.
    Full,
    /// A fault of the host: exit code 1.
    Internal,
}

/// Credit in a `PalInfo` that is left with the host, not counting what the pal still holds.
pub fn left_with_host(account: &Account) -> Milli {
    account.paid - account.consumed
}
