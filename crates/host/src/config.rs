//! `host.toml`: what the operator decided. Written by `init`, read by everything else.

use crate::network::Subnet;
use cloudpal_core::Milli;
use cloudpal_protocol::price::PriceList;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The operator's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the operator calls this host; people see it.
    pub name: String,
    /// Where the HTTP API listens.
    pub listen: SocketAddr,
    /// Mints whose tickets are taken.
    pub mints: Vec<String>,
    /// IPv4 addresses for pals.
    pub public_v4: Subnet,
    /// IPv6 prefix for pals, where there is one; the first 64 bits count.
    pub public_v6: Option<Ipv6Addr>,
    /// Namespace with the way out; the root namespace when absent.
    pub uplink_netns: Option<String>,
    /// What devices dial instead of the pal's own address, where the operator forwards from there.
    pub endpoint_host: Option<IpAddr>,
    /// Resolvers that pals use for names of the internet.
    pub resolvers: Vec<SocketAddr>,
    /// Memory of a pal's machine, MiB.
    pub memory_mib: u32,
    /// Size of a pal's data disk, MiB; sparse on the host's disk.
    pub data_mib: u64,
    /// First of the unprivileged user ids that machines run as, one for each pal: who breaks out of one
    /// hypervisor is still nobody to the others. Keep 65,536 ids from here on free.
    pub first_machine_uid: u32,
    /// A pal sleeps after this many seconds without inner data or handshake.
    pub idle_s: u32,
    /// Prices.
    pub prices: Prices,
}

/// What the operator charges, in thousandths of a cpm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Seconds of one metering interval.
    pub interval_s: u32,
    /// One interval awake.
    pub awake_milli: u64,
    /// One interval asleep.
    pub asleep_milli: u64,
    /// A pal without credit is kept this many seconds.
    pub grace_s: u32,
    /// Metered seconds per real second; more than 1 only for demonstrations.
    pub speed: u32,
}

impl Default for Prices {
    fn default() -> Self {
        Prices { interval_s: 60, awake_milli: 1000, asleep_milli: 5, grace_s: 30 * 86_400, speed: 1 }
    }
}

impl Prices {
    /// As pals see it.
    pub fn list(&self, since_unix_ms: u64) -> PriceList {
        PriceList {
            unit: "cpm".into(),
            since_unix_ms,
            interval_s: self.interval_s,
            awake: Milli(self.awake_milli),
            asleep: Milli(self.asleep_milli),
            storage_gib_day: Milli::ZERO,
            traffic_gib: Milli::ZERO,
            grace_s: self.grace_s,
            speed: self.speed,
        }
    }
}

/// The settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file.
    #[error("{0} is not there; run `cloudpal-host --state {1} init` first")]
    Missing(PathBuf, PathBuf),
    /// Not readable.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// Not understood.
    #[error("{0} has a mistake; correct it and start again")]
    Parse(PathBuf, #[source] toml::de::Error),
}

impl Config {
    /// Where it is kept.
    pub fn path(state: &Path) -> PathBuf {
        state.join("host.toml")
    }

    /// The user id that the machine of the pal with this address runs as.
    pub fn machine_uid(&self, public_v4: Ipv4Addr) -> u32 {
        let [_, _, high, low] = public_v4.octets();
        self.first_machine_uid + u32::from(u16::from_be_bytes([high, low]))
    }

    /// Reads the settings.
    pub fn load(state: &Path) -> Result<Config, ConfigError> {
        let path = Self::path(state);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ConfigError::Missing(path, state.to_owned()));
            }
            Err(error) => return Err(ConfigError::Read(path, error)),
        };
        toml::from_str(&text).map_err(|error| ConfigError::Parse(path, error))
    }
}
