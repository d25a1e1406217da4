//! What a host and a pal's micro-VM say over the virtio-serial port `cloudpal`.
//!
//! ```text
//! host                                guest (cloudpal-init)
//!   Hello ->                            | at boot and whenever the host (re)connects
//!                <- Hello(Fresh)        | cold: wants a boot record
//!   Boot ->
//!                <- Up(keys)            | network is up, data locked
//!   Relay <->  Relay                    | ciphertext between owner and pal
//!                <- Data(Unlocked)
//!   Due ->       <- Pay                 | one step of credit
//!   Receipt ->   <- Ack
//!                <- Idle                | idle rule met
//!   Quiesce ->   <- Quiesced            | sessions wiped, data key and plaintext gone; pause now
//!   ...asleep...
//!   Woke ->      <- Awake               | first frame after a restore
//!   Resume ->    <- Awake               | sleep was abandoned before the pause
//! ```
//!
//! No state lives in the connection: after a reconnect either side just goes on.

use crate::TicketText;
use cloudpal_core::{AgreementKey, Digest, Milli, PalId, PublicKey, Secret, Signature, SignedBytes};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Name of the virtio-serial port that carries these frames; its number changes, so find it by name.
pub const PORT_NAME: &str = "cloudpal";

/// From host to guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToGuest {
    /// The host (re)connected; answered by [`ToHost::Hello`].
    Hello {
        /// Versions the host speaks.
        versions: Vec<u16>,
    },
    /// What a cold boot needs; answered by [`ToHost::Up`].
    Boot(Box<BootRecord>),
    /// First frame after a restore; answered by [`ToHost::Awake`].
    Woke(Woke),
    /// Prepare for the pause; answered by [`ToHost::Quiesced`].
    Quiesce,
    /// The sleep is called off after `Quiesce`: bring the network back; answered by [`ToHost::Awake`].
    Resume,
    /// A message for an owner session, which only owner and pal can read.
    Relay {
        /// Chosen by the host, one for each owner connection.
        session: u64,
        /// Noise message, at most 65,535 bytes.
        message: Vec<u8>,
    },
    /// Credit is due: release tickets for at least this much, or all there are.
    Due {
        /// How much, beyond what was paid before.
        amount: Milli,
    },
    /// A receipt (`Signed<Receipt>`) to check and acknowledge.
    Receipt(SignedBytes),
    /// How the account stands, for the page and for warnings.
    Account(Account),
    /// Shut down cleanly: unmount, then power off.
    PowerOff,
}

/// From guest to host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToHost {
    /// Spoken once the port opens, and in answer to [`ToGuest::Hello`].
    Hello {
        /// Versions the guest speaks.
        versions: Vec<u16>,
        /// Where the guest is in its life.
        phase: Phase,
        /// A hardware attestation report, for the day there is one.
        attestation: Option<Vec<u8>>,
    },
    /// The boot record is carried out: the network is up.
    Up(PalKeys),
    /// The network is up again after `Woke` or `Resume`.
    Awake {
        /// The generation that `Woke` named, or the current one.
        generation: u64,
    },
    /// Nothing secret is left but network state; the machine may be paused.
    Quiesced,
    /// Answer to a [`ToGuest::Relay`] of the same session.
    Relay {
        /// The session it belongs to.
        session: u64,
        /// Noise message; empty when the pal refused and forgot the session.
        message: Vec<u8>,
    },
    /// Tickets released to the host; empty when the pal holds none.
    Pay {
        /// The tickets.
        tickets: Vec<TicketText>,
        /// What the pal still holds afterwards, whole cpm.
        left_cpm: u64,
    },
    /// A receipt was found right and is acknowledged.
    Ack {
        /// Digest of the receipt's signed bytes.
        receipt: Digest,
        /// By the pal's signing key over the digest.
        signature: Signature,
    },
    /// A receipt was found wrong.
    Dispute {
        /// Digest of the receipt's signed bytes.
        receipt: Digest,
        /// What is wrong, in a sentence.
        reason: String,
    },
    /// Neither inner data nor a handshake for this long; repeated every few seconds while it lasts.
    Idle {
        /// Seconds since the last of either.
        seconds: u32,
    },
    /// The data disk was unlocked or locked.
    Data(DataState),
    /// Something the host's operator may know (never a secret or an address).
    Log {
        /// One line.
        line: String,
    },
}

/// Where a guest is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Cold boot, no boot record yet.
    Fresh,
    /// Network up.
    Running {
        /// Its keys, as in [`ToHost::Up`].
        keys: PalKeys,
        /// Whether its data is open.
        data: DataState,
    },
}

/// Whether the data disk is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataState {
    /// Network and names only.
    Locked,
    /// Data and, later, apps.
    Unlocked,
}

/// Everything a cold boot needs, from the host over the channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootRecord {
    /// Which pal this is.
    pub pal: PalId,
    /// Its name: one DNS label. `home.<name>.internal` is its page.
    pub name: String,
    /// Verifies the roster and everything else the owner signs.
    pub owner_sign: PublicKey,
    /// The owner's end of the encrypted channel.
    pub owner_unlock: AgreementKey,
    /// Signs price list and receipts.
    pub host: PublicKey,
    /// `Signed<PriceList>` in force.
    pub prices: SignedBytes,
    /// Seals the network state volume (`/dev/disk` with serial `network`).
    #[serde(with = "handover")]
    pub network_key: Secret<32>,
    /// How the pal is reached and reaches out.
    pub link: GuestLink,
    /// Time now, milliseconds since 1970.
    pub unix_ms: u64,
    /// Fresh randomness for the guest's generator.
    #[serde(with = "handover")]
    pub entropy: Secret<32>,
    /// Sleep is asked for after this long without inner data or handshake, in seconds.
    pub idle_s: u32,
    /// Counts the pal's lives: one more at each boot and restore.
    pub generation: u64,
}

/// Addresses of the pal's only network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestLink {
    /// Public IPv4 address, used as a /32.
    pub v4: Ipv4Addr,
    /// Public IPv6 address, used as a /128, where the operator has them.
    pub v6: Option<Ipv6Addr>,
    /// IPv4 next hop, on-link.
    pub gateway_v4: Ipv4Addr,
    /// IPv6 next hop, on-link.
    pub gateway_v6: Option<Ipv6Addr>,
    /// MAC of the next hop, set as a permanent neighbour.
    pub gateway_mac: [u8; 6],
    /// UDP port WireGuard listens on; the same inside and outside.
    pub listen_port: u16,
    /// What devices should dial: the public address, or where the operator forwards from.
    pub endpoint: SocketAddr,
    /// Resolvers for names outside the overlay.
    pub resolvers: Vec<SocketAddr>,
}

/// First frame after a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Woke {
    /// Time now, milliseconds since 1970: the guest's clock lags by the time asleep.
    pub unix_ms: u64,
    /// Fresh randomness: the guest's generator stands where it stood.
    #[serde(with = "handover")]
    pub entropy: Secret<32>,
    /// This life's number.
    pub generation: u64,
    /// Why it woke, for the page.
    pub reason: WakeReason,
}

/// Why a pal woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeReason {
    /// A device's packet.
    Packet,
    /// The owner asked through the host's API.
    Owner,
    /// Credit for the time asleep is due.
    Credit,
    /// The operator asked.
    Operator,
}

/// The pal's public keys, made inside it at its first boot and pinned by the owner's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PalKeys {
    /// Its end of the encrypted owner channel.
    pub channel: AgreementKey,
    /// Acknowledges receipts.
    pub sign: PublicKey,
    /// WireGuard.
    pub wireguard: AgreementKey,
}

/// How a pal's account stands with its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Tickets the host has accepted, in all.
    pub paid: Milli,
    /// Used up, in all.
    pub consumed: Milli,
    /// Milliseconds since 1970 at which credit known to the host ends, if it is running out.
    pub runs_out_unix_ms: Option<u64>,
    /// Milliseconds since 1970 until which an unpaid pal is kept.
    pub kept_until_unix_ms: Option<u64>,
}

/// The two places where a secret crosses a channel spell it out by naming this module: the boot
/// record and `Woke`, from the host that made the secret to the machine it runs.
pub mod handover {
    use cloudpal_core::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroize;

    pub(crate) fn serialize<S: Serializer>(secret: &Secret<32>, to: S) -> Result<S::Ok, S::Error> {
        secret.expose().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<32>, D::Error> {
        let mut bytes = <[u8; 32]>::deserialize(from)?;
        let secret = Secret::new(bytes);
        bytes.zeroize();
        Ok(secret)
    }
}
